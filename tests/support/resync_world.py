"""Resyncs in one process: the database of hooks is restored, and brought above the topic while others go on.

Beside what `simulated_relays` lets happen, the database is restored and, some time later, an operator runs a resync,
which may be killed at any step and is then run again. Relays start before it and API requests come in meanwhile. A
violation is raised where, beside the rules of `relay_world`, a restore loses a hook that stood in the topic, unless its
id was given to another hook meanwhile, or loses what an integrator has changed since; where a row is not above the
topic after a resync; and where an id is given again after one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, inspect, select, update

from hookstream.processors.operations.relays.resync import resync
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.processors.tables.subscription_reader import SubscriptionReader
from hookstream.schemas.hook import RESYNC_MARK_KEY, Hook, HookState
from hookstream.subscriptions.changes import hook_of
from hookstream.subscriptions.models import CounterRow, SubscriptionRow
from tests.support.relay_world import DECODE, ENCODE, RelayWorld
from tests.support.simulated_relays import KAFKA, Process, check

if TYPE_CHECKING:
    from confluent_kafka import Message

    from tests.support.simulated_database import Owner

_MOST_RESYNCS = 20


@dataclass
class Backup:
    """The rows of hooks and counters."""

    rows: list[dict[str, Any]]
    counter: int


@dataclass
class ResyncWorld(RelayWorld):
    """A world of hooks whose database is restored now and then."""

    backup: Backup | None = None
    to_resync: bool = False
    """Whether the database was restored, and no resync has come to its end since."""
    restored: dict[str, Hook] = field(default_factory=dict)
    """By client: what the topic said, or else the backup, when the database was restored."""
    asked: dict[str, Hook] = field(default_factory=dict)
    """What the last request since then committed."""
    owners: dict[int, str] = field(default_factory=dict)
    """Which client has an id, or had it."""
    pending: set[str] = field(default_factory=set)
    """Whose rows were not published when the backup was taken: a resync takes them for changes that came since."""

    def pass_time(self) -> None:
        """A backup is taken, the database is restored from the last one, or an operator runs a resync."""
        draw = self.random.random()
        if draw < 0.35 and not self.to_resync:
            with self.database.real() as session:
                rows = [_columns(row) for row in session.scalars(select(SubscriptionRow))]
                self.backup = Backup(rows, session.scalars(select(CounterRow.value)).one())
        elif draw < 0.6 and self.backup is not None:
            self.restore(self.backup)
        elif draw < 0.9 or self.to_resync:
            self.resync()
        else:
            self.settle()

    def restore(self, backup: Backup) -> None:
        """Every API ends, the database becomes what it was, and later they start again."""
        for process in [*self.processes]:
            self.kill(process)
        while self.topic.late:  # a request is under way for seconds, a restore takes longer
            late = self.topic.late.popleft()
            if self.random.random() < 0.5:
                self.store(*late)
        with self.database.real.begin() as session:
            session.execute(delete(SubscriptionRow))
            if backup.rows:
                session.execute(insert(SubscriptionRow), backup.rows)
            session.execute(update(CounterRow).values(value=backup.counter))
            rows = session.scalars(select(SubscriptionRow)).all()
            self.restored = {row.client: hook_of(row) for row in rows}
            self.pending = {row.client for row in rows if row.revision > row.published_revision}
        self.history = {  # what comes after it is another history, in which revisions are given again
            client: {revision: each for revision, each in known.items() if revision <= self.restored[client].revision}
            for client, known in self.history.items()
            if client in self.restored
        }
        for _, hook in self.stored:
            known = None if hook is None else self.restored.get(hook.client)
            if hook is not None and (known is None or hook.revision > known.revision):
                self.restored[hook.client] = hook
        self.owners = {hook.id: hook.client for _, hook in self.stored if hook is not None}
        self.owners |= {row.hook_id: row.client for row in rows}
        self.asked.clear()
        self.backup, self.to_resync = None, True

    def resync(self) -> None:
        """An operator runs a resync."""
        process = Process()
        self.processes.append(process)

        def work() -> None:
            before = [DECODE(record.value()) for record in self.topic.records if record.value() is not None]
            with SubscriptionWriter(KAFKA, self.topic.name, encode=ENCODE) as writer:
                resync(
                    self.database.sessions(process),
                    writer,
                    lambda take: SubscriptionReader(KAFKA, self.topic.name, decode=DECODE, deliver=take),
                    actor="test",
                    now_ms=lambda: round(self.now * 1000),
                )
            self.to_resync = False
            self._judge_resync([row for row in before if isinstance(row, Hook)])

        self.do(process, work)
        if process.alive:
            self.kill(process)

    def settle(self) -> None:
        """The operator repeats the resync until it has come to its end."""
        self.fair = True
        for _ in range(_MOST_RESYNCS):
            if not self.to_resync:
                break
            self.resync()
        super().settle()

    # -- what is checked -----------------------------------------------------------------------------------------

    def judge_record(self, record: Message) -> None:
        """Also the end mark of a resync."""
        if record.key() == RESYNC_MARK_KEY:
            self.stored.append((RESYNC_MARK_KEY, None))
            self.table.apply(record.offset() or 0, record.key(), DECODE(record.value()))
        else:
            super().judge_record(record)

    def judge_row(self, owner: Owner, row: object) -> None:
        """Note what the API has committed."""
        super().judge_row(owner, row)
        if not isinstance(row, SubscriptionRow):
            return
        if owner is self.api:
            self.asked[row.client] = hook_of(row)
        if self.owners.setdefault(row.hook_id, row.client) != row.client and not self.to_resync:
            self.violated(f"{row.client} gets the id {row.hook_id} of {self.owners[row.hook_id]}")
        self.owners[row.hook_id] = row.client

    def _judge_resync(self, before: list[Hook]) -> None:
        """What stood in the topic when a resync began is below what the database has now."""
        with self.database.real() as session:
            revisions = {row.client: row.revision for row in session.scalars(select(SubscriptionRow))}
        for hook in before:
            if hook.revision >= revisions[hook.client]:
                self.violated(f"a resync leaves {hook.client} at {revisions[hook.client]}: the topic has {hook}")

    def judge_end(self) -> None:
        """Also nothing was lost by a restore."""
        super().judge_end()
        with self.database.real() as session:
            hooks = {row.client: hook_of(row) for row in session.scalars(select(SubscriptionRow))}
        owners = {hook.id: client for client, hook in hooks.items()}
        for client, before in self.restored.items():
            if client in self.asked or client in self.pending:
                continue
            now = hooks.get(client)
            closed = now is not None and now.state is HookState.DELETED and owners.get(before.id, client) != client
            if not closed and (now is None or not _same(now, before)):
                self.violated(f"a restore lost {before}: {now}")
        for client, asked in self.asked.items():
            if not _same(hooks[client], asked):
                self.violated(f"what was asked for since a restore is lost, {asked}: {hooks[client]}")


def _columns(row: SubscriptionRow) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in inspect(SubscriptionRow).column_attrs}


def _same(now: Hook, before: Hook) -> bool:
    return replace(now, revision=before.revision) == before


def check_resyncs(seed: int) -> str | None:
    """Run one world; what was violated, or None."""
    return check(ResyncWorld(seed))
