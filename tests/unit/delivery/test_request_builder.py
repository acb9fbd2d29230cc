"""The headers of a request are those that the API's documents describe, and no others of ours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jsonschema_rs
import pytest

from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.delivery.worker.request_builder import RequestBuilder
from hookstream.schemas.hook import Revision
from hookstream.subscriptions.api.delivery_headers import DELIVERY_HEADERS
from hookstream.subscriptions.secrets import MasterKey, SecretBox, SigningSecret, hook_context
from tests.support.posts import a_post
from tests.support.values import DELIVERY, HOOK

if TYPE_CHECKING:
    from hookstream.schemas.delivery import Delivery
    from hookstream.schemas.hook import Hook

BOX = SecretBox((MasterKey(b"k" * 32),))
PROTOCOL = {"content-type", "user-agent"}
NOW_S = 1_795_463_750


def with_new_secrets(hook: Hook) -> Hook:
    """The hook with two secrets that no other has."""
    context = hook_context(hook.client, hook.event, hook.id)
    return replace(hook, secrets=tuple(BOX.seal(SigningSecret.new().key, context=context) for _ in range(2)))


def headers_of(delivery: Delivery) -> dict[str, str]:
    """What is sent for a delivery of a hook that has two secrets."""
    post = a_post(delivery, with_new_secrets(HOOK))
    request = RequestBuilder(BOX, TargetRules().policy()).build(post, NOW_S)
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


def test_a_name_with_a_line_break_adds_no_header() -> None:
    forged = "job\r\nx-forged: 1\nx-forged: 2\u2028"
    sent = headers_of(replace(DELIVERY, replay=forged, source_topic=forged))
    assert sent.keys() == headers_of(DELIVERY).keys()
    assert sent["hookstream-replay"] == "job??x-forged:?1?x-forged:?2?"
    assert sent["hookstream-sequence"].startswith("job??x-forged:?1?x-forged:?2?:")


@pytest.mark.parametrize(
    ("rules", "target"),
    [
        (TargetRules(require_https=True), "http://example.com/"),
        (TargetRules(allowed_ports=frozenset({443})), "https://example.com:8443/"),
        (TargetRules(), "http://169.254.169.254/latest/meta-data/"),
    ],
)
def test_a_target_that_was_registered_under_other_rules_gets_no_request(rules: TargetRules, target: str) -> None:
    builder = RequestBuilder(BOX, rules.policy())
    assert builder.build(a_post(row=with_new_secrets(replace(HOOK, target=target))), NOW_S) is None
    allowed = with_new_secrets(replace(HOOK, target="https://example.com/", revision=Revision(8)))
    assert builder.build(a_post(row=allowed), NOW_S) is not None


def test_each_row_of_a_hook_is_signed_with_its_own_secrets_and_goes_to_its_own_target() -> None:
    old = with_new_secrets(HOOK)
    new = with_new_secrets(replace(HOOK, target="https://new.example/", revision=Revision(8)))
    builder = RequestBuilder(BOX, TargetRules().policy())
    for row in (old, new, old):
        request = builder.build(a_post(row=row), NOW_S)
        assert request is not None
        assert request == RequestBuilder(BOX, TargetRules().policy()).build(a_post(row=row), NOW_S)
