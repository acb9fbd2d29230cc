"""What operators want of endpoints, and how it reaches the control topic, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from hookstream.schemas.control import EndpointSettings, endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from hookstream.subscriptions.database import reading, transact
from hookstream.subscriptions.endpoint_settings_publication import (
    PublishedSettings,
    publish_pending_settings,
    rewrite_missing,
    take_over,
)
from hookstream.subscriptions.errors import NotPublishedError
from hookstream.subscriptions.models import AuditRow, EndpointSettingsRow
from tests.support.subscriptions_api import TARGET, Api, Caller

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENT = 434
ENDPOINT = endpoint_id(ClientId(str(CLIENT)), target_digest(TARGET))
DELIVERY = "msg_00112233445566778899aabbccddeeff"


@dataclass
class FakeControl:
    """The control topic, one partition of it."""

    records: list[PublishedSettings] = field(default_factory=list)
    away: bool = False

    def publish(self, settings: Sequence[EndpointSettings]) -> Sequence[PublishedSettings]:
        """Append, unless Kafka is down."""
        if self.away:
            msg = "no delivery report in time"
            raise NotPublishedError(msg)
        first = len(self.records)
        written = [PublishedSettings(wanted=wanted, partition=0, offset=n) for n, wanted in enumerate(settings, first)]
        self.records += written
        return written

    @property
    def newest(self) -> EndpointSettings:
        """What compaction would keep."""
        return self.records[-1].wanted


@pytest.fixture
def operator(api: Api) -> Caller:
    """Register the hook whose endpoint is steered, and give who steers it."""
    assert api.integrator(CLIENT).create().status_code == 201
    return api.operator()


def say(caller: Caller, action: str, **body: str) -> dict[str, Any]:
    """Take an action and give the settings that it leads to."""
    answer = caller("POST", f"/endpoints/{ENDPOINT}/{action}", {"reason": "it melts", **body})
    assert answer.status_code == 200, answer.text
    wanted: dict[str, Any] = answer.json()["settings"]
    return wanted


def publish(api: Api, topic: FakeControl) -> int:
    """Let a relay have its turn."""
    return publish_pending_settings(api.sessions, topic, limit=10)


def shown(caller: Caller) -> dict[str, Any]:
    """Read the present settings."""
    wanted: dict[str, Any] = caller("GET", f"/endpoints/{ENDPOINT}/settings").json()["settings"]
    return wanted


def test_every_action_changes_its_own_part_and_is_audited(api: Api, operator: Caller) -> None:
    """A row holds all settings: a later action leaves what others asked for, and each is audited with who and why."""
    assert (shown(operator)["revision"], shown(operator)["published"]) == (0, True)
    assert say(operator, "pause")["paused"]
    assert say(operator, "drain")["skip_before_ms"] == api.broker_clock.ms, "the time of the broker, not of the API"
    assert say(operator, "skip", delivery=DELIVERY)["skipped"][0]["delivery"] == DELIVERY
    first = say(operator, "retry-now")["retry_at_ms"]
    assert say(operator, "retry-now")["retry_at_ms"] > first, "asked twice within a millisecond is asked twice"
    wanted = say(operator, "resume")
    assert (wanted["paused"], wanted["skip_before_ms"], len(wanted["skipped"])) == (False, api.broker_clock.ms, 1)
    assert (wanted["revision"], wanted["published"], wanted["reason"]) == (6, False, "it melts")
    with reading(api.sessions) as session:
        rows = session.scalars(
            select(AuditRow).where(AuditRow.action.startswith("endpoint.")).order_by(AuditRow.id)
        ).all()
        assert [row.action.partition(".")[2] for row in rows] == [
            "pause", "drain", "skip", "retry-now", "retry-now", "resume",
        ]  # fmt: skip
        assert {(row.actor, row.client, row.detail["reason"]) for row in rows} == {
            (wanted["asked_by"], str(CLIENT), "it melts")
        }


def test_two_operators_at_once_are_both_heard(api: Api, operator: Caller) -> None:
    """Of actions that meet none is lost, and the endpoint's first row is made once."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda action: say(operator, action), ["pause", "drain", "pause", "drain"]))
    wanted = shown(operator)
    assert (wanted["revision"], wanted["paused"], wanted["skip_before_ms"]) == (4, True, api.broker_clock.ms)


def test_others_may_not(api: Api, operator: Caller) -> None:
    """Actions are for operators; an endpoint that no hook has, or a name that is none, is not found."""
    assert api.integrator(CLIENT)("POST", f"/endpoints/{ENDPOINT}/pause", {"reason": "x"}).status_code == 403
    for name in (f"435-{target_digest(TARGET).hex()}", "434-0123456789abcdef", "nonsense", "434-0123456789ABCDEF"):
        answer = operator("POST", f"/endpoints/{name}/pause", {"reason": "x"})
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:hookstream:problem:endpoint-not-found")
    for body in ({}, {"reason": ""}, {"reason": "two\nlines"}, {"reason": "x", "more": 1}):
        assert operator("POST", f"/endpoints/{ENDPOINT}/pause", body).status_code == 422


def test_without_the_brokers_time_nothing_is_drained(api: Api, operator: Caller) -> None:
    """Where the broker's time is unknown, drain and skip are refused, and pause is not."""
    api.broker_clock.ms = None
    assert operator("POST", f"/endpoints/{ENDPOINT}/drain", {"reason": "x"}).status_code == 503
    assert say(operator, "pause")["revision"] == 1


def test_a_single_skip_is_forgotten_after_its_time_and_there_is_a_most(api: Api, operator: Caller) -> None:
    """Single skips are bounded in number, and those that nothing can be meant by any more make room."""
    say(operator, "pause")

    def fill(session: Any) -> None:  # of SQLAlchemy
        row = session.get_one(EndpointSettingsRow, (CLIENT, target_digest(TARGET).hex()))
        at_ms = api.clock()
        row.skipped = [{"delivery_id": f"msg_{n}", "at_ms": at_ms, "asked_by": "a", "reason": "b"} for n in range(500)]

    transact(api.sessions, fill)
    refused = operator("POST", f"/endpoints/{ENDPOINT}/skip", {"reason": "x", "delivery": DELIVERY})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:hookstream:problem:too-many-skips")
    api.clock.now_ms += 61 * 24 * 3600 * 1000
    assert [skip["delivery"] for skip in say(operator, "skip", delivery=DELIVERY)["skipped"]] == [DELIVERY]


def test_settings_wait_for_kafka_and_are_published_once(api: Api, operator: Caller) -> None:
    """While Kafka is down settings stay pending; then they are written, and the API says so."""
    topic = FakeControl(away=True)
    say(operator, "pause")
    with pytest.raises(NotPublishedError):
        publish(api, topic)
    assert not shown(operator)["published"]
    topic.away = False
    assert (publish(api, topic), publish(api, topic)) == (1, 0)
    assert (topic.newest.paused, topic.newest.revision, topic.newest.endpoint) == (True, 1, ENDPOINT)
    assert shown(operator)["published"]
    assert take_over(api.sessions, topic.records, now_ms=api.clock()) == 0, (
        "it takes nothing over of what it wrote itself"
    )


def test_a_late_row_is_written_over(api: Api, operator: Caller) -> None:
    """A relay that was suspended writes an old settings behind the present one: the present one is written again."""
    topic = FakeControl()
    say(operator, "pause")
    publish(api, topic)
    say(operator, "resume")
    publish(api, topic)
    late = topic.publish([topic.records[0].wanted])
    assert take_over(api.sessions, late, now_ms=api.clock()) == 1
    assert publish(api, topic) == 1
    assert (topic.newest.paused, topic.newest.revision) == (False, 2)


def test_a_restored_database_takes_over_what_the_topic_knows(api: Api, operator: Caller) -> None:
    """A topic that is ahead wins over what was restored; what an operator has set since is kept with it."""
    topic = FakeControl()
    say(operator, "pause")
    publish(api, topic)
    ahead = replace(topic.newest, revision=9, paused=False, skip_before_ms=77, drained_by="x", drain_reason="y")
    topic.publish([ahead])
    assert take_over(api.sessions, topic.records, now_ms=api.clock()) == 1
    wanted = shown(operator)
    assert (wanted["revision"], wanted["paused"], wanted["skip_before_ms"], wanted["published"]) == (9, False, 77, True)

    say(operator, "pause")
    topic.publish([replace(ahead, revision=20, retry_at_ms=88)])
    assert take_over(api.sessions, topic.records, now_ms=api.clock()) == 1
    assert publish(api, topic) == 1
    newest = topic.newest
    assert (newest.revision, newest.paused, newest.skip_before_ms, newest.retry_at_ms) == (21, True, 77, 88)


def test_a_lost_database_gets_all_settings_back(api: Api, operator: Caller) -> None:
    """Settings that the database never had is taken over, and an action goes on from it."""
    foreign = EndpointSettings(
        client=ClientId(str(CLIENT)), target_digest=target_digest(TARGET), paused=True, revision=5
    )
    assert take_over(api.sessions, FakeControl().publish([foreign]), now_ms=api.clock()) == 1
    assert (shown(operator)["paused"], say(operator, "drain")["revision"]) == (True, 6)


def test_a_new_topic_is_filled(api: Api, operator: Caller) -> None:
    """A topic that lacks what was published, made anew or in memory, gets it again."""
    old, new = FakeControl(), FakeControl()
    say(operator, "pause")
    publish(api, old)
    assert rewrite_missing(api.sessions, old.records) == 0
    assert rewrite_missing(api.sessions, new.records) == 1
    assert publish(api, new) == 1
    assert new.newest.paused
