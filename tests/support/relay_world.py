"""Relays of hooks in one process: the shipped relay on a database, a topic and producers that a seed moves.

A violation is raised where a record was never committed, where the database remembers what is not in the topic, where a
tombstone comes before the deletion is old, and where at the end the topic, or a reader of it, differs from the
database. See `simulated_relays` for what happens meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unittest.mock import patch

from sqlalchemy import select

from hookstream.processors.operations.relays import subscriptions
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.processors.operations.relays.subscriptions import SubscriptionsStep
from hookstream.processors.tables.subscription_reader import SubscriptionReader
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.hooks import subscription_decoder, subscription_encoder
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookState
from hookstream.subscriptions.changes import hook_of
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.models import SubscriptionRow
from hookstream.subscriptions.repository import HookChange, HookRepository, NewHook
from hookstream.subscriptions.target_url import Target
from tests.support.simulated_relays import DAY_S, KAFKA, Process, SimulatedRelays, check
from tests.support.simulated_topic import SimulatedTopic

if TYPE_CHECKING:
    from confluent_kafka import Message
    from sqlalchemy.orm import Session

    from tests.support.simulated_database import Owner

EVENT = EventName("property.updated")
ENCODE = subscription_encoder(1)
DECODE = subscription_decoder(lambda _: InternalSchema.SUBSCRIPTION.text)
_OLD_S = 40 * DAY_S
_CLIENTS = 2


@dataclass
class RelayWorld(SimulatedRelays):
    """A world of hooks."""

    stored: list[tuple[bytes, Hook | None]] = field(default_factory=list)
    """Every record that ever was in the topic, by its offset."""
    history: dict[str, dict[int, Hook]] = field(default_factory=dict)
    """By client and revision: a row as a transaction committed it."""
    deleted_at: dict[tuple[str, int], float] = field(default_factory=dict)
    """By client and revision."""
    table: SubscriptionTable = field(default_factory=SubscriptionTable)
    """Of a reader that was there all the time."""

    def make_topic(self) -> SimulatedTopic:
        """Make the topic."""
        return SimulatedTopic("subscriptions")

    def make_step(self, process: Process) -> SubscriptionsStep:
        """Make what a relay of hooks does."""
        return SubscriptionsStep(
            self.database.sessions(process),
            SubscriptionWriter(KAFKA, self.topic.name, encode=ENCODE),
            lambda take: SubscriptionReader(KAFKA, self.topic.name, decode=DECODE, deliver=take),
            now_ms=lambda: round(self.now * 1000),
            batch_rows=self.random.choice((1, 2, 100)),
        )

    def run(self) -> None:
        """Run it, with its time for what is done now and then."""
        with patch.object(subscriptions, "monotonic", lambda: self.now):
            super().run()

    def pass_time(self) -> None:
        """Rows grow old."""
        self.settle()  # before the topic is compacted
        self.now += _OLD_S + 1 if self.random.random() < 0.5 else 0.0

    def change(self) -> None:
        """A request of the API."""
        client = ClientId(str(self.random.randint(1, _CLIENTS)))
        if self.api.busy:
            return
        now_ms = round(self.now * 1000)
        kind = self.random.choice(("create", "target", "disable", "enable", "delete", "delete"))
        target = Target(f"https://{self.random.randint(1, 9)}.example/")

        def work(session: Session) -> object:
            hooks = HookRepository(session, "test", now_ms)
            row = session.get(SubscriptionRow, (client, EVENT))
            if row is None or row.state == HookState.DELETED:
                new = NewHook(client=client, event=EVENT, target=target)
                return hooks.create(new, seal_secret=lambda _: b"sealed")
            if kind == "target":
                return hooks.change(row.hook_id, HookChange(target=target), client=client)
            if kind == "disable":
                return hooks.disable(row.hook_id, client=client)
            if kind == "enable":
                return hooks.enable(row.hook_id, client=client, not_before_ms=None)
            return hooks.delete(row.hook_id, client=client) if kind == "delete" else None

        self.do(self.api, lambda: transact(self.database.sessions(self.api), work))

    def rest(self) -> None:
        """Also what is old goes."""
        super().rest()
        self.now += _OLD_S + 1
        self.settle()

    def has_pending(self) -> bool:
        """Whether a row is to be published."""
        pending = select(SubscriptionRow.client).where(SubscriptionRow.revision > SubscriptionRow.published_revision)
        with self.database.real() as session:
            return session.scalar(pending.limit(1)) is not None

    # -- what is checked -----------------------------------------------------------------------------------------

    def judge_record(self, record: Message) -> None:
        """A row that was committed, or the tombstone of a hook whose deletion is old."""
        offset, key, value = record.offset() or 0, record.key() or b"", record.value()
        row = DECODE(value) if value is not None else None
        assert row is None or isinstance(row, Hook)
        self.stored.append((key, row))
        client = key.split(b"|")[0].decode()
        if row is None:
            earlier = [hook for other, hook in self.stored[:offset] if other == key and hook is not None]
            deleted = [hook for hook in earlier if hook.state is HookState.DELETED]
            if not any(self.now - self.deleted_at[client, hook.revision] > _OLD_S for hook in deleted):
                self.violated(f"a tombstone of {key!r} before its deletion is old, or before it is in the topic")
        else:
            committed = self.history[client].get(row.revision)
            if committed != row:
                self.violated(f"{row} is not what was committed: {committed}")
        self.table.apply(offset, key, row)

    def judge_row(self, _owner: Owner, row: object) -> None:
        """One content under a revision, which never goes back; and it stands where the database says."""
        if not isinstance(row, SubscriptionRow):
            return
        known = self.history.setdefault(row.client, {})
        if row.revision not in known:
            known[row.revision] = hook_of(row)
            if row.state == HookState.DELETED:
                self.deleted_at[row.client, row.revision] = self.now
        elif known[row.revision] != hook_of(row):
            self.violated(f"another row under revision {row.revision} of {row.client}")
        if row.revision < max(known):
            self.violated(f"the revision of {row.client} goes back to {row.revision}")
        if row.published_offset is not None:
            key, found = self.stored[row.published_offset]
            if key != hook_of(row).key or (found is not None and found.revision != row.published_revision):
                self.violated(f"revision {row.published_revision} is said to stand at {row.published_offset}: {found}")
            if row.tombstoned and found is not None:
                self.violated(f"a tombstone is said to stand at {row.published_offset}: {found}")
        elif row.published_revision:
            self.violated(f"revision {row.published_revision} of {row.client} is said to stand nowhere")

    def judge_end(self) -> None:
        """The topic ends with what the database says, and so does every table."""
        last = self.topic.newest()
        late_reader = SubscriptionTable()
        for record in self.topic.records:
            late_reader.apply(record.offset() or 0, record.key(), DECODE(record.value()) if record.value() else None)
        with self.database.real() as session:
            rows = session.scalars(select(SubscriptionRow)).all()
        for row in rows:
            hook = hook_of(row)
            value = last.get(hook.key)
            found = DECODE(value) if value is not None else None
            if found != (None if row.tombstoned else hook):
                self.violated(f"the topic ends with {found}, the database with {hook}, tombstoned: {row.tombstoned}")
            for name, table in (("every record", self.table), ("what compaction left", late_reader)):
                seen = table.get(row.client, row.event)
                if seen != hook and not (hook.state is HookState.DELETED and seen is None):
                    self.violated(f"who read {name} has {seen}, the database {hook}")
        if self.history.keys() - {row.client for row in rows}:
            self.violated("a row is gone")


def check_relays(seed: int) -> str | None:
    """Run one world; what was violated, or None."""
    return check(RelayWorld(seed))
