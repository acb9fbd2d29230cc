"""The relay's decisions, with a topic in memory: what is written, what is put right, when nothing may be written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn

import pytest
from sqlalchemy import select, update

from hookstream.processors.errors import ExpiredRecordsError, KafkaUnavailableError
from hookstream.processors.operations.relays import subscriptions as subscriptions_relay
from hookstream.processors.operations.relays.relay import Relay, Turn
from hookstream.processors.operations.relays.resync import resync
from hookstream.processors.operations.relays.subscriptions import SubscriptionsStep
from hookstream.processors.tables.compacted_topic_reader import UNREADABLE, TopicRecord
from hookstream.processors.tables.subscription_reader import TableBatch
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import RESYNC_MARK_KEY, Hook, HookState, ResyncMark, Revision
from hookstream.subscriptions.database import reading, transact
from hookstream.subscriptions.errors import DatabaseUnavailableError, NotPublishedError
from hookstream.subscriptions.models import AuditRow, SubscriptionRow
from hookstream.subscriptions.publication import parse_subscription_record_key, publish_pending, publish_tombstones
from tests.support.subscriptions_api import Api
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = b"434|lead.new"
DAY_MS = 24 * 3600 * 1000


@dataclass
class MemoryTopic:
    """A topic, and both sides of it. `before_ack` runs when records were written and are not acknowledged yet."""

    records: list[tuple[int, bytes | None, object]] = field(default_factory=list)
    away: bool = False
    before_ack: Callable[[], None] = lambda: None
    expired: bool = False

    def append(self, key: bytes, row: object) -> int:
        """Write a record as anyone may."""
        self.records.append((len(self.records), key, row))
        return len(self.records) - 1

    def publish(self, hooks: Sequence[Hook]) -> Sequence[int]:
        """Write rows."""
        return self._write([(hook.key, hook) for hook in hooks])

    def publish_tombstones(self, keys: Sequence[bytes]) -> Sequence[int]:
        """Write tombstones."""
        return self._write([(key, None) for key in keys])

    def publish_mark(self, mark: ResyncMark) -> int:
        """Write an end mark."""
        return self._write([(RESYNC_MARK_KEY, mark)])[0]

    def _write(self, records: Sequence[tuple[bytes, object]]) -> Sequence[int]:
        if self.away:
            raise NotPublishedError
        offsets = [self.append(key, row) for key, row in records]
        self.before_ack()
        return offsets

    def reader(self, deliver: Callable[[TableBatch], None]) -> MemoryReader:
        """Read it from its start."""
        return MemoryReader(self, deliver)

    def rows(self) -> list[tuple[int, HookState] | None]:
        """Revision and state of each record of the test's subscription key."""
        return [
            (row.revision, row.state) if isinstance(row, Hook) else None for _, key, row in self.records if key == KEY
        ]


@dataclass
class MemoryReader:
    """Reads two records a step, as the real one reads batches."""

    topic: MemoryTopic
    deliver: Callable[[TableBatch], None]
    topic_id: str | None = "topic-id"
    position: int = 0
    end: int = 0

    @property
    def loaded(self) -> bool:
        """Whether the past was read."""
        return self.position >= self.end

    def open(self) -> None:
        """Look where the end is."""
        if self.topic.away:
            raise KafkaUnavailableError
        self.end = len(self.topic.records)

    def step(self, timeout_s: float) -> int:  # noqa: ARG002  # as the Protocol has it
        """Read."""
        if self.topic.expired:
            self.topic.expired = False
            raise ExpiredRecordsError
        batch = self.topic.records[self.position : self.position + 2]
        self.position += len(batch)
        if batch:
            records = [TopicRecord(0, *each) for each in batch]
            self.deliver(TableBatch(records, {0: self.position}))  # type: ignore[arg-type]  # rows of the test's choice
        return len(batch)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def api(sqlite_url: str) -> Iterator[Api]:
    made = Api(sqlite_url)
    yield made
    made.close()


@pytest.fixture
def topic() -> MemoryTopic:
    return MemoryTopic()


def relay_of(api: Api, topic: MemoryTopic) -> Relay:
    """Make a relay that does everything in each turn."""
    step = SubscriptionsStep(
        api.sessions, topic, topic.reader, now_ms=api.clock, audit_days=30, batch_rows=3, housekeeping_every_s=0.0
    )
    return Relay(step, poll_interval_s=0.01, retry_after_s=0.01)


def first_turn(relay: Relay) -> Turn:
    """Let a relay read the past, and give its first turn behind it."""
    while (turn := relay.run_once()).loading:
        pass
    return turn


def create(api: Api, event: str = "lead.new") -> int:
    """Create a hook."""
    hook_id: int = api.integrator(434).create(event=event).json()["hook"]["id"]
    return hook_id


def delete(api: Api, hook_id: int) -> None:
    """Delete a hook."""
    assert api.integrator(434)("DELETE", f"/hooks/{hook_id}").status_code == 204


def test_changes_are_published_in_batches_and_once(api: Api, topic: MemoryTopic) -> None:
    for event in ("new", "assigned", "status", "updated"):
        create(api, f"lead.{event}")
    relay = relay_of(api, topic)
    assert [relay.run_once().published for _ in range(3)] == [3, 1, 0]
    assert len({key for _, key, _ in topic.records}) == len(topic.records) == 4


def test_what_kafka_refuses_stays_pending(api: Api, topic: MemoryTopic) -> None:
    create(api)
    relay = relay_of(api, topic)
    relay.run_once()
    topic.away = True
    delete(api, 1)
    with pytest.raises(NotPublishedError):
        relay.run_once()
    topic.away = False
    assert relay.run_once().published == 1
    assert topic.rows() == [(1, HookState.ENABLED), (2, HookState.DELETED)]


def test_an_older_row_behind_the_newest_is_put_right_once(api: Api, topic: MemoryTopic) -> None:
    hook_id = create(api)
    relay, other = relay_of(api, topic), relay_of(api, topic)
    relay.run_once()
    late = topic.records[0][2]
    delete(api, hook_id)
    relay.run_once()
    topic.append(KEY, late)
    assert relay.run_once().corrected == 1
    assert [relay.run_once().corrected, first_turn(other).corrected] == [0, 0]
    assert topic.rows()[-2:] == [(1, HookState.ENABLED), (2, HookState.DELETED)]


def test_what_kafka_refuses_to_put_right_is_put_right_later(api: Api, topic: MemoryTopic) -> None:
    hook_id = create(api)
    relay = relay_of(api, topic)
    relay.run_once()
    late = topic.records[0][2]
    delete(api, hook_id)
    relay.run_once()
    topic.append(KEY, late)
    topic.away = True
    for _ in range(2):
        with pytest.raises(NotPublishedError):
            relay.run_once()
    topic.away = False
    assert relay.run_once().corrected == 1
    assert topic.rows()[-1] == (2, HookState.DELETED)


def test_a_late_row_is_put_right_after_a_restart(api: Api, topic: MemoryTopic) -> None:
    hook_id = create(api)
    relay_of(api, topic).run_once()
    late = topic.records[0][2]
    delete(api, hook_id)
    relay_of(api, topic).run_once()
    topic.append(KEY, late)
    assert first_turn(relay_of(api, topic)).corrected == 1
    assert topic.rows()[-1] == (2, HookState.DELETED)


def test_a_pending_row_needs_no_correction(api: Api, topic: MemoryTopic) -> None:
    hook_id = create(api)
    relay = relay_of(api, topic)
    relay.run_once()
    delete(api, hook_id)
    topic.append(KEY, topic.records[0][2])
    turn = relay.run_once()
    assert (turn.corrected, turn.published) == (0, 1)
    assert topic.rows()[-1] == (2, HookState.DELETED)


def test_a_late_tombstone_does_not_hide_the_row(api: Api, topic: MemoryTopic) -> None:
    create(api)
    relay = relay_of(api, topic)
    relay.run_once()
    topic.append(KEY, None)
    assert relay.run_once().corrected == 1
    assert topic.rows() == [(1, HookState.ENABLED), None, (1, HookState.ENABLED)]


def test_a_late_row_behind_a_tombstone_gets_its_tombstone_again(api: Api, topic: MemoryTopic) -> None:
    hook_id = create(api)
    relay = relay_of(api, topic)
    relay.run_once()
    late = topic.records[0][2]
    delete(api, hook_id)
    relay.run_once()
    api.clock.now_ms += 41 * 24 * 3600 * 1000
    assert relay.run_once().tombstoned == 1
    topic.append(KEY, late)
    assert relay.run_once().corrected == 1
    assert topic.rows()[-4:] == [None, (1, HookState.ENABLED), (2, HookState.DELETED), None]
    table = SubscriptionTable()
    for offset, key, row in topic.records:
        table.apply(offset, key, row)  # type: ignore[arg-type]  # all are readable
    assert table.route("434", "lead.new") is None, "who read the late row would deliver for ever"


def test_where_more_is_past_its_time_than_a_batch_the_next_turn_goes_on(api: Api, topic: MemoryTopic) -> None:
    for event in ("new", "assigned", "status", "updated"):
        delete(api, create(api, f"lead.{event}"))
    step = SubscriptionsStep(
        api.sessions, topic, topic.reader, now_ms=api.clock, batch_rows=3, housekeeping_every_s=600.0
    )
    relay = Relay(step)
    assert [relay.run_once().published for _ in range(2)] == [3, 1]
    api.clock.now_ms += 41 * DAY_MS
    step._housekeeping_at = 0.0
    assert [relay.run_once().tombstoned for _ in range(3)] == [3, 1, 0]


def test_a_deletion_that_is_old_and_not_published_yet_gets_its_row_first_and_its_tombstone_later(
    api: Api, topic: MemoryTopic
) -> None:
    hook_id = create(api)
    relay = relay_of(api, topic)
    relay.run_once()
    delete(api, hook_id)
    late_ms = api.clock.now_ms + 1
    assert publish_tombstones(api.sessions, topic, deleted_before_ms=late_ms, limit=10) == 0
    relay.run_once()
    assert publish_tombstones(api.sessions, topic, deleted_before_ms=late_ms, limit=10) == 1
    assert topic.rows() == [(1, HookState.ENABLED), (2, HookState.DELETED), None]


def test_an_unreadable_record_is_written_over(api: Api, topic: MemoryTopic) -> None:
    create(api)
    relay = relay_of(api, topic)
    relay.run_once()
    topic.append(KEY, UNREADABLE)
    assert relay.run_once().corrected == 1
    assert topic.rows()[-1] == (1, HookState.ENABLED)


def test_nothing_is_written_from_a_database_that_is_behind(api: Api, topic: MemoryTopic) -> None:
    create(api)
    relay_of(api, topic).run_once()
    row = topic.records[0][2]
    assert isinstance(row, Hook)
    topic.append(KEY, replace(row, revision=Revision(5)))
    topic.append(KEY, row)  # late, and not to be touched now
    create(api, "lead.status")
    relay = relay_of(api, topic)
    reasons = [first_turn(relay).blocked, *(relay.run_once().blocked for _ in range(3))]
    assert ["hookstream subscriptions resync" in (reason or "") for reason in reasons] == [True] * 4
    assert len(topic.records) == 3
    transact(api.sessions, lambda session: session.execute(update(SubscriptionRow).values(revision=6)))
    turn = relay.run_once()
    assert (turn.blocked, turn.published) == (None, 2)


def test_a_hook_that_the_database_never_knew_means_that_it_is_behind(api: Api, topic: MemoryTopic) -> None:
    create(api)
    relay_of(api, topic).run_once()
    row = topic.records[0][2]
    assert isinstance(row, Hook)
    topic.append(b"435|lead.new", replace(row, client=ClientId("435")))
    relay = relay_of(api, topic)
    assert first_turn(relay).blocked


def test_the_whole_past_is_read_before_anything_is_written(api: Api, topic: MemoryTopic) -> None:
    create(api)
    for _ in range(5):
        topic.append(b"no subscription key", None)
    relay = relay_of(api, topic)
    turns = [relay.run_once() for _ in range(3)]
    assert [turn.loading for turn in turns] == [True, True, False]
    assert [turn.published for turn in turns] == [0, 0, 1]


def test_a_stop_is_seen_between_the_batches_of_the_past(api: Api, topic: MemoryTopic) -> None:
    """However much there is to compare, one turn compares one batch of it."""
    for _ in range(5):
        topic.append(KEY, None)
    relay = relay_of(api, topic)
    assert [relay.run_once().loading for _ in range(3)] == [True, True, False]


def test_no_more_is_read_while_the_database_does_not_answer(
    api: Api, topic: MemoryTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []

    def judge(_sessions: object, seen: Sequence[object]) -> NoReturn:
        compared.append(len(seen))
        raise DatabaseUnavailableError

    for _ in range(9):
        topic.append(KEY, None)
    relay = relay_of(api, topic)
    monkeypatch.setattr(subscriptions_relay, "judge", judge)
    for _ in range(3):
        with pytest.raises(DatabaseUnavailableError):
            relay.run_once()
    assert compared == [2, 2, 2]


def test_a_topic_that_was_cut_is_read_again_from_its_start(api: Api, topic: MemoryTopic) -> None:
    create(api)
    relay = relay_of(api, topic)
    relay.run_once()
    topic.expired = True
    with pytest.raises(KafkaUnavailableError):
        relay.run_once()
    delete(api, 1)
    assert relay.run_once().published == 1


def test_two_relays_publish_a_row_in_turn(api: Api, topic: MemoryTopic) -> None:
    """While one holds the rows, the other waits or passes them, and finds them published."""
    create(api)
    published: list[int] = []
    other = threading.Thread(target=lambda: published.append(publish_pending(api.sessions, topic, limit=10)))
    topic.before_ack = other.start
    assert relay_of(api, topic).run_once().published == 1
    topic.before_ack = lambda: None
    other.join(10)
    assert published == [0]
    assert topic.rows() == [(1, HookState.ENABLED)]


def test_running_tells_what_is_wrong_until_it_is_not(api: Api, topic: MemoryTopic) -> None:
    topic.away = True
    create(api)
    relay, stop = relay_of(api, topic), threading.Event()
    assert relay.trouble() is not None
    thread = threading.Thread(target=relay.run, args=(stop,))
    thread.start()
    try:
        eventually(lambda: relay.trouble() != "the relay has not started")
        topic.away = False
        eventually(lambda: relay.trouble() is None)
        delete(api, 1)
        relay.wake()
        eventually(lambda: topic.rows()[-1:] == [(2, HookState.DELETED)])
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def test_a_resync_that_ends_early_leaves_no_mark(api: Api, topic: MemoryTopic) -> None:
    create(api)

    def fail() -> None:
        raise NotPublishedError

    topic.before_ack = fail
    with pytest.raises(NotPublishedError):
        resync(api.sessions, topic, topic.reader, actor="test", now_ms=api.clock)
    assert [key for _, key, _ in topic.records] == [KEY]
    topic.before_ack = lambda: None
    report = resync(api.sessions, topic, topic.reader, actor="test", now_ms=api.clock)
    assert topic.records[report.mark_offset][1] == RESYNC_MARK_KEY
    assert topic.rows() == [(1, HookState.ENABLED), (2, HookState.ENABLED)]


def test_a_resync_lifts_the_database_above_the_highest_row_of_the_whole_topic(api: Api, topic: MemoryTopic) -> None:
    """The highest need not be the last, and the last batch may have what no other has."""
    create(api)
    relay_of(api, topic).run_once()
    row = topic.records[0][2]
    assert isinstance(row, Hook)
    topic.append(KEY, replace(row, revision=Revision(9)))
    topic.append(KEY, row)  # written late
    topic.append(b"435|lead.new", replace(row, client=ClientId("435"), revision=Revision(7)))
    topic.append(b"435|lead.new", replace(row, client=ClientId("435"), revision=Revision(8)))
    resync(api.sessions, topic, topic.reader, actor="test", now_ms=api.clock)
    published = {key: hook.revision for _, key, hook in topic.records[5:] if isinstance(hook, Hook)}
    assert published[KEY] > 9
    assert published[b"435|lead.new"] >= 8
    assert first_turn(relay_of(api, topic)).blocked is None


@pytest.mark.parametrize(
    ("record_key", "key"),
    [
        (b"434|lead.new", ("434", "lead.new")),
        (b"0|a|b", ("0|a", "b")),
        (None, None),
        (b"", None),
        (b"434", None),
        (b"434|", None),
        (b"|lead.new", None),
        (b"-1|lead.new", ("-1", "lead.new")),
        ("٤٣٤|lead.new".encode(), ("٤٣٤", "lead.new")),
        (b"4\x0034|lead.new", None),
        (b"9" * 256 + b"|lead.new", None),
        (b"\xff|x", None),
        (b"434|lead.\0", None),
        (b"434|lead.\xff", None),
        (b"434|" + b"x" * 501, None),
        (RESYNC_MARK_KEY, None),
    ],
)
def test_the_subscription_key_in_a_record_key(record_key: bytes | None, key: tuple[str, str] | None) -> None:
    assert parse_subscription_record_key(record_key) == key


def test_the_audit_is_kept_for_its_days(api: Api, topic: MemoryTopic) -> None:
    """Rows go when their days are over, without an end to the relay's other work; with 0 days they stay for ever."""
    create(api)
    relay = relay_of(api, topic)
    first_turn(relay)
    api.clock.now_ms += 30 * DAY_MS
    create(api, "lead.updated")
    relay.run_once()
    assert {row.at_ms for row in audit_of(api)} == {api.clock.now_ms - 30 * DAY_MS, api.clock.now_ms}
    api.clock.now_ms += 1
    relay.run_once()
    assert {row.at_ms for row in audit_of(api)} == {api.clock.now_ms - 1}
    api.clock.now_ms += 3650 * DAY_MS
    forever = Relay(SubscriptionsStep(api.sessions, topic, topic.reader, now_ms=api.clock, housekeeping_every_s=0.0))
    first_turn(forever)
    assert len(audit_of(api)) > 0


def audit_of(api: Api) -> Sequence[AuditRow]:
    """What the audit holds."""
    with reading(api.sessions) as session:
        return session.scalars(select(AuditRow)).all()
