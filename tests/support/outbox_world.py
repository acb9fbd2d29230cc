"""Relays of an outbox in one process: the shipped relay and its lock on a database and sinks that a seed moves.

Real are the relay, its lock, `enqueue`, and the table in SQLite; sessions, locks and commits of PostgreSQL, the event
producers, the registry, the broker and the clock are simulated. While a relay waits for any of them others go on:
services whose transactions overlap, other relays, whoever kills, suspends or stops this one. A violation is raised
where an event is in the log that was never committed, or ahead of an earlier one of its resource, or differs from what
was committed; where a row is gone whose event is not in the log; where an event is sent without the lock, behind a
parked one, beside another of its resource, or although its row is gone; and where at the end something is left over.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, cast
from unittest.mock import patch
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from hookstream.processors.deadline import Deadline
from hookstream.processors.operations.relays import outbox as relays
from hookstream.processors.operations.relays.outbox import OutboxRelay
from hookstream.producers import outbox as services
from hookstream.producers.errors import ProducerError
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.events import WrittenEvent
from hookstream.schemas.event import Concept, Event, EventName
from hookstream.schemas.new_envelope import new_envelope
from tests.support.outbox_database import OutboxDatabase, ServiceTransaction, SimulatedEngine
from tests.support.outbox_sink import Refusal, Sink
from tests.support.simulated_processes import KilledError, SimulatedProcess, one_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from hookstream.processors.operations.relays.outbox import Batch
    from tests.support.outbox_database import ServerSession
    from tests.support.outbox_sink import Record


def _catalogue(*symbols: str) -> Catalogue:
    order = new_envelope("order", symbols, text_ids=True, data=True)
    files = {f"{name}.avsc": Catalogue.shipped().schema_text(name).encode() for name in ("lead", "property")}
    return Catalogue.from_files(files | {"order.avsc": order.encode()})


CATALOGUES = _catalogue("placed"), _catalogue("placed", "paid")
"""Of a service before and after a change of a schema."""
NAMES = tuple(EventName(name) for name in ("lead.updated", "property.updated", "order.placed"))
SCHEMAS = (
    ("lead", None),
    ("property", None),
    *(("order", catalogue.schema_text("order")) for catalogue in CATALOGUES),
)
_STEPS = 120
_MOST_DEPTH = 2
_MOST_TRANSACTIONS = 3
_LAST_TURNS = 400
_SUSPENDED_S = 61.0


class OutboxViolationError(AssertionError):
    """A promise of the outbox was broken."""


@dataclass(frozen=True)
class Committed:
    """An event as a transaction committed it."""

    event: Event
    resource: str
    traceparent: bytes | None
    written: WrittenEvent | None
    row_id: int


@dataclass
class Turn:
    """What a relay has done since it was called."""

    session: ServerSession | None = None
    """The one that it read the rows with."""
    handed: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unacknowledged: set[str] = field(default_factory=set)
    """Resources that have an event on its way, or one that was not acknowledged."""
    unanswered: set[tuple[str, str | None]] = field(default_factory=set)
    """Schemas for which the registry was asked in vain."""


@dataclass
class Process(SimulatedProcess):
    """A relay that runs."""

    relay: OutboxRelay = field(init=False)
    sink: Sink = field(init=False)
    batch_rows: int = 1
    stop: threading.Event = field(default_factory=threading.Event)
    turn: Turn = field(default_factory=Turn)


@dataclass
class OutboxWorld:
    """One world: the same for the same seed."""

    seed: int
    random: Random = field(init=False)
    database: OutboxDatabase = field(init=False)
    now: float = 1_000_000.0
    log: list[str] = field(default_factory=list)
    """Ids of events, as the broker stored them."""
    appeared: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Of each resource, ids in the order of their first appearance in the log."""
    committed: dict[str, Committed] = field(default_factory=dict)
    order: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Of each resource, what was committed."""
    pending: set[str] = field(default_factory=set)
    """What had a row when the table was last looked at."""
    in_flight: list[Record] = field(default_factory=list)
    """What the broker may store yet, whether its sink waits for it or has given it up."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    unanswered: set[tuple[str, str | None]] = field(default_factory=set)
    """Schemas for which the registry gives no answer."""
    transactions: list[ServiceTransaction] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    running: list[Process] = field(default_factory=list)
    """Who is in the middle of a step, each in one of the one before."""
    made: int = 0
    most_relays: int = 1
    ids: tuple[int, int] = (1, 1)
    """How many clients and resources there are: few have long rows of events."""
    trouble: float = 1.0
    """How many faults there are."""
    fair: bool = False
    """No more faults: everything is stored, acknowledged and committed."""

    def __post_init__(self) -> None:
        self.random = Random(self.seed)  # noqa: S311 - a simulation
        self.database = OutboxDatabase(self)
        self.most_relays = self.random.choice((1, 2, 3, 3))
        self.ids = self.random.choice(((1, 1), (1, 2), (2, 2)))
        self.trouble = self.random.choice((0.3, 1.0, 2.0))
        self._traceparent: bytes | None = None

    # -- what the world does -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take steps at random, then let everything come to rest.

        Raises:
            OutboxViolationError: what was broken, and when.
        """
        with ExitStack() as stack:
            stack.enter_context(patch.object(relays, "Deadline", _Deadlines(self)))
            stack.enter_context(patch.object(services, "current_traceparent", lambda: self._traceparent))
            self.start()
            for _ in range(_STEPS):
                self.step()
            self.rest()

    def step(self) -> None:
        """One thing happens; at the outermost, everything may come to rest."""
        random = self.random
        self.now += random.choice((0.0, 0.05, 1.0))
        idle = [process for process in self.processes if not process.busy]
        acts: list[tuple[float, Callable[[], None]]] = [
            (40, self.write),
            (2, lambda: self.unanswered.add(random.choice(SCHEMAS))),
            (3, self.unanswered.clear),
            (2, self.refuse),
            (2, self.mend),
            (3, self.database.notice),
        ]
        if idle:
            acts.append((25, lambda: self.turn(random.choice(idle))))
        acts += [(20, partial(self.turn, leader)) for leader in idle if self._leads(leader)]
        if self.in_flight:
            acts.append((5, self.arrive))
        if self.processes:
            acts += [
                (2 * self.trouble, lambda: self.kill(random.choice(self.processes))),
                (1, lambda: self.stop(random.choice(self.processes))),
                (2 * self.trouble, lambda: self.database.end_sessions(random.choice(self.processes))),
            ]
        if len(self.processes) < self.most_relays:
            acts.append((20, self.start))
        if not self.running:
            acts.append((0.8, self.settle))
        (act,) = random.choices([act for _, act in acts], [weight for weight, _ in acts])
        act()

    def interleave(self, owner: Process) -> None:
        """Others go on while this process waits; it may be killed meanwhile, or be silent until its session ends."""
        share = 0.06 * self.trouble
        if owner.alive and not self.fair and len(self.running) <= _MOST_DEPTH and self.random.random() < share:
            suspended = self.random.random() < 0.4
            if suspended:
                self.now += self.random.choice((0.0, _SUSPENDED_S))  # its own clock may stand meanwhile
                if self.random.random() < 0.8:
                    self.database.end_sessions(owner)
                if len(self.processes) < self.most_relays:
                    self.start()
            for _ in range(self.random.randint(4, 16) if suspended else self.random.randint(1, 4)):
                self.step()
        if not owner.alive:
            raise KilledError

    def fails(self, share: float) -> bool:
        """Whether a fault happens that does in such a share of cases."""
        return not self.fair and self.random.random() < share * self.trouble

    def write(self) -> None:
        """A service begins a transaction, puts events into the outbox, commits or rolls back."""
        begins = len(self.transactions) < _MOST_TRANSACTIONS and self.random.random() < 0.3
        if begins or not self.transactions:
            self.transactions.append(ServiceTransaction(self.database))
        transaction = self.random.choice(self.transactions)
        draw = self.random.random()
        if draw < 0.6 or not transaction.events:
            for _ in range(self.random.randint(1, 2)):
                if transaction in self.transactions:
                    self.put(transaction)
        else:
            self.end(transaction, commit=draw < 0.95)

    def put(self, transaction: ServiceTransaction) -> None:
        """A service puts an event into its transaction, which ends where another one has the resource."""
        random = self.random
        self.made += 1
        name, catalogue = random.choice(NAMES), random.choice(CATALOGUES)
        namespace = name.partition(".")[0]
        ids: list[int | str] = [random.randint(1, most) for most in self.ids]
        if namespace == "order":
            ids = [str(each) for each in ids]
        event = Event(
            id=UUID(int=self.made),
            name=name,
            client=ids[0],
            concept=Concept(id=ids[1], namespace=namespace, sub_namespace=random.choice((None, "villa"))),
            occurred_at_ms=round(self.now * 1000),
            data=random.choice((None, {"note": "again"})) if namespace == "order" else None,
        )
        self._traceparent = random.choice((None, b"00-%032x-%016x-01" % (self.made, self.made)))
        if random.random() < 0.06:
            self.refused[str(event.id)] = random.choice(list(Refusal))
        try:
            services.enqueue(cast("Any", transaction), event, catalogue=catalogue)
        except SQLAlchemyError:
            self.end(transaction, commit=False)
            return
        row = transaction.rows[-1]
        written = None if row["value"] is None else WrittenEvent(row["schema_text"], row["value"])
        resource = f"{ids[0]}|{namespace}|{ids[1]}"
        transaction.events.append(Committed(event, resource, self._traceparent, written, row["id"]))

    def end(self, transaction: ServiceTransaction, *, commit: bool) -> None:
        """A service commits, or rolls back."""
        self.transactions.remove(transaction)
        transaction.end(commit=commit)
        if not commit:
            return
        for entry in transaction.events:
            identity, order = str(entry.event.id), self.order[entry.resource]
            if order and entry.row_id < self.committed[order[-1]].row_id:
                self.violated(f"{identity} is committed behind {order[-1]}, which was enqueued later")
            order.append(identity)
            self.committed[identity] = entry
            self.pending.add(identity)

    def refuse(self) -> None:
        """What was fine is refused from now on."""
        if self.pending:
            self.refused[self.random.choice(sorted(self.pending))] = self.random.choice(list(Refusal))

    def mend(self) -> None:
        """An operator sees to it that an event is refused no more."""
        if self.refused:
            del self.refused[self.random.choice(sorted(self.refused))]

    def turn(self, process: Process) -> None:
        """A relay takes a turn."""
        process.turn = Turn()
        with one_step(process, self.running):
            try:
                batch = process.relay.run_once(process.stop)
            except SQLAlchemyError:
                pass
            except ProducerError as error:
                if not process.sink.fatal:
                    self.violated(f"{error!r} ends a relay")
                self._check_rows(process.turn)
                process.stop.set()
            else:
                self._check_rows(process.turn)
                self._check_batch(process.turn, batch)
            if process.stop.is_set():
                self._leave(process)

    def start(self) -> None:
        """A relay starts."""
        process = Process(batch_rows=self.random.choice((1, 5, 20, 100)))
        process.sink = Sink(self, process)
        process.relay = OutboxRelay(
            cast("Any", SimulatedEngine(self.database, process)),
            process.sink,
            batch_rows=process.batch_rows,
            report_deadline_s=self.random.choice((0.3, 3.0, 150.0)),
        )
        self.processes.append(process)

    def stop(self, process: Process) -> None:
        """A relay is asked to end."""
        process.stop.set()
        if not process.busy:
            with one_step(process, self.running):
                self._leave(process)

    def kill(self, process: Process) -> None:
        """A relay ends at once, wherever it is; what it has sent may be stored or not."""
        process.alive = False
        self.processes.remove(process)
        self.database.end_sessions(process)
        self.in_flight = [
            record for record in self.in_flight if record.owner is not process or self.random.random() < 0.5
        ]

    def arrive(self) -> None:
        """The broker stores something that was sent before."""
        self.store(self.in_flight.pop(self.random.randrange(len(self.in_flight))))

    def settle(self) -> None:
        """Nothing fails for a while: what is refused stays, all else is sent; then what was refused is mended."""
        self.fair = True
        self.unanswered.clear()
        self.database.notice()
        self._come_to_rest()
        for order in self.order.values():
            left = [self.database.rows[identity] for identity in order if identity in self.database.rows]
            if left and left[0][1] is None:
                self.violated(f"row {left[0][0]} is not sent, and not parked")
        self.refused.clear()
        for process in [*self.processes]:
            with one_step(process, self.running):
                process.relay.close()
        self._come_to_rest()
        if self.database.rows:
            self.violated(f"rows are left: {self.database.rows}")
        for resource, order in self.order.items():
            if self.appeared[resource] != order:
                self.violated(f"of {resource} {self.appeared[resource]} are in the log, and {order} were committed")
        self.fair = False

    def rest(self) -> None:
        """Everything works again, and what may be stored yet is stored, or is not."""
        self.settle()
        while self.in_flight:
            self.arrive()
            if self.in_flight and self.random.random() < 0.5:
                self.in_flight.pop()
        self.settle()

    # -- what is checked -----------------------------------------------------------------------------------------

    def handed(self, owner: Process, event: Event) -> None:
        """A relay hands an event to its sink: may it?"""
        identity, turn = str(event.id), owner.turn
        known = self.committed.get(identity)
        if known is None:
            self.violated(f"{identity} is sent, and was never committed")
        if identity in turn.handed or len(turn.handed) == owner.batch_rows:
            self.violated(f"{identity} is sent twice by one batch, or by one of more than {owner.batch_rows} rows")
        turn.handed.add(identity)
        if known.resource in turn.unacknowledged:
            self.violated(f"{identity} is sent, and what was sent of {known.resource} before is not acknowledged")
        turn.unacknowledged.add(known.resource)
        session, rows = turn.session, self.database.rows
        if session is None or session.given_up or (session.open and self.database.relay_lock is not session):
            self.violated(f"{identity} is sent without the lock")
        if not session.open:
            return  # it was suspended, or was cut off from the server, and cannot know
        if identity not in rows:
            self.violated(f"{identity} is sent, and its row is gone")
        order = self.order[known.resource]
        for earlier in order[: order.index(identity)]:
            if earlier in rows and rows[earlier][1] is not None:
                self.violated(f"{identity} is sent, and {earlier} of {known.resource} is parked")

    def acknowledged(self, owner: Process, event: Event) -> None:
        """A relay gets a receipt."""
        owner.turn.acknowledged.add(str(event.id))
        owner.turn.unacknowledged.discard(self.committed[str(event.id)].resource)

    def store(self, record: Record) -> None:
        """An event is in the log."""
        identity = str(record.event.id)
        known = self.committed[identity]
        if (record.event, record.traceparent, record.written) != (known.event, known.traceparent, known.written):
            self.violated(f"{record.event} of {record.traceparent!r} is not what was committed: {known}")
        self.log.append(identity)
        appeared, order = self.appeared[known.resource], self.order[known.resource]
        if identity in appeared:
            return
        if order[len(appeared)] != identity:
            self.violated(f"{identity} is in the log, and {order[len(appeared)]} of {known.resource} is not")
        appeared.append(identity)

    def uses_outbox(self, session: ServerSession) -> None:
        """A relay reads or changes rows: may it?"""
        if self.database.relay_lock is not session:
            self.violated("a relay uses the outbox without the lock")
        session.owner.turn.session = session

    def relay_committed(self) -> None:
        """A relay has changed rows: those that are gone have to be in the log."""
        for identity in sorted(self.pending):
            if identity not in self.database.rows:
                self.pending.remove(identity)
                if identity not in self.appeared[self.committed[identity].resource]:
                    self.violated(f"the row of {identity} is gone, and it is not in the log")

    def violated(self, what: str) -> NoReturn:
        """A promise was broken."""
        raise OutboxViolationError(f"seed {self.seed}, at {self.now:.2f} s: {what}")

    def _check_batch(self, turn: Turn, batch: Batch) -> None:
        if (batch.sent, batch.parked) != (len(turn.acknowledged), len(turn.refused)):
            self.violated(f"{batch}, and {len(turn.acknowledged)} were acknowledged, {len(turn.refused)} refused")

    def _check_rows(self, turn: Turn) -> None:
        rows = self.database.rows
        for identity in turn.acknowledged:
            if identity in rows:
                self.violated(f"{identity} was acknowledged, and its row is still there")
        for identity in turn.refused:
            if identity not in rows or rows[identity][1] is None:
                self.violated(f"{identity} was refused, and its row is not parked")

    # -- helpers -------------------------------------------------------------------------------------------------

    def _come_to_rest(self) -> None:
        quiet = 0
        for _ in range(_LAST_TURNS):
            before = len(self.log), self.database.rows
            if not self.processes:
                self.start()
            for process in [*self.processes]:
                self.turn(process)
            # A relay that has lost its session needs two turns to see that and to ask for another.
            quiet = quiet + 1 if (len(self.log), self.database.rows) == before else 0
            if quiet > 3:
                return
        self.violated("the relays never came to rest")

    def _leads(self, process: Process) -> bool:
        lock = self.database.relay_lock
        return lock is not None and lock.owner is process

    def _leave(self, process: Process) -> None:
        with suppress(SQLAlchemyError):
            process.relay.close()
        if process.alive:
            process.alive = False
            self.processes.remove(process)
            self.database.end_sessions(process)


class _Deadlines:
    """Deadlines on the clock of the world."""

    def __init__(self, world: OutboxWorld) -> None:
        self._world = world

    def after(self, within_s: float) -> Deadline:
        """So many seconds from now."""
        return Deadline.after(within_s, lambda: self._world.now)


def check_outbox(seed: int) -> str | None:
    """Run one world; what was violated, or None."""
    try:
        OutboxWorld(seed).run()
    except OutboxViolationError as error:
        return str(error)
    return None
