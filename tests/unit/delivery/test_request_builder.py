"""The headers of a request are those that the API's documents describe, and no others of ours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jsonschema_rs
import pytest

from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.delivery.worker.request_builder import RequestBuilder
from hookstream.subscriptions.api.delivery_headers import DELIVERY_HEADERS
from hookstream.subscriptions.secrets import MasterKey, SecretBox, SigningSecret, hook_context
from tests.support.posts import a_post
from tests.support.values import DELIVERY, HOOK

if TYPE_CHECKING:
    from hookstream.schemas.delivery import Delivery

BOX = SecretBox((MasterKey(b"k" * 32),))
PROTOCOL = {"content-type", "user-agent"}


def headers_of(delivery: Delivery) -> dict[str, str]:
    """What is sent for a delivery of a hook that has two secrets."""
    context = hook_context(HOOK.client, HOOK.event, HOOK.id)
    sealed = tuple(BOX.seal(SigningSecret.new().key, context=context) for _ in range(2))
    post = a_post(delivery, replace(HOOK, secrets=sealed))
    request = RequestBuilder(BOX, TargetRules().policy()).build(post, 1_795_463_750)
    assert request is not None
    return dict(line.split(": ", 1) for line in request.headers.decode().splitlines())


@pytest.mark.parametrize("replay", [None, "job-1"])
def test_every_header_of_a_request_is_described_and_valid(replay: str | None) -> None:
    sent = headers_of(replace(DELIVERY, replay=replay))
    described = {header.name: header for header in DELIVERY_HEADERS if header.required or replay is not None}
    assert sent.keys() - PROTOCOL == described.keys()
    assert sent["hookstream-hook"] == str(HOOK.id)
    for name, header in described.items():
        value = int(sent[name]) if header.schema["type"] == "integer" else sent[name]
        jsonschema_rs.validator_for(header.schema).validate(value)
