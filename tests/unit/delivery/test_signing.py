"""Signatures that any Standard Webhooks receiver accepts, checked with the reference receiver and the spec's vector."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from hookstream.processors.delivery.http.errors import InvalidSecretError
from hookstream.processors.delivery.http.signing import Signer

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "standard_webhooks.json").read_text())
KEYS = st.binary(min_size=24, max_size=64)
TOKENS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=40)


def secret_of(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


@pytest.mark.parametrize("vector", VECTORS["signed"])
def test_the_specification_s_own_example(vector: dict[str, str | int]) -> None:
    signer = Signer([base64.b64decode(str(vector["secret"]).removeprefix("whsec_"))])
    signature = signer.sign(str(vector["id"]).encode(), str(vector["timestamp"]).encode(), str(vector["body"]).encode())
    assert signature.decode() == vector["signature"]


@given(key=st.binary(min_size=1, max_size=200), message_id=TOKENS, body=st.binary(max_size=300))
def test_it_is_hmac_sha256_for_keys_of_any_length(key: bytes, message_id: str, body: bytes) -> None:
    expected = hmac.new(key, message_id.encode() + b".17." + body, hashlib.sha256).digest()
    assert Signer([key]).sign(message_id.encode(), b"17", body) == b"v1," + base64.b64encode(expected)


@given(keys=st.lists(KEYS, min_size=1, max_size=3, unique=True), message_id=TOKENS, concept_id=st.integers())
def test_the_reference_receiver_accepts_it_with_each_secret(
    keys: list[bytes], message_id: str, concept_id: int
) -> None:
    body = json.dumps({"concept": concept_id}).encode()
    lines = Signer(keys).header_lines(message_id.encode(), int(time.time()), body).decode()
    assert lines.endswith("\r\n")
    headers = dict(line.split(": ", 1) for line in lines.split("\r\n")[:-1])
    assert headers["webhook-id"] == message_id
    for key in keys:
        assert Webhook(secret_of(key)).verify(body, headers) == {"concept": concept_id}


@given(key=KEYS, other=KEYS)
def test_the_reference_receiver_refuses_another_body_and_another_secret(key: bytes, other: bytes) -> None:
    lines = Signer([key]).header_lines(b"msg_1", int(time.time()), b"{}").decode()
    headers = dict(line.split(": ", 1) for line in lines.split("\r\n")[:-1])
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(key)).verify(b"{ }", headers)
    if other.rstrip(b"\0") != key.rstrip(b"\0"):  # HMAC pads keys with zeros
        with pytest.raises(WebhookVerificationError):
            Webhook(secret_of(other)).verify(b"{}", headers)


def test_a_signer_signs_many_messages_from_the_same_states() -> None:
    signer = Signer([b"k" * 32])
    first = signer.sign(b"msg_1", b"1", b"{}")
    assert signer.sign(b"msg_2", b"1", b"{}") != first
    assert signer.sign(b"msg_1", b"1", b"{}") == first


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(InvalidSecretError):
        Signer([])
