"""Signing secrets and the box they are kept in."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, Revision
from hookstream.subscriptions.errors import InvalidKeyError, InvalidSecretError, TamperedError, UnknownKeyError
from hookstream.subscriptions.secrets import MasterKey, SecretBox, SigningSecret, hook_context, open_hook_secrets

OLD = MasterKey(b"o" * 32)
NEW = MasterKey(b"n" * 32)


def test_a_new_secret_has_the_form_of_standard_webhooks() -> None:
    secret = SigningSecret.new()
    text = secret.reveal()
    assert text.startswith("whsec_")
    assert base64.b64decode(text[6:], validate=True) == secret.key
    assert len(secret.key) == 32
    Webhook(text)  # the standard's own package takes it
    assert SigningSecret.new() != secret


@pytest.mark.parametrize("length", [23, 65])
def test_a_secret_outside_the_standard_is_refused(length: int) -> None:
    with pytest.raises(InvalidSecretError):
        SigningSecret(b"x" * length)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_what_is_no_master_key(length: int) -> None:
    with pytest.raises(InvalidKeyError):
        MasterKey(b"x" * length)


def test_a_box_needs_a_key() -> None:
    with pytest.raises(InvalidKeyError):
        SecretBox(())


@given(st.binary(max_size=100), st.binary(max_size=50))
def test_what_is_sealed_opens_for_its_context_alone(data: bytes, context: bytes) -> None:
    box = SecretBox((NEW,))
    sealed = box.seal(data, context=context)
    assert box.open(sealed, context=context) == data
    assert box.seal(data, context=context) != sealed
    with pytest.raises(TamperedError):
        box.open(sealed, context=context + b"x")


@given(st.data())
def test_any_altered_byte_is_noticed(data: st.DataObject) -> None:
    box = SecretBox((NEW,))
    sealed = bytearray(box.seal(b"secret", context=b"c"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((TamperedError, UnknownKeyError)):
        box.open(bytes(sealed), context=b"c")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x02" + b"x" * 60, b"\x01" + NEW.id + b"x" * 27])
def test_what_is_no_ciphertext(sealed: bytes) -> None:
    with pytest.raises(TamperedError):
        SecretBox((NEW,)).open(sealed, context=b"c")


def test_the_layout_is_version_key_id_nonce_data() -> None:
    sealed = SecretBox((NEW,)).seal(b"secret", context=b"c", random_bytes=lambda count: b"r" * count)
    assert sealed[:1] == b"\x01"
    assert sealed[1:5] == NEW.id
    assert sealed[5:17] == b"r" * 12
    assert len(sealed) == 1 + 4 + 12 + len(b"secret") + 16


def test_the_first_key_seals_and_every_key_opens() -> None:
    sealed = SecretBox((OLD,)).seal(b"secret", context=b"c")
    rotated = SecretBox((NEW, OLD))
    assert rotated.open(sealed, context=b"c") == b"secret"
    assert not rotated.sealed_under_first(sealed)
    again = rotated.seal(b"secret", context=b"c")
    assert rotated.sealed_under_first(again)
    assert SecretBox((NEW,)).open(again, context=b"c") == b"secret"
    with pytest.raises(UnknownKeyError, match=OLD.id.hex()):
        SecretBox((NEW,)).open(sealed, context=b"c")


def test_nothing_secret_is_in_a_repr() -> None:
    box = SecretBox((MasterKey(b"hunter2hunter2hunter2hunter2hunt"),))
    for shown in (repr(box), repr(box.keys), repr(SigningSecret(b"hunter2" * 4))):
        assert "hunter2" not in shown


def test_a_rows_secrets_open_for_its_own_hook_alone() -> None:
    box = SecretBox((NEW,))
    newest, oldest = SigningSecret.new(), SigningSecret.new()
    context = hook_context("434", "lead.new", 7)

    def row(hook_id: int, client: int = 434) -> Hook:
        return Hook(
            id=HookId(hook_id),
            client=ClientId(str(client)),
            event=EventName("lead.new"),
            target="https://example.com/",
            state=HookState.ENABLED,
            revision=Revision(1),
            secrets=tuple(box.seal(secret.key, context=context) for secret in (newest, oldest)),
        )

    assert open_hook_secrets(box, row(7)) == (newest, oldest)
    for other in (row(8), row(7, client=435)):
        with pytest.raises(TamperedError):
            open_hook_secrets(box, other)


def test_a_secret_that_is_brought_has_one_form() -> None:
    """What is revealed is read again; every other text is refused, and the error holds nothing of it."""
    for length in (24, 32, 33, 64):
        secret = SigningSecret(bytes(range(length)))
        assert SigningSecret.parse(secret.reveal()) == secret
    good = SigningSecret(b"SENTINEL" * 4).reveal()
    for text in (
        "",
        "whsec_",
        good[6:],
        good[:-1],
        f"{good}=",
        f" {good}",
        f"{good}\n",
        good[:-2] + "1=",
        "whsec_é",
        "\x00",
    ):
        with pytest.raises(InvalidSecretError) as refused:
            SigningSecret.parse(text)
        assert "SENTINEL" not in str(refused.value) + repr(refused.value.__cause__)
        assert good[6:20] not in str(refused.value)
