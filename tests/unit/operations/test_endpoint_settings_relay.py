"""The relay of what operators want of endpoints: what it waits for, takes over, and writes again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from hookstream.processors.errors import ExpiredRecordsError, KafkaUnavailableError
from hookstream.processors.operations.relays.endpoint_settings import EndpointSettingsStep
from hookstream.processors.operations.relays.relay import Relay, Turn
from hookstream.processors.tables.compacted_topic_reader import TopicRecord
from hookstream.processors.tables.endpoint_settings import SettingsBatch
from hookstream.subscriptions.database import open_database, open_sessions, reading, transact
from hookstream.subscriptions.endpoint_settings import row_of
from hookstream.subscriptions.endpoint_settings_publication import PublishedSettings
from hookstream.subscriptions.errors import NotPublishedError
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import EndpointSettingsRow
from tests.support.values import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hookstream.schemas.control import EndpointSettings
    from hookstream.subscriptions.database import Sessions

NEWER = replace(SETTINGS, revision=SETTINGS.revision + 1, paused=not SETTINGS.paused)


@dataclass
class Topic:
    """The control topic with one partition. A reader takes one record a step."""

    settings: list[EndpointSettings] = field(default_factory=list)
    away: bool = False
    expired: bool = False

    def publish(self, settings: Sequence[EndpointSettings]) -> Sequence[PublishedSettings]:
        """Write."""
        if self.away:
            raise NotPublishedError("no acknowledgement")
        self.settings += settings
        first = len(self.settings) - len(settings)
        return [
            PublishedSettings(wanted=wanted, partition=0, offset=first + index) for index, wanted in enumerate(settings)
        ]

    def reader(self, deliver: Callable[[SettingsBatch], None]) -> Reader:
        """Make a reader."""
        return Reader(self, deliver)


@dataclass
class Reader:
    """Reads the topic from its start."""

    topic: Topic
    deliver: Callable[[SettingsBatch], None]
    position: int = 0
    end: int = 0

    def open(self) -> None:
        """Look where the end is."""
        self.end = len(self.topic.settings)

    @property
    def loaded(self) -> bool:
        """Whether the past was read."""
        return self.position >= self.end

    def step(self, _timeout_s: float) -> int:
        """Read one record."""
        if self.topic.expired:
            self.topic.expired = False
            raise ExpiredRecordsError("cut")
        if self.position >= len(self.topic.settings):
            return 0
        settings: EndpointSettings | None = self.topic.settings[self.position]
        seen = TopicRecord(0, self.position, None, settings)
        self.position += 1
        self.deliver(SettingsBatch([seen], {0: self.position}))
        return 1

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def sessions(sqlite_url: str) -> Iterator[Sessions]:
    """An empty database."""
    migrate(sqlite_url)
    engine = open_database(sqlite_url)
    yield open_sessions(engine)
    engine.dispose()


def relay_of(sessions: Sessions, topic: Topic) -> Relay:
    """Make a relay."""
    return Relay(EndpointSettingsStep(sessions, topic, topic.reader, now_ms=lambda: 0))


def wanted(
    sessions: Sessions, wanted: EndpointSettings = SETTINGS, *, published: int = 0, offset: int | None = None
) -> None:
    """Let an operator want something."""
    row = row_of(wanted)
    row.published_revision, row.updated_at_ms = published, 0
    row.published_partition, row.published_offset = (None if offset is None else 0), offset
    transact(sessions, lambda session: session.add(row))


def the_row(sessions: Sessions) -> tuple[int, int, bool]:
    """Revision, published revision, and whether the endpoint is paused."""
    with reading(sessions) as session:
        row = session.scalars(select(EndpointSettingsRow)).one()
        return row.revision, row.published_revision, row.paused


def test_nothing_is_written_before_the_past_of_the_topic_was_read(sessions: Sessions) -> None:
    other = replace(SETTINGS, target_digest=b"\1" * 8)
    topic = Topic([other, other, other])
    wanted(sessions)
    relay = relay_of(sessions, topic)
    assert [relay.run_once() for _ in range(2)] == [Turn(loading=True)] * 2
    assert relay.run_once() == Turn(published=1)
    assert topic.settings[3:] == [SETTINGS]
    assert relay.run_once() == Turn()


def test_a_topic_that_lacks_what_was_published_gets_it_again(sessions: Sessions) -> None:
    wanted(sessions, published=SETTINGS.revision)
    topic = Topic()
    assert relay_of(sessions, topic).run_once().published == 1
    assert topic.settings == [SETTINGS]


def test_what_the_topic_has_is_not_written_again(sessions: Sessions) -> None:
    wanted(sessions, published=SETTINGS.revision)
    topic = Topic([SETTINGS])
    relay = relay_of(sessions, topic)
    assert [relay.run_once().published for _ in range(3)] == [0, 0, 0]
    assert topic.settings == [SETTINGS]


def test_a_database_that_is_older_than_the_topic_takes_over_what_stands_there(sessions: Sessions) -> None:
    wanted(sessions, published=SETTINGS.revision)
    relay = relay_of(sessions, Topic([NEWER]))
    relay.run_once()
    assert the_row(sessions) == (NEWER.revision, NEWER.revision, NEWER.paused)


def test_a_settings_that_a_suspended_relay_wrote_late_is_written_over(sessions: Sessions) -> None:
    wanted(sessions, NEWER)
    topic = Topic()
    relay = relay_of(sessions, topic)
    relay.run_once()
    topic.settings.append(SETTINGS)
    for _ in range(3):
        relay.run_once()
    assert topic.settings == [NEWER, SETTINGS, NEWER]


def test_what_was_appended_is_read_to_its_end_before_anything_is_written(sessions: Sessions) -> None:
    """Of a database that was restored: its settings are pending, and the topic ends with newer ones."""
    topic = Topic()
    relay = relay_of(sessions, topic)
    relay.run_once()
    wanted(sessions)
    topic.settings += [replace(SETTINGS, target_digest=b"\1" * 8), NEWER]
    relay.run_once()
    assert [record.revision for record in topic.settings[1:]] == [NEWER.revision, NEWER.revision + 1]


@pytest.mark.parametrize("changes", [1, 2, 3])
def test_settings_of_before_a_restore_are_merged_however_often_an_operator_changed_them_since(
    sessions: Sessions, changes: int
) -> None:
    """The topic has two changes more than the backup; readers follow nothing that is not above both."""
    drained = replace(NEWER, revision=SETTINGS.revision + 2, skip_before_ms=SETTINGS.skip_before_ms + 1)
    topic = Topic([NEWER, drained])
    wanted(sessions, replace(SETTINGS, revision=SETTINGS.revision + changes), published=SETTINGS.revision)
    relay = relay_of(sessions, topic)
    for _ in range(3):
        relay.run_once()
    published = topic.settings[2:]
    assert [(each.paused, each.skip_before_ms) for each in published] == [(SETTINGS.paused, drained.skip_before_ms)]
    assert published[0].revision > max(drained.revision, SETTINGS.revision + changes)


def test_a_late_record_in_the_past_is_no_change_of_an_operator(sessions: Sessions) -> None:
    """The database is older than the topic, where an old record stands between the row and what followed it."""
    topic = Topic([SETTINGS, replace(SETTINGS, revision=SETTINGS.revision - 1), NEWER])
    wanted(sessions, published=SETTINGS.revision, offset=0)
    relay = relay_of(sessions, topic)
    for _ in range(3):
        relay.run_once()
    assert the_row(sessions) == (NEWER.revision, NEWER.revision, NEWER.paused)


def test_settings_that_a_killed_relay_had_published_are_not_changed(sessions: Sessions) -> None:
    """It was killed before it could remember that; an operator has changed them again since."""
    latest = replace(SETTINGS, revision=SETTINGS.revision + 2, retry_at_ms=SETTINGS.retry_at_ms + 1)
    topic = Topic([SETTINGS, replace(SETTINGS, revision=SETTINGS.revision + 1)])
    wanted(sessions, latest, published=SETTINGS.revision)
    relay = relay_of(sessions, topic)
    for _ in range(3):
        relay.run_once()
    assert topic.settings[2:] == [latest]


def test_what_kafka_does_not_acknowledge_stays_pending(sessions: Sessions) -> None:
    wanted(sessions)
    topic = Topic(away=True)
    relay = relay_of(sessions, topic)
    with pytest.raises(NotPublishedError):
        relay.run_once()
    assert the_row(sessions)[1] == 0
    topic.away = False
    assert relay.run_once().published == 1


def test_a_topic_that_was_cut_is_read_again_from_its_start(sessions: Sessions) -> None:
    wanted(sessions, published=SETTINGS.revision)
    topic = Topic([SETTINGS])
    relay = relay_of(sessions, topic)
    relay.run_once()
    topic.settings.clear()
    topic.expired = True
    with pytest.raises(KafkaUnavailableError):
        relay.run_once()
    assert relay.run_once().published == 1, "what the new topic lacks is written again"


class Turns(threading.Event):
    """A stop that is set after so many turns; before its last one, Kafka acknowledges again."""

    def __init__(self, topic: Topic, turns: int) -> None:
        super().__init__()
        self._topic = topic
        self._left = turns

    def is_set(self) -> bool:
        """Whether no turn is left."""
        self._left -= 1
        self._topic.away &= self._left > 0
        return self._left < 0


@pytest.mark.parametrize(
    ("away", "levels"), [(False, []), (True, ["error", "info"])], ids=["at once", "after a failure"]
)
def test_the_log_says_that_writing_works_again_only_after_it_had_failed(
    sessions: Sessions, *, away: bool, levels: list[str]
) -> None:
    wanted(sessions)
    topic = Topic(away=away)
    relay = relay_of(sessions, topic)
    relay.wake()
    with capture_logs() as lines:
        relay.run(Turns(topic, 2 if away else 1))
    assert topic.settings == [SETTINGS]
    assert [line["log_level"] for line in lines] == levels
