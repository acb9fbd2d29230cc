"""Relays in one process: shipped relays on a database, a topic and producers that a seed moves.

Real are the relay with its reader and writer, the requests of the API, and the tables in SQLite; Kafka's clients and
the database's transactions are simulated. While a relay waits for Kafka, or a transaction is about to commit, others go
on: requests of the API, other relays, and whoever kills or suspends this one. A world of its own says what is relayed,
what may stand in the topic and the database, and how they have to agree at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import patch

from hookstream.processors.errors import KafkaUnavailableError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations import acknowledged_writer
from hookstream.processors.operations.relays.relay import Relay
from hookstream.processors.tables import compacted_topic_reader
from hookstream.subscriptions.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    HookExistsError,
    HookNotFoundError,
    NotPublishedError,
)
from tests.support.simulated_database import SimulatedDatabase
from tests.support.simulated_processes import KilledError, SimulatedProcess, one_step
from tests.support.simulated_topic import TopicConsumer, TopicProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import Message

    from hookstream.processors.operations.relays.relay import RelayStep
    from tests.support.simulated_database import Owner
    from tests.support.simulated_topic import SimulatedTopic

KAFKA = KafkaConfig(bootstrap_servers="k:9092", embedded=True)
DAY_S = 86_400.0
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


@dataclass
class SimulatedRelays(ABC):
    """One world: the same for the same seed."""

    seed: int
    random: Random = field(init=False)
    database: SimulatedDatabase = field(init=False)
    topic: SimulatedTopic = field(init=False)
    now: float = 100 * DAY_S
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
        self.topic = self.make_topic()
        self.most_relays = self.random.randint(1, _MOST_RELAYS)

    # -- what a world says of itself -----------------------------------------------------------------------------

    @abstractmethod
    def make_topic(self) -> SimulatedTopic:
        """Make the topic, which is empty."""

    @abstractmethod
    def make_step(self, process: Process) -> RelayStep:
        """Make what a relay of this process relays."""

    @abstractmethod
    def change(self) -> None:
        """A request of the API."""

    @abstractmethod
    def pass_time(self) -> None:
        """What happens where no process is in the middle of a step."""

    @abstractmethod
    def judge_record(self, record: Message) -> None:
        """A record was stored: see whether it may stand there."""

    @abstractmethod
    def judge_row(self, owner: Owner, row: object) -> None:
        """A process has committed a row: see whether it may be so."""

    @abstractmethod
    def judge_end(self) -> None:
        """Everything has come to rest: see whether topic and database agree, and whoever read the topic."""

    @abstractmethod
    def has_pending(self) -> bool:
        """Whether the database says that something is to be published."""

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
            self.start()
            for _ in range(_STEPS):
                self.step()
            self.rest()

    def step(self) -> None:
        """One thing happens; at the outermost, what `pass_time` says."""
        draw = self.random.random()
        self.now += self.random.choice((0.0, 0.05, 1.0))
        idle = [process for process in self.processes if process.alive and not process.busy]
        if draw < 0.35:
            self.change()
        elif draw < 0.75 and idle:
            self.turn(self.random.choice(idle))
        elif draw < 0.78 and self.topic.late:
            self.store(*self.topic.late.popleft())
        elif draw < 0.84:
            self.topic.compact(at_s=self.now)
        elif draw < 0.87 and self.processes:
            self.kill(self.random.choice(self.processes))
        elif draw < 0.93 and len(self.processes) < self.most_relays:
            self.start()
        elif not self.running:
            self.pass_time()

    def settle(self) -> None:
        """Nothing fails for a while: relays run until the topic is what the database says."""
        self.fair = True
        if not self.processes:
            self.start()
        quiet = 0
        for _ in range(_LAST_TURNS):
            before = sum(self.topic.ends)
            for process in self.processes:
                self.turn(process)
            quiet = quiet + 1 if sum(self.topic.ends) == before and not self.has_pending() else 0
            if quiet > 1:
                break
        else:
            self.violated("the relays never came to rest")
        self.judge_end()
        self.fair = False

    def rest(self) -> None:
        """Everything works again: the topic has to become what the database says, whatever is stored late."""
        self.settle()
        while self.topic.late:
            self.store(*self.topic.late.popleft())
        self.settle()

    def interleave(self, owner: SimulatedProcess) -> None:
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

    def turn(self, process: Process) -> None:
        """A relay takes a turn."""
        assert process.relay is not None
        self.do(process, process.relay.run_once)

    def start(self) -> None:
        """A relay starts."""
        process = Process()
        process.relay = Relay(self.make_step(process))
        self.processes.append(process)

    def kill(self, process: Process) -> None:
        """A relay ends at once, wherever it is."""
        process.alive = False
        self.processes.remove(process)
        self.database.end_sessions(process)

    def store(self, partition: int, key: bytes, value: bytes | None) -> int:
        """A record is in the topic; give its offset."""
        record = self.topic.append(partition, key, value, at_s=self.now)
        self.judge_record(record)
        return record.offset() or 0

    def do(self, process: Process, work: Callable[[], object]) -> None:
        """Let a process do something that others may interrupt; what is wrong with its parts is no violation."""
        failures = (DatabaseError, NotPublishedError, KafkaUnavailableError, HookExistsError, HookNotFoundError)
        with one_step(process, self.running), suppress(*failures):
            work()

    def violated(self, what: str) -> NoReturn:
        """A promise is broken.

        Raises:
            RelayViolationError: which one.
        """
        raise RelayViolationError(f"seed {self.seed}, at {self.now:.2f} s: {what}")

    # -- what the database asks ----------------------------------------------------------------------------------

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
        for row in rows:
            self.judge_row(owner, row)
        if not self.fair and self.random.random() < 0.03:
            message = "the connection was lost while it committed"
            raise DatabaseUnavailableError(message)

    def _make_producer(self, _config: object) -> TopicProducer:
        return TopicProducer(self, self.running[-1])


def check(world: SimulatedRelays) -> str | None:
    """Run a world; what was violated, or None."""
    try:
        world.run()
    except RelayViolationError as error:
        return str(error)
    return None
