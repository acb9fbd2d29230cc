"""A role is ready once it has everything that it begins with, and not for a moment before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from hookstream.processors.cli.roles import api, api_publishers, replayer
from hookstream.processors.cli.roles.process import Running
from hookstream.processors.errors import StoppedError
from hookstream.producers.errors import DeliveryFailedError
from hookstream.producers.testing import FakeEventProducer
from hookstream.subscriptions.errors import NotPublishedError
from tests.support.values import an_event

if TYPE_CHECKING:
    from hookstream.processors.cli.deps import Deps

NO_DEPS = cast("Deps", None)


class SlowProducer(FakeEventProducer):
    """Kafka does not answer it at first; `seen` has what the role says of itself at each attempt."""

    def __init__(self, running: Running, silent_for: int) -> None:
        super().__init__()
        self.seen: list[dict[str, str | None]] = []
        self._running = running
        self._silent_for = silent_for

    def warm_up(self, *namespaces: str) -> None:
        self.seen.append(says(self._running))
        if len(self.seen) <= self._silent_for:
            raise DeliveryFailedError("no answer", retriable=True, record_refused=False)
        super().warm_up(*namespaces)


def says(running: Running) -> dict[str, str | None]:
    """What `/readyz` shows of the role's own parts that are not ready."""
    checks = api.readiness_checks(running.health)
    return {part: reason for part, check in checks.items() if (reason := check()) is not None}


def test_the_api_is_not_ready_before_its_producer_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running()
    producer = SlowProducer(running, silent_for=1)
    monkeypatch.setattr(api_publishers, "event_producer", lambda *_, **__: producer)
    monkeypatch.setattr(api, "check_start", lambda _deps, running: running.health.up("kafka"))
    events = api_publishers.KafkaEvents(NO_DEPS, running.health)
    assert says(running) == {"kafka": "starting", "event producer": "starting"}
    with pytest.raises(NotPublishedError, match="not connected yet: starting"):
        events.publish(an_event("lead.new"))
    api.connect(NO_DEPS, events, running)
    assert producer.seen == [{"event producer": "starting"}, {"event producer": "no answer"}]
    assert says(running) == {}
    assert events.publish(an_event("lead.new")).result(0).offset == 0


def test_the_replayer_is_not_ready_between_its_checks_and_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    running, seen = Running(), list[dict[str, str]]()

    def make(*_: object, **__: object) -> None:
        seen.append(running.health.reasons)
        raise StoppedError("as far as this test goes")

    monkeypatch.setattr(replayer, "check_start", lambda _deps, running: running.health.up("kafka"))
    monkeypatch.setattr(replayer, "check_revision", lambda _engine: None)
    monkeypatch.setattr(replayer, "open_sessions", lambda _engine: None)
    monkeypatch.setattr(replayer, "Replayer", make)
    deps: Any = SimpleNamespace(
        kafka=None, topics=None, catalogue=None, registry=None, settings=SimpleNamespace(max_body_bytes=1)
    )
    with pytest.raises(StoppedError):
        replayer.run_replayer(deps, cast("Any", None), running)
    assert seen == [{"table": "starting"}]
