"""Relays of hooks in one process: the shipped relay on a database, a topic and producers that a seed moves.

Real are the relay, its reader and writer, the repository of the API, and the tables in SQLite; Kafka's clients and the
database's transactions are simulated. While a relay waits for Kafka, or a transaction is about to commit, others go on:
requests of the API, other relays, and whoever kills or suspends this one. A violation is raised where a record was
never committed, where the database remembers what is not in the topic, where a tombstone comes before the deletion is
old, and where at the end the topic, or a reader of it, differs from the database.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import patch

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message
from sqlalchemy import select

from hookstream.processors.errors import KafkaUnavailableError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations import acknowledged_writer
from hookstream.processors.operations.relays import subscriptions
from hookstream.processors.operations.relays.relay import Relay
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.processors.operations.relays.subscriptions import SubscriptionsStep
from hookstream.processors.tables import compacted_topic_reader
from hookstream.processors.tables.subscription_reader import SubscriptionReader
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.hooks import subscription_decoder, subscription_encoder
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookState
from hookstream.subscriptions.changes import hook_of
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    HookExistsError,
    HookNotFoundError,
    NotPublishedError,
)
from hookstream.subscriptions.models import SubscriptionRow
from hookstream.subscriptions.repository import HookChange, HookRepository, NewHook
from hookstream.subscriptions.target_url import Target
from tests.support.simulated_database import SimulatedDatabase
from tests.support.simulated_processes import KilledError, SimulatedProcess, one_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session

    from tests.support.simulated_database import Owner

EVENT = EventName("property.updated")
TOPIC = "subscriptions"
ENCODE = subscription_encoder(1)
DECODE = subscription_decoder(lambda _: InternalSchema.SUBSCRIPTION.text)
DAY_S = 86_400.0
_OLD_S = 40 * DAY_S
_CLIENTS = 2
_STEPS = 150
_MOST_RELAYS = 3
_MOST_DEPTH = 2
_LAST_TURNS = 60


class RelayViolationError(AssertionError):
    """A promise of the relays was broken."""


@dataclass
class Process(SimulatedProcess):
    """A relay that runs, or the API, which has none."""

    relay: Relay | None = None


@dataclass(frozen=True)
class Committed:
    """A row as a transaction committed it, and when."""

    hook: Hook
    at: float


class TopicProducer:
    """A relay's producer: of a batch the broker stores all, some or nothing, and says so, or does not."""

    def __init__(self, world: RelayWorld, owner: Process) -> None:
        self._world, self._owner = world, owner
        self._queue: list[tuple[bytes, bytes | None, Callable[[KafkaError | None, Message], None]]] = []

    def produce(  # Kafka's own signature
        self, _topic: str, value: bytes | None, key: bytes, _partition: int, *, on_delivery: Any, headers: object
    ) -> None:
        """Take a record, or have no room for it."""
        del headers
        if not self._world.fair and self._world.random.random() < 0.01:
            raise BufferError
        self._queue.append((key, value, on_delivery))

    def flush(self, timeout_s: float) -> int:
        """Send everything, and report what the broker says."""
        world, random = self._world, self._world.random
        world.interleave(self._owner)
        queue, self._queue = self._queue, []
        fate = "stored" if world.fair else random.choice(_FATES)
        stored = random.randint(0, len(queue)) if fate in {"some", "silent"} else len(queue)
        reports = []
        for index, (key, value, report) in enumerate(queue):
            if fate in {"refused", "away"} or (fate == "duplicate" and random.random() < 0.5) or index >= stored:
                error = KafkaError.TOPIC_AUTHORIZATION_FAILED if fate == "refused" else KafkaError._MSG_TIMED_OUT
                message = Message(topic=TOPIC, partition=0, offset=-1001, key=key)
                # A record that is called a duplicate has no error and no offset, whether it was ever written or not.
                reports.append((report, None if fate == "duplicate" else KafkaError(error), message))
                if fate in {"some", "silent"} and random.random() < 0.5:
                    world.late.append((key, value))
            else:
                offset = world.store(key, value)
                offset = -1001 if fate == "duplicate" else offset
                reports.append((report, None, Message(topic=TOPIC, partition=0, offset=offset, key=key)))
        world.interleave(self._owner)
        world.now += timeout_s if fate in {"some", "silent", "away"} else 0.01
        if fate == "silent":
            return len(reports)
        for report, failure, message in reports:
            report(failure, message)
        return 0

    def purge(self, **_: object) -> None:
        """Give up on what is queued."""
        self._queue.clear()


_FATES = ("stored",) * 9 + ("some", "silent", "refused", "away", "duplicate")


class TopicConsumer:
    """A relay's consumer: it sees what is stored, some time later."""

    def __init__(self, world: RelayWorld) -> None:
        self._world = world
        self._next = 0

    def assign(self, partitions: Sequence[Any]) -> None:
        """Begin there."""
        self._next = partitions[0].offset

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        """Tell the bounds."""
        world = self._world
        if not world.fair and world.random.random() < 0.02:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "no broker"))
        return 0, len(world.stored)

    def consume(self, count: int, _timeout_s: float) -> list[Message]:
        """Give some records."""
        world = self._world
        if not world.fair:
            count = min(count, world.random.choice((0, 1, 1000)))
        found = [record for record in world.topic if (record.offset() or 0) >= self._next][:count]
        if found:
            self._next = (found[-1].offset() or 0) + 1
        return found

    def close(self) -> None:
        """Read no more."""


@dataclass
class RelayWorld:
    """One world: the same for the same seed."""

    seed: int
    random: Random = field(init=False)
    database: SimulatedDatabase = field(init=False)
    now: float = 100 * DAY_S
    topic: list[Message] = field(default_factory=list)
    """What compaction has left."""
    stored: list[tuple[bytes, Hook | None]] = field(default_factory=list)
    """Every record that ever was in the topic, by its offset."""
    late: deque[tuple[bytes, bytes | None]] = field(default_factory=deque)
    """Records that a producer has given up, and that the broker may store still."""
    history: dict[str, dict[int, Committed]] = field(default_factory=dict)
    table: SubscriptionTable = field(default_factory=SubscriptionTable)
    """Of a reader that was there all the time."""
    highest: dict[bytes, int] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    api: Process = field(default_factory=Process)
    running: list[Process] = field(default_factory=list)
    """Who is in the middle of a step, each in one of the one before."""
    most_relays: int = 1
    fair: bool = False
    """No more faults: everything is stored, acknowledged and committed."""

    def __post_init__(self) -> None:
        self.random = Random(self.seed)  # noqa: S311 - a simulation
        self.database = SimulatedDatabase(self)
        self.most_relays = self.random.randint(1, _MOST_RELAYS)

    # -- what the world does -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take steps at random, then let everything come to rest.

        Raises:
            RelayViolationError: what was broken, and when.
        """
        with ExitStack() as stack:
            stack.enter_context(patch.object(acknowledged_writer, "make_producer", self._make_producer))
            stack.enter_context(
                patch.object(compacted_topic_reader, "make_consumer", lambda _config: TopicConsumer(self))
            )
            stack.enter_context(patch.object(subscriptions, "monotonic", lambda: self.now))
            self.start()
            for _ in range(_STEPS):
                self.step()
            self.rest()

    def step(self) -> None:
        """One thing happens; at the outermost, time may pass in which rows grow old."""
        draw = self.random.random()
        self.now += self.random.choice((0.0, 0.05, 1.0))
        idle = [process for process in self.processes if process.alive and not process.busy]
        if draw < 0.35:
            self.change(ClientId(str(self.random.randint(1, _CLIENTS))))
        elif draw < 0.75 and idle:
            self.turn(self.random.choice(idle))
        elif draw < 0.78 and self.late:
            self.store(*self.late.popleft())
        elif draw < 0.84:
            self.compact()
        elif draw < 0.87 and self.processes:
            self.kill(self.random.choice(self.processes))
        elif draw < 0.93 and len(self.processes) < self.most_relays:
            self.start()
        elif not self.running:
            self.settle()
            self.now += _OLD_S + 1 if self.random.random() < 0.5 else 0.0

    def settle(self) -> None:
        """Nothing fails for a while: relays run until the topic is what the database says, before it is compacted."""
        self.fair = True
        if not self.processes:
            self.start()
        quiet = 0
        for _ in range(_LAST_TURNS):
            before = len(self.stored)
            for process in self.processes:
                self.turn(process)
            quiet = quiet + 1 if len(self.stored) == before and not self._pending() else 0
            if quiet > 1:
                break
        else:
            self._violated("the relays never came to rest")
        self._check_end()
        self.fair = False

    def interleave(self, owner: Process) -> None:
        """Others go on while this process waits; it may be killed meanwhile, or be silent until its session ends."""
        if not self.fair and len(self.running) <= _MOST_DEPTH and self.random.random() < 0.15:
            suspended = self.random.random() < 0.5
            if suspended:
                self.now += 61.0
                self.database.end_sessions(owner)
            for _ in range(self.random.randint(4, 12) if suspended else self.random.randint(1, 4)):
                self.step()
        if not owner.alive:
            raise KilledError

    def change(self, client: ClientId) -> None:
        """A request of the API."""
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

        self._do(self.api, lambda: transact(self.database.sessions(self.api), work))

    def turn(self, process: Process) -> None:
        """A relay takes a turn."""
        assert process.relay is not None
        self._do(process, process.relay.run_once)

    def start(self) -> None:
        """A relay starts."""
        process = Process()
        kafka = KafkaConfig(bootstrap_servers="k:9092", embedded=True)
        step = SubscriptionsStep(
            self.database.sessions(process),
            SubscriptionWriter(kafka, TOPIC, encode=ENCODE),
            lambda take: SubscriptionReader(kafka, TOPIC, decode=DECODE, deliver=take),
            now_ms=lambda: round(self.now * 1000),
            batch_rows=self.random.choice((1, 2, 100)),
        )
        process.relay = Relay(step)
        self.processes.append(process)

    def kill(self, process: Process) -> None:
        """A relay ends at once, wherever it is."""
        process.alive = False
        self.processes.remove(process)
        self.database.end_sessions(process)

    def compact(self) -> None:
        """The broker keeps the last record of each key; a tombstone goes after a day, but not the last record."""
        last = {record.key(): record.offset() for record in self.topic}
        tail = self.topic[-1:]
        self.topic = [
            record
            for record in self.topic[:-1]
            if last[record.key()] == record.offset()
            and (record.value() is not None or self.now - record.timestamp()[1] / 1000 < DAY_S)
        ] + tail

    def rest(self) -> None:
        """Everything works again: the topic has to become what the database says, and what is old goes."""
        self.settle()
        while self.late:
            self.store(*self.late.popleft())
        self.settle()
        self.now += _OLD_S + 1
        self.settle()

    # -- what is checked -----------------------------------------------------------------------------------------

    def store(self, key: bytes, value: bytes | None) -> int:
        """A record is in the topic."""
        offset = len(self.stored)
        row = DECODE(value) if value is not None else None
        assert row is None or isinstance(row, Hook)
        self.stored.append((key, row))
        stamp = TIMESTAMP_LOG_APPEND_TIME, round(self.now * 1000)
        self.topic.append(Message(topic=TOPIC, partition=0, offset=offset, key=key, value=value, timestamp=stamp))
        client = key.split(b"|")[0].decode()
        if row is None:
            earlier = [hook for other, hook in self.stored[:offset] if other == key and hook is not None]
            deleted = [hook for hook in earlier if hook.state is HookState.DELETED]
            if not any(self.now - self.history[client][hook.revision].at > _OLD_S for hook in deleted):
                self._violated(f"a tombstone of {key!r} before its deletion is old, or before it is in the topic")
        else:
            committed = self.history[client].get(row.revision)
            if committed is None or committed.hook != row:
                self._violated(f"{row} is not what was committed: {committed}")
        self.table.apply(offset, key, row)
        return offset

    def begins(self, owner: Owner) -> None:
        """A transaction begins, where the database answers."""
        if not owner.alive:
            raise KilledError
        if not self.fair and self.random.random() < 0.04:
            message = "no connection"
            raise DatabaseUnavailableError(message)

    def commits(self, owner: Owner) -> None:
        """A transaction is about to commit."""
        assert isinstance(owner, Process)
        self.interleave(owner)

    def committed(self, owner: Owner, rows: Sequence[Any]) -> None:
        """A transaction has committed; now and then its process does not hear of it."""
        del owner
        for row in rows:
            if isinstance(row, SubscriptionRow):
                self._check_row(row)
        if not self.fair and self.random.random() < 0.03:
            message = "the connection was lost while it committed"
            raise DatabaseUnavailableError(message)

    def _check_row(self, row: SubscriptionRow) -> None:
        known = self.history.setdefault(row.client, {})
        if row.revision not in known:
            known[row.revision] = Committed(hook_of(row), self.now)
        elif known[row.revision].hook != hook_of(row):
            self._violated(f"another row under revision {row.revision} of {row.client}")
        if row.revision < max(known):
            self._violated(f"the revision of {row.client} goes back to {row.revision}")
        if row.published_offset is not None:
            key, found = self.stored[row.published_offset]
            if key != hook_of(row).key or (found is not None and found.revision != row.published_revision):
                self._violated(f"revision {row.published_revision} is said to stand at {row.published_offset}: {found}")
            if row.tombstoned and found is not None:
                self._violated(f"a tombstone is said to stand at {row.published_offset}: {found}")
        elif row.published_revision:
            self._violated(f"revision {row.published_revision} of {row.client} is said to stand nowhere")

    def _check_end(self) -> None:
        last = {record.key(): record.value() for record in self.topic}
        late_reader = SubscriptionTable()
        for record in self.topic:
            late_reader.apply(record.offset() or 0, record.key(), DECODE(record.value()) if record.value() else None)
        with self.database.real() as session:
            rows = session.scalars(select(SubscriptionRow)).all()
        for row in rows:
            hook = hook_of(row)
            value = last.get(hook.key)
            found = DECODE(value) if value is not None else None
            if found != (None if row.tombstoned else hook):
                self._violated(f"the topic ends with {found}, the database with {hook}, tombstoned: {row.tombstoned}")
            for name, table in (("every record", self.table), ("what compaction left", late_reader)):
                seen = table.get(row.client, row.event)
                if seen != hook and not (hook.state is HookState.DELETED and seen is None):
                    self._violated(f"who read {name} has {seen}, the database {hook}")
        if self.history.keys() - {row.client for row in rows}:
            self._violated("a row is gone")

    # -- helpers -------------------------------------------------------------------------------------------------

    def _pending(self) -> bool:
        pending = select(SubscriptionRow.client).where(SubscriptionRow.revision > SubscriptionRow.published_revision)
        with self.database.real() as session:
            return session.scalar(pending.limit(1)) is not None

    def _do(self, process: Process, work: Callable[[], object]) -> None:
        """Let a process do something that others may interrupt; what is wrong with its parts is no violation."""
        failures = (DatabaseError, NotPublishedError, KafkaUnavailableError, HookExistsError, HookNotFoundError)
        with one_step(process, self.running), suppress(*failures):
            work()

    def _make_producer(self, _config: object) -> TopicProducer:
        return TopicProducer(self, self.running[-1])

    def _violated(self, what: str) -> NoReturn:
        raise RelayViolationError(f"seed {self.seed}, at {self.now:.2f} s: {what}")


def check_relays(seed: int) -> str | None:
    """Run one world; what was violated, or None."""
    try:
        RelayWorld(seed).run()
    except RelayViolationError as error:
        return str(error)
    return None
