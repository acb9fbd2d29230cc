"""Relays of endpoint settings in one process: the shipped relay on a database and a topic, both of which may be lost.

Beside what `simulated_relays` lets happen, the database is restored from a backup, and the topic is made anew. A
violation is raised where a record was never committed, where the database remembers what is not in the topic, where at
the end the topic or a worker that followed it differs from the database, and where a restore loses what stood in the
topic: a drain, a skip or a retry in any case, everything where no operator changed the endpoint since; or what an
operator asked for since.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import insert, inspect, select

from hookstream.processors.operations.relays.endpoint_settings import EndpointSettingsStep
from hookstream.processors.operations.relays.endpoint_settings_writer import EndpointSettingsWriter
from hookstream.processors.tables.compacted_topic_reader import TopicRecord
from hookstream.processors.tables.endpoint_settings import (
    EndpointSettingsReader,
    EndpointSettingsTable,
    SettingsBatch,
)
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.endpoint_settings import endpoint_settings_decoder, endpoint_settings_encoder
from hookstream.schemas.control import EndpointSettings, target_digest
from hookstream.schemas.event import ClientId, EventName
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.endpoint_settings import EndpointKey, EndpointSettingsChanges, settings_of
from hookstream.subscriptions.models import EndpointSettingsRow
from hookstream.subscriptions.repository import HookRepository, NewHook
from hookstream.subscriptions.target_url import Target
from tests.support.simulated_relays import KAFKA, Process, SimulatedRelays, check
from tests.support.simulated_topic import SimulatedTopic

if TYPE_CHECKING:
    from confluent_kafka import Message
    from sqlalchemy.orm import Session

    from tests.support.simulated_database import Owner

Key: TypeAlias = tuple[str, str]
"""Client, and the digest of the target in hexadecimal digits."""

ENCODE = endpoint_settings_encoder(1)
DECODE = endpoint_settings_decoder(lambda _: InternalSchema.CONTROL.text)
TARGET = Target("https://1.example/")
_CLIENTS = 3
_PARTITIONS = 2


@dataclass
class SettingsRelayWorld(SimulatedRelays):
    """A world of endpoint settings."""

    stored: dict[tuple[int, int], EndpointSettings] = field(default_factory=dict)
    """Every record that ever was in the topic of now, by partition and offset."""
    committed_settings: dict[Key, dict[int, list[EndpointSettings]]] = field(default_factory=dict)
    """By revision: one since the last restore, and what others there were before."""
    newest: dict[Key, int] = field(default_factory=dict)
    """The last revision that was committed."""
    table: EndpointSettingsTable = field(default_factory=EndpointSettingsTable)
    """Of a worker that was there all the time."""
    backup: list[dict[str, Any]] | None = None
    restored: dict[Key, EndpointSettings] = field(default_factory=dict)
    """What the topic said, or else the backup, when the database was restored."""
    changed_since: set[Key] = field(default_factory=set)
    """Which an operator changed since the restore, or just before the backup was taken."""
    asked: dict[Key, EndpointSettings] = field(default_factory=dict)
    """What an operator's last command since the restore committed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.committed_settings = defaultdict(lambda: defaultdict(list))
        self.fair = True
        for client in range(1, _CLIENTS + 1):
            self._register(ClientId(str(client)))
        self.fair = False

    def make_topic(self) -> SimulatedTopic:
        """Make the topic."""
        return SimulatedTopic("control", _PARTITIONS)

    def make_step(self, process: Process) -> EndpointSettingsStep:
        """Make what a relay of endpoint settings does."""
        return EndpointSettingsStep(
            self.database.sessions(process),
            EndpointSettingsWriter(KAFKA, self.topic.name, encode=ENCODE),
            lambda take: EndpointSettingsReader(KAFKA, self.topic.name, decode=DECODE, deliver=take),
            now_ms=self._now_ms,
            batch_rows=self.random.choice((1, 2, 100)),
        )

    def change(self) -> None:
        """An operator's command."""
        client = ClientId(str(self.random.randint(1, _CLIENTS)))
        action = self.random.choice(("pause", "resume", "retry", "drain", "skip"))
        delivery = f"delivery-{self.random.randint(1, 5)}"
        if self.api.busy:
            return
        endpoint = EndpointKey(client, target_digest(TARGET))

        def work(session: Session) -> object:
            changes = EndpointSettingsChanges(session, "test", self._now_ms())
            match action:
                case "pause":
                    return changes.pause(endpoint, "it melts")
                case "resume":
                    return changes.resume(endpoint, "it is well")
                case "retry":
                    return changes.retry_now(endpoint, "it is well")
                case "drain":
                    return changes.drain(endpoint, "too old", before_ms=self._now_ms())
                case _:
                    return changes.skip(endpoint, "poison", delivery_id=delivery, at_ms=self._now_ms())

        self.changed_since.add((client, endpoint.target_digest.hex()))
        self.do(self.api, lambda: transact(self.database.sessions(self.api), work))

    def pass_time(self) -> None:
        """A backup is taken, the database is restored from the last one, or the topic is made anew."""
        draw = self.random.random()
        if draw < 0.4:
            with self.database.real() as session:
                self.backup = [_columns(row) for row in session.scalars(select(EndpointSettingsRow))]
        elif draw < 0.7 and self.backup is not None:
            self.restore(self.backup)
        elif draw < 0.8:
            self.settle()
            self.topic.delete()
            self.stored.clear()
            if self.backup is not None:
                self.settle()  # what was in the lost topic alone, when a backup is restored, is lost
        else:
            self.settle()

    def restore(self, backup: list[dict[str, Any]]) -> None:
        """Every API ends, the database becomes what it was, and later they start again.

        A request to Kafka is under way for seconds, and so long an older record may stand behind a newer one, before a
        relay corrects it. A restore takes longer.
        """
        while self.topic.late:
            late = self.topic.late.popleft()
            if self.random.random() < 0.5:
                self.store(*late)
        last = {record.key(): DECODE(record.value()) for record in self.topic.records}
        if any(last[settings.key].revision < settings.revision for settings in self.stored.values()):  # type: ignore[union-attr]  # no tombstones
            self.settle()
        for process in [*self.processes]:
            self.kill(process)
        with self.database.real.begin() as session:
            session.execute(EndpointSettingsRow.__table__.delete())  # type: ignore[attr-defined]  # it is a table
            if backup:
                session.execute(insert(EndpointSettingsRow), backup)
            rows = {_key(row): settings_of(row) for row in session.scalars(select(EndpointSettingsRow))}
            pending = {_key(row) for row in session.scalars(select(EndpointSettingsRow)) if _is_pending(row)}
        self.newest = {key: settings.revision for key, settings in rows.items()}
        self.restored = rows
        for settings in self.stored.values():
            key = (settings.client, settings.target_digest.hex())
            known = self.restored.get(key)
            if known is None or settings.revision > known.revision:
                self.restored[key] = settings
        self.asked.clear()
        self.changed_since = pending  # a relay takes them for changes that were made since
        self.backup = None  # what was done since it was taken is another history

    def has_pending(self) -> bool:
        """Whether settings are to be published."""
        with self.database.real() as session:
            return any(_is_pending(row) for row in session.scalars(select(EndpointSettingsRow)))

    # -- what is checked -----------------------------------------------------------------------------------------

    def judge_record(self, record: Message) -> None:
        """Settings that were committed."""
        settings = DECODE(record.value())
        assert settings is not None
        key = (settings.client, settings.target_digest.hex())
        if settings not in self.committed_settings[key][settings.revision]:
            self.violated(f"{settings} is not what was committed")
        partition, offset = record.partition() or 0, record.offset() or 0
        self.stored[partition, offset] = settings
        self.table.apply(
            SettingsBatch([TopicRecord(partition, offset, record.key(), settings)], {partition: offset + 1})
        )

    def judge_row(self, owner: Owner, row: object) -> None:
        """One content under a revision, which never goes back; and it stands where the database says."""
        if not isinstance(row, EndpointSettingsRow):
            return
        key, settings = _key(row), settings_of(row)
        if row.revision < self.newest.get(key, 0):
            self.violated(f"the revision of {key} goes back to {row.revision}")
        known = self.committed_settings[key][row.revision]
        if row.revision == self.newest.get(key) and settings != known[-1]:
            self.violated(f"other settings under revision {row.revision} of {key}")
        if settings not in known[-1:]:
            known.append(settings)
        self.newest[key] = row.revision
        if owner is self.api:
            self.asked[key] = settings
        if not _is_pending(row):
            place = row.published_partition or 0, -1 if row.published_offset is None else row.published_offset
            found = self.stored.get(place)
            if found != settings:
                self.violated(f"{settings} is said to stand where there is {found}")

    def judge_end(self) -> None:
        """The topic ends with what the database says, so do workers, and a restore has lost nothing."""
        with self.database.real() as session:
            rows = {_key(row): settings_of(row) for row in session.scalars(select(EndpointSettingsRow))}
        last = {key: DECODE(value) for key, value in self.topic.newest().items()}
        readers = {"every record": self.table, "what compaction left": self._late_reader()}
        for settings in rows.values():
            if last.get(settings.key) != settings:
                self.violated(f"the topic ends with {last.get(settings.key)}, the database with {settings}")
            for name, table in readers.items():
                seen = table.get(settings.client, settings.target_digest)
                if seen != settings:
                    self.violated(f"who read {name} has {seen}, the database {settings}")
        self._judge_restore(rows)

    def _judge_restore(self, rows: dict[Key, EndpointSettings]) -> None:
        for key, before in self.restored.items():
            now = rows.get(key)
            if now is None or not _holds(now, before) or (key not in self.changed_since and not _same(now, before)):
                self.violated(f"a restore lost {before}: {now}")
        for key, asked in self.asked.items():
            if not _holds(rows[key], asked) or rows[key].paused != asked.paused:
                self.violated(f"what an operator asked for is lost, {asked}: {rows[key]}")

    def _late_reader(self) -> EndpointSettingsTable:
        """A worker that starts now."""
        table = EndpointSettingsTable()
        for record in self.topic.records:
            partition, offset = record.partition() or 0, record.offset() or 0
            found = TopicRecord(partition, offset, record.key(), DECODE(record.value()))
            table.apply(SettingsBatch([found], {partition: offset + 1}))
        return table

    def _register(self, client: ClientId) -> None:
        new = NewHook(client=client, event=EventName("property.updated"), target=TARGET)

        def work(session: Session) -> object:
            return HookRepository(session, "test", 0).create(new, seal_secret=lambda _: b"sealed")

        transact(self.database.sessions(self.api), work)

    def _now_ms(self) -> int:
        return round(self.now * 1000)


def _key(row: EndpointSettingsRow) -> Key:
    return row.client, row.target_digest


def _is_pending(row: EndpointSettingsRow) -> bool:
    return row.revision > row.published_revision


def _columns(row: EndpointSettingsRow) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in inspect(EndpointSettingsRow).column_attrs}


def _same(now: EndpointSettings, before: EndpointSettings) -> bool:
    return replace(now, revision=0) == replace(before, revision=0)


def _holds(now: EndpointSettings, before: EndpointSettings) -> bool:
    """Whether what can only grow is still there."""
    skipped = {skip.delivery_id for skip in before.skipped} - {skip.delivery_id for skip in now.skipped}
    return now.skip_before_ms >= before.skip_before_ms and now.retry_at_ms >= before.retry_at_ms and not skipped


def check_settings_relays(seed: int) -> str | None:
    """Run one world; what was violated, or None."""
    return check(SettingsRelayWorld(seed))
