"""Notices about hooks, in both directions: none is counted before Kafka has it, and a bad one stops no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.relays import hook_events
from hookstream.processors.operations.relays import notices as module
from hookstream.processors.operations.relays.hook_events import NoticeRelay, NoticeWriter
from hookstream.processors.operations.relays.notices import HookNotices
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.event import ClientId
from hookstream.schemas.notices import Notice, NoticeName
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.errors import DatabaseUnavailableError, NotPublishedError
from tests.support.scripted_consumer import record
from tests.support.values import NOTICE

if TYPE_CHECKING:
    from hookstream.schemas.hook import HookNotice

ANY = cast("Any", None)
TOLD = Notice(name=NoticeName.HOOK_DISABLED, client=ClientId("434"), target="https://e.example/", cause="7", at_ms=1)


@pytest.mark.parametrize(
    "error", [NotPublishedError("no"), DatabaseUnavailableError("no"), RegistryUnavailableError("no")], ids=repr
)
def test_notices_that_do_not_reach_kafka_wait_for_a_while_and_say_why(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    answers: list[Exception | int] = [error, error, 3, 100]

    def publish(*_: object, **__: object) -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(hook_events, "publish_notices", publish)
    relay = NoticeRelay(ANY, ANY)
    assert [(relay._turn() >= 1.0, relay.trouble()) for _ in range(2)] == [(True, "no")] * 2
    assert (relay._turn(), relay.trouble()) == (0.2, None)
    assert relay._turn() == 0.0, "there are more"


def test_a_notice_counts_as_told_when_kafka_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[NoticeName] = []
    writer = NoticeWriter(
        KafkaConfig(bootstrap_servers="k:9092"), "events.hookstream", encode=lambda _event: b"", told=told.append
    )

    def refuse(_records: object) -> None:
        raise NotPublishedError("no acknowledgement")

    monkeypatch.setattr(writer, "write", refuse)
    with pytest.raises(NotPublishedError):
        writer.publish([TOLD])
    assert told == []
    monkeypatch.setattr(writer, "write", lambda _records: [])
    writer.publish([TOLD])
    assert told == [TOLD.name]


def test_a_notice_that_cannot_be_read_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[object] = []

    def decode(value: bytes | None) -> HookNotice:
        if not value:
            raise UndecodableError("garbage")
        return NOTICE

    def transact(_sessions: object, work: object) -> bool:
        written.append(work)
        return True

    monkeypatch.setattr(module, "transact", transact)
    changed: list[bool] = []
    step = HookNotices(ANY, TopicNames(), decode=decode, now_ms=lambda: 0, changed=lambda: changed.append(True))
    assert step.apply([record(b""), record(b"1"), record(b"")]) == 1
    assert (len(written), changed) == (1, [True])
