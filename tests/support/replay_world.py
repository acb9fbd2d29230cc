"""Replayers in one process: the shipped runs of replays on a database, logs, groups and producers that a seed moves.

Real are the runs and all their steps, the reader and the writer, the look-up of windows, and the tables in SQLite;
Kafka's clients, the database's transactions and all clocks are simulated, the wall clock of a replayer often an hour
wrong. While a replayer waits for Kafka or commits, others go on: requests of operators, other replayers, whoever kills
or suspends this one, routers, retention. A violation is raised where something outside of a window is sent, or without
the lease, or faster than it may be, or long after a pause or a cancellation; where the progress passes what was not
sent; and where at the end something was not sent, or sent twice without a cause.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import patch
from uuid import UUID

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, TopicPartition
from sqlalchemy import select

from hookstream.processors import offsets
from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import ProcessorError, StoppedError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.operations import log_ranges
from hookstream.processors.operations.replays import claimed_runs, reader, window, writer
from hookstream.processors.operations.replays.claimed_runs import ClaimedRuns
from hookstream.processors.operations.replays.pacing import Done
from hookstream.processors.operations.replays.run import ReplayRun
from hookstream.processors.operations.replays.run_deps import RunDeps
from hookstream.processors.operations.replays.selection import Selection
from hookstream.processors.operations.replays.window import WindowLookup
from hookstream.processors.operations.replays.writer import ReplayWriter
from hookstream.processors.routing.commit_note import CommitNote
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.producers.murmur2 import partition_of
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.delivery import delivery_id
from hookstream.schemas.event import ClientId, Concept, Event, EventName
from hookstream.schemas.hook import HookId, HookState, Revision
from hookstream.schemas.sources.readers import topic_events
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.choices import ReplaySource
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.errors import DatabaseError, DatabaseUnavailableError, ReplayStateError
from hookstream.subscriptions.models import ReplayRow
from hookstream.subscriptions.replays import (
    Lease,
    NewReplay,
    ReplayFilter,
    ReplayRepository,
    ReplayState,
    StoredReplay,
    stored_replay,
)
from tests.support import values
from tests.support.replay_clients import Admin, LogConsumer, Place, ReplayProducer
from tests.support.simulated_database import SimulatedDatabase
from tests.support.simulated_processes import KilledError, SimulatedProcess, one_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session

    from tests.support.simulated_database import Owner

TOPICS = TopicNames()
CATALOGUE = Catalogue.shipped()
EVENT = EventName("property.updated")
SOURCES: tuple[Place, ...] = (("events.property", 0), ("events.property", 1))
LIVE: tuple[Place, ...] = ((TOPICS.deliveries, 0), (TOPICS.deliveries, 1))
LEASE_S = 10.0
HOUR_S = 3600.0
_EVENT_SCHEMA, _DELIVERY_SCHEMA = 2, 4
_CLIENTS = 3
_STEPS = 200
_MOST_REPLAYERS = 3
_MOST_DEPTH = 2
_LAST_TURNS = 400
# A pause is seen with the first save of a turn that begins so much later; of slow runs, too.
_SEEN_WITHIN_S = 3.0


class ReplayViolationError(AssertionError):
    """A promise of the replays was broken."""


@dataclass
class Process(SimulatedProcess):
    """A replayer that runs, or whoever else uses the database."""

    runs: ClaimedRuns | None = None
    name: str = ""
    ahead_s: float = 0.0
    was_suspended: bool = False
    """Since it last looked at its clock: it cannot know that its lease has ended."""
    turns: deque[float] = field(default_factory=lambda: deque(maxlen=2))
    """When its last turns began."""


@dataclass
class Sent:
    """What one replay has sent."""

    ids: Counter[str] = field(default_factory=Counter)
    newest: dict[tuple[str, Place], list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """Of each endpoint and source partition, each highest offset in its turn, and what retention had deleted below."""
    may_repeat: bool = False
    """Something happened that explains a repetition."""
    stopped_at: float | None = None
    """When an operator's pause or cancellation was committed."""


@dataclass
class ReplayWorld:
    """One world: the same for the same seed."""

    seed: int
    random: Random = field(init=False)
    database: SimulatedDatabase = field(init=False)
    now: float = 1_000_000.0
    logs: dict[Place, list[Message]] = field(default_factory=lambda: {place: [] for place in (*SOURCES, *LIVE)})
    low: dict[Place, int] = field(default_factory=lambda: dict.fromkeys((*SOURCES, *LIVE), 0))
    groups: dict[str, dict[Place, tuple[int, str]]] = field(default_factory=dict)
    events: dict[tuple[Place, int], Event] = field(default_factory=dict)
    ids: dict[str, tuple[Place, int]] = field(default_factory=dict)
    """Where the event of a delivery is."""
    first_live: dict[str, int] = field(default_factory=dict)
    table: SubscriptionTable = field(default_factory=SubscriptionTable)
    late: deque[bytes] = field(default_factory=deque)
    sent: dict[str, Sent] = field(default_factory=dict)
    leases: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Who holds a replay, until when, as it is committed."""
    rates: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """When a replayer sent, since it took a replay."""
    progress: dict[tuple[str, str], dict[Place, int]] = field(default_factory=dict)
    """What a replayer has committed, since it took a replay."""
    begun: dict[tuple[str, str], dict[Place, Done]] = field(default_factory=dict)
    """Where a replayer began."""
    replays: dict[str, StoredReplay] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    operator: Process = field(default_factory=Process)
    running: list[Process] = field(default_factory=list)
    started: int = 0
    retention_ms: int = round(HOUR_S * 1000)
    kept: dict[str, dict[Place, Done]] = field(default_factory=dict)
    """How far each replay is, by its last commits, whatever the broker has forgotten."""
    trouble: float = 1.0
    """How many faults there are."""
    cancels: int = 1
    """How many cancellations there are beside 15 other commands."""
    expires: float = 0.0
    """How often retention takes something."""
    fair: bool = False
    """No more faults: everything is stored, acknowledged and committed."""

    def __post_init__(self) -> None:
        self.random = Random(self.seed)  # noqa: S311 - a simulation
        self.database = SimulatedDatabase(self)
        self.trouble = self.random.choice((0.1, 0.5, 1.0, 2.0))
        self.cancels = self.random.choice((0, 1, 4))
        self.expires = self.random.choice((0.0, 0.0, 3.0))
        self._encode_event = event_encoder(CATALOGUE, "property", _EVENT_SCHEMA)
        self._delivery = delivery_decoder(lambda _: InternalSchema.DELIVERY.text)
        for client in range(1, _CLIENTS + 1):
            hook = replace(
                values.HOOK,
                id=HookId(1000 + client),
                client=ClientId(str(client)),
                event=EVENT,
                target=f"https://{client}.example/",
                state=HookState.DELETED if client == _CLIENTS else HookState.ENABLED,
                revision=Revision(1),
            )
            self.table.apply(client, hook.key, hook)

    # -- what the world does -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take steps at random, then let everything come to rest.

        Raises:
            ReplayViolationError: what was broken, and when.
        """
        with ExitStack() as stack:
            for module in (reader, window, writer, log_ranges):
                stack.enter_context(patch.object(module, "make_consumer", self._make_consumer))
            for admins in (reader, window):
                stack.enter_context(patch.object(admins, "make_admin", lambda _kafka: Admin(self)))
            stack.enter_context(patch.object(writer, "make_producer", self._make_producer))
            stack.enter_context(patch.object(writer, "Deadline", _Deadlines(self)))
            stack.enter_context(patch.object(claimed_runs, "ReplayRun", self._make_run))
            stack.enter_context(patch.object(offsets, "sleep", self._sleep))
            for _ in range(60):
                self.put_event()
            self.route()
            for _ in range(2):
                self.start()
            self.ask()
            for _ in range(_STEPS):
                self.step()
            self.rest()

    def step(self) -> None:
        """One thing happens."""
        self.now += self.random.choice((0.0, 0.1, 0.6))
        idle = [process for process in self.processes if not process.busy]
        acts: list[tuple[float, Callable[[], None]]] = [
            (5, self.put_event),
            (3, self.route),
            (7, self.steer),
            (self.expires, self.expire),
        ]
        if idle:
            acts += [
                (70, lambda: self.turn(self.random.choice(idle))),
                (3, lambda: self.stop(self.random.choice(idle))),
            ]
        if len(self.replays) < 3:
            acts.append((2, self.ask))
        if self.late:
            acts.append((3, self.arrive_late))
        if self.processes:
            acts.append((3 * self.trouble, lambda: self.kill(self.random.choice(self.processes))))
        if len(self.processes) < _MOST_REPLAYERS:
            acts.append((3, self.start))
        (act,) = self.random.choices([act for _, act in acts], [weight for weight, _ in acts])
        act()

    def interleave(self, owner: Process) -> None:
        """Others go on while this process waits; it may be killed meanwhile, or suspended until its lease has ended."""
        if not self.fair and len(self.running) <= _MOST_DEPTH and self.random.random() < 0.08 * self.trouble:
            began = self.now
            if self.random.random() < 0.2:
                self.now += LEASE_S + 1
            for _ in range(self.random.randint(1, 4)):
                self.step()
            if self.now > began + 1.0:
                self.suspended(owner)
        if not owner.alive:
            raise KilledError

    def fails(self, share: float) -> bool:
        """Whether a fault happens that does in such a share of cases."""
        return not self.fair and self.random.random() < share * self.trouble

    def suspended(self, owner: Process) -> None:
        """A process has not noticed that time has passed."""
        owner.was_suspended = True
        self.disturbed(owner)

    def disturbed(self, owner: Process) -> None:
        """Something befalls a process that may make it repeat what it sends."""
        for name, job in self.rates:
            if name == owner.name:
                self.sent[job].may_repeat = True

    def asked(self, owner: Process, *, within_s: float = 1.0) -> None:
        """Kafka is asked something: an answer may come late, or not at all."""
        self.interleave(owner)
        draw = 1.0 if self.fair else self.random.random() / self.trouble
        if draw < 0.02:
            self.now += within_s
            self.disturbed(owner)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer"))
        if draw < 0.04:
            self.disturbed(owner)
            raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION, "it moves"))
        if draw < 0.10:
            self.now += self.random.choice((0.1, 0.5, 0.99)) * within_s

    def put_event(self) -> None:
        """A service's event is accepted."""
        client, concept = self.random.randint(1, _CLIENTS), self.random.randint(1, 3)
        place = SOURCES[(client + concept) % 2]
        about = Concept(id=concept, namespace="property", sub_namespace=None)
        identity = UUID(int=len(self.events) + 1)
        event = Event(id=identity, name=EVENT, client=client, concept=about, occurred_at_ms=1)
        self.now += self.random.choice((0.0, 0.5))
        self._append(place, event.key, self._encode_event(event))
        self.events[place, len(self.logs[place]) - 1] = event

    def route(self) -> None:
        """Routers go on, and commit."""
        kept = self.groups.setdefault(TOPICS.router_group, {})
        note = CommitNote(table_topic_id=None, table_offset=self.table.offset, source_topic_id=None).encode()
        for place in SOURCES:
            begin, end = kept.get(place, (0, ""))[0], len(self.logs[place])
            end = self.random.randint(begin, end) if self.random.random() < 0.5 else end
            for offset in range(begin, end):
                event = self.events[place, offset]
                live = LIVE[partition_of(str(event.client).encode(), len(LIVE))]
                self._append(live, b"", b"")
                identity = delivery_id(event.id, HookId(1000 + int(event.client)))
                self.ids[identity] = (place, offset)
                self.first_live[identity] = len(self.logs[live]) - 1
            kept[place] = (end, note)

    def expire(self) -> None:
        """Retention deletes the first records of a log; time has passed, as far as look-ups of windows know."""
        place = self.random.choice(SOURCES)
        routed = self.groups[TOPICS.router_group][place][0]
        self.low[place] = min(routed, self.low[place] + self.random.randint(1, 8))

    def ask(self) -> None:
        """An operator asks for a replay."""
        times = [record.timestamp()[1] for place in SOURCES for record in self.logs[place]]
        from_ms = self.random.choice(times) if self.random.random() < 0.4 else 0
        to_ms = self.random.choice(times) if self.random.random() < 0.3 else round(self.now * 1000)
        rate = self.random.choice((1000.0, 5.0, 2.0))
        asked = NewReplay(
            wanted=ReplayFilter(
                from_ms=from_ms,
                to_ms=max(to_ms, from_ms + 1),
                client=self.random.choice((None, None, ClientId("1"))),
                event=EVENT,
            ),
            source=ReplaySource.EVENTS,
            rate_per_s=rate,
            endpoint_rate_per_s=rate * self.random.choice((1.0, 0.5)),
        )
        with self.database.real.begin() as session:
            found = ReplayRepository(session, "x", round(self.now * 1000)).create(asked, one_at_a_time=False)
        self.replays[found.job] = found
        self.sent[found.job] = Sent()

    def steer(self) -> None:
        """An operator lets a replay run, pauses it or ends it."""
        if self.operator.busy or not self.replays:
            return
        found = self.random.choice([*self.replays.values()])
        kinds = ("run",) * 12 + ("pause",) * 3 + ("cancel",) * self.cancels
        kind = "run" if self.fair or found.state is not ReplayState.RUNNING else self.random.choice(kinds)

        def work(session: Session) -> StoredReplay:
            work = ReplayRepository(session, "x", round(self.now * 1000))
            act = {"run": work.run, "pause": work.pause, "cancel": work.cancel}[kind]
            return act(found.id, client=None)

        self._do(self.operator, lambda: transact(self.database.sessions(self.operator), work))

    def turn(self, process: Process) -> None:
        """A replayer takes a turn."""
        assert process.runs is not None
        runs = process.runs
        process.turns.append(self.now)
        process.was_suspended = False
        self._do(process, lambda: runs.step(claim=True))

    def start(self) -> None:
        """A replayer starts."""
        self.started += 1
        process = Process(name=f"replayer-{self.started}")
        process.ahead_s = self.random.choice((0.0, HOUR_S, -HOUR_S))
        kafka = KafkaConfig(bootstrap_servers="k:9092")
        texts = {_EVENT_SCHEMA: CATALOGUE.schema_text("property"), _DELIVERY_SCHEMA: InternalSchema.DELIVERY.text}
        events = topic_events(CATALOGUE, TOPICS, texts.__getitem__)

        def clock() -> float:
            process.was_suspended = False
            return self.now

        deps = RunDeps(
            kafka=kafka,
            topics=TOPICS,
            sessions=self.database.sessions(process),
            lookup=WindowLookup(kafka, TOPICS, CATALOGUE),
            table=self.table,
            reader=_Table(self.table),  # type: ignore[arg-type]  # as far as it is used
            writer=ReplayWriter(
                kafka,
                TOPICS,
                encode=delivery_encoder(_DELIVERY_SCHEMA),
                acknowledged_within_s=LEASE_S / 3,
                now_ms=lambda: round(self.now * 1000),
            ),
            selection=lambda replay: Selection(
                replay.asked.wanted, self.table, events=events, deliveries={}, max_body_bytes=100_000
            ),
            stop=StopSignal(),
            lease=Lease(owner=process.name, lasts_ms=round(LEASE_S * 1000)),
            now_ms=lambda: round((self.now + process.ahead_s) * 1000),
            clock=clock,
            lease_now_ms=lambda _session: round(self.now * 1000),
        )
        process.runs = ClaimedRuns(deps)
        self.processes.append(process)

    def kill(self, process: Process) -> None:
        """A replayer ends at once, wherever it is."""
        process.alive = False
        self.processes.remove(process)
        self.database.end_sessions(process)
        self.disturbed(process)

    def stop(self, process: Process) -> None:
        """A replayer is asked to end, and lets go of what it has."""
        assert process.runs is not None
        self._do(process, process.runs.release)
        self.processes = [each for each in self.processes if each is not process]
        process.alive = False

    def rest(self) -> None:
        """Everything works again: every replay that was not cancelled has to end, and to have sent everything."""
        self.fair = True
        while self.late:
            self.arrive_late()
        if not self.processes:
            self.start()
        for _ in range(_LAST_TURNS):
            for process in [*self.processes]:
                self.turn(process)
            self.now += 0.5
            self.steer()
            if not any(row.state not in _ENDED for row in self._rows()):
                break
        for row in self._rows():
            self._check_end(row)

    # -- what is checked -----------------------------------------------------------------------------------------

    def wanted(self, replay: StoredReplay) -> dict[str, tuple[Place, int]]:
        """What a replay has to send, by delivery id, once its window is fixed."""
        asked = replay.asked.wanted
        found: dict[str, tuple[Place, int]] = {}
        for stretch in replay.window.stretches if replay.window else ():
            place = stretch.topic, stretch.partition
            for offset in range(stretch.start, stretch.end):
                event = self.events[place, offset]
                at_ms = self.logs[place][offset].timestamp()[1]
                fits = asked.client in (None, str(event.client)) and asked.from_ms <= at_ms < asked.to_ms
                if fits and event.client != _CLIENTS:
                    found[delivery_id(event.id, HookId(1000 + int(event.client)))] = place, offset
        return found

    def produced(self, owner: Process, topic: str, value: bytes, partition: int) -> None:
        """A replayer hands a record over: may it?"""
        delivery = self._delivery(value)
        job = delivery.replay or ""
        holder, until = self.leases.get(job, ("", 0.0))
        if not owner.was_suspended and (holder != owner.name or self.now > until):
            self._violated(f"{owner.name} sends of {job}, which {holder} holds until {until:.2f}")
        if topic != TOPICS.replays or partition != partition_of(delivery.key, len(LIVE)):
            self._violated(f"{delivery.id} goes to {topic}:{partition}")
        if self.first_live[delivery.id] >= delivery.live_end:
            self._violated(f"{delivery.id} may overtake its first delivery")
        stopped_at = self.sent[job].stopped_at
        since = owner.turns[0] if len(owner.turns) > 1 else self.now
        if stopped_at is not None and since > stopped_at + _SEEN_WITHIN_S and not owner.was_suspended:
            self._violated(f"{owner.name} sends of {job}, which was stopped at {stopped_at:.2f}")
        place, offset = self.ids[delivery.id]
        done = self.begun[owner.name, job].get(place)
        if done is not None and (offset < done.next_offset or offset in done.above):
            self._violated(f"{owner.name} sends {delivery.id}, {place} {offset}, of {job} again: {done}")
        self._check_rate(owner, job)

    def begins_at(self, owner: Process, group: str) -> None:
        """A replayer asks how far its predecessor was: what is kept there is not sent again."""
        for job in self._jobs_of(group):
            self.begun[owner.name, job] = dict(self.kept.get(job, {}))

    def _jobs_of(self, group: str) -> list[str]:
        return [job for job, replay in self.replays.items() if group.endswith(f"{job}-{replay.created_at_ms}")]

    def _check_rate(self, owner: Process, job: str) -> None:
        times = self.rates[owner.name, job]
        times.append(self.now)
        rate = self.replays[job].asked.rate_per_s
        if len(times) > 2 + rate * (self.now - times[0] + 0.2):
            self._violated(f"{owner.name} sends {len(times)} of {job} within {self.now - times[0]:.2f} s")

    def arrive_late(self) -> None:
        """The broker stores a record that its producer has given up."""
        self.arrive(self.late.popleft())

    def arrive(self, value: bytes) -> int:
        """A record is in the log of replays; gives its offset."""
        delivery = self._delivery(value)
        job = delivery.replay or ""
        sent, replay = self.sent[job], self.replays[job]
        wanted = self.wanted(replay)
        if delivery.id not in wanted:
            self._violated(f"{delivery.id} of {self.ids[delivery.id]} is not in the window of {job}")
        place, offset = wanted[delivery.id]
        key = delivery.client, place
        newer = next(((at, low) for at, low in sent.newest[key] if at > offset), None)
        # A successor could not send again first what retention had deleted before.
        if delivery.id not in sent.ids and newer is not None and offset >= newer[1]:
            self._violated(f"{delivery.id}, {place} {offset}, is first sent behind {newer[0]}")
        sent.ids[delivery.id] += 1
        if newer is None:
            sent.newest[key].append((offset, self.low[place]))
        return sum(sent.ids.values()) - 1

    def committed_offset(self, owner: Process, group: str, tp: TopicPartition) -> None:
        """A replayer keeps how far it is: everything below has to be in the log."""
        (job,) = self._jobs_of(group)
        place, done = (tp.topic, tp.partition), reader.read_note(tp.offset, tp.metadata)
        if done is None:
            self._violated(f"{tp.metadata!r} cannot be read again")
        kept = self.groups.setdefault(group, {})
        # A predecessor that was suspended may have committed more since: that was true, and is sent again.
        mine = self.progress[owner.name, job]
        if tp.offset < mine.get(place, 0):
            self._violated(f"{owner.name} takes the progress of {job} back from {mine[place]} to {tp.offset}")
        mine[place] = tp.offset
        self._check_done(job, place, done)
        self.kept.setdefault(job, {})[place] = done
        kept[place] = (tp.offset, tp.metadata or "")

    def _check_done(self, job: str, place: Place, done: Done) -> None:
        sent = self.sent[job]
        below = 0
        for identity, (at, offset) in self.wanted(self.replays[job]).items():
            if at != place or (offset < self.low[place] and identity not in sent.ids):
                continue
            below += offset < done.next_offset
            if (offset < done.next_offset or offset in done.above) and identity not in sent.ids:
                self._violated(f"the progress of {job} passes {identity}, {place} {offset}")
        if done.sent > below or (done.sent < below and not self.low[place]):
            self._violated(f"{job} says that {done.sent} were sent below {done.next_offset}, and it is {below}")

    def begins(self, owner: Owner) -> None:
        """A transaction begins, where the database answers."""
        if not owner.alive:
            raise KilledError
        if self.fails(0.01):
            assert isinstance(owner, Process)
            self.disturbed(owner)
            message = "no connection"
            raise DatabaseUnavailableError(message)

    def commits(self, owner: Owner) -> None:
        """A transaction is about to commit."""
        assert isinstance(owner, Process)
        self.interleave(owner)

    def committed(self, owner: Owner, rows: Sequence[Any]) -> None:
        """A transaction has committed; now and then its process does not hear of it."""
        assert isinstance(owner, Process)
        for row in rows:
            if isinstance(row, ReplayRow):
                self._note_row(row)
        if self.fails(0.02):
            self.disturbed(owner)
            message = "the connection was lost while it committed"
            raise DatabaseUnavailableError(message)

    def _note_row(self, row: ReplayRow) -> None:
        found = stored_replay(row)
        before, self.replays[found.job] = self.replays[found.job], found
        if before.window is not None and found.window != before.window:
            self._violated(f"the window of {found.job} was {before.window}, and is {found.window}")
        for stretch in found.window.stretches if found.window and not before.window else ():
            routed = self.groups[TOPICS.router_group][stretch.topic, stretch.partition][0]
            if stretch.end > routed:
                self._violated(f"{found.job} has {stretch}, which is routed up to {routed}")
        if before.state in _ENDED and found.state is not before.state:
            self._violated(f"{found.job} was {before.state}, and is {found.state}")
        held = (row.lease_owner, row.lease_until_ms / 1000) if row.lease_owner else ("", 0.0)
        was, until = self.leases.get(found.job, ("", 0.0))
        if was and held[0] not in ("", was) and self.now < until - 0.01:
            self._violated(f"{held[0]} takes {found.job}, which {was} holds until {until:.2f}")
        if held[1] > self.now + LEASE_S + 0.01:
            self._violated(f"{held[0]} holds {found.job} until {held[1]:.2f}")
        self.leases[found.job] = held
        sent = self.sent[found.job]
        if found.state is ReplayState.RUNNING:
            sent.stopped_at = None
        elif sent.stopped_at is None:
            sent.stopped_at = self.now

    def _check_end(self, row: StoredReplay) -> None:
        if row.state not in _ENDED:
            self._violated(f"{row.job} never ended: {row.state}")
        if row.state is ReplayState.FAILED:
            self._violated(f"{row.job} failed: {row.reason}")
        if row.state is not ReplayState.DONE:
            return
        sent, wanted = self.sent[row.job], self.wanted(row)
        for identity, (place, offset) in wanted.items():
            if identity not in sent.ids and offset >= self.low[place]:
                self._violated(f"{row.job} has not sent {identity}, {place} {offset}")
            if sent.ids[identity] > 1 and not sent.may_repeat:
                self._violated(f"{row.job} has sent {identity}, {place} {offset}, {sent.ids[identity]} times")
        if row.progress.sent != len(wanted) and not any(self.low.values()):
            self._violated(f"{row.job} says that it sent {row.progress.sent} of {len(wanted)}")
        if row.count is None or (row.count.deliveries != len(wanted) and not any(self.low.values())):
            self._violated(f"{row.job} counted {row.count} of {len(wanted)}")

    # -- helpers -------------------------------------------------------------------------------------------------

    def _rows(self) -> Sequence[StoredReplay]:
        with self.database.real() as session:
            return [stored_replay(row) for row in session.scalars(select(ReplayRow)).all()]

    def _append(self, place: Place, key: bytes, value: bytes) -> None:
        stamp = TIMESTAMP_LOG_APPEND_TIME, round(self.now * 1000)
        log = self.logs[place]
        log.append(Message(topic=place[0], partition=place[1], offset=len(log), key=key, value=value, timestamp=stamp))

    def _do(self, process: Process, work: Callable[[], object]) -> None:
        with one_step(process, self.running), suppress(ProcessorError, StoppedError, ReplayStateError):
            try:
                work()
            except DatabaseError:  # it may have waited for a row in vain
                self.disturbed(process)

    def _make_consumer(self, config: dict[str, Any]) -> LogConsumer:
        return LogConsumer(self, self.running[-1], config["group.id"])

    def _make_producer(self, _config: object) -> ReplayProducer:
        return ReplayProducer(self, self.running[-1])

    def _make_run(self, deps: RunDeps, replay: StoredReplay, *, claimed_at: float) -> ReplayRun:
        self.rates[deps.lease.owner, replay.job] = []
        self.progress[deps.lease.owner, replay.job] = {}
        return ReplayRun(deps, replay, claimed_at=claimed_at)

    def _sleep(self, pause_s: float) -> None:
        self.now += pause_s

    def _violated(self, what: str) -> NoReturn:
        raise ReplayViolationError(f"seed {self.seed}, at {self.now:.2f} s: {what}")


_ENDED = (ReplayState.DONE, ReplayState.CANCELLED, ReplayState.FAILED)


class _Table:
    """The table's reader: everything is read."""

    topic_id = None

    def __init__(self, table: SubscriptionTable) -> None:
        self._table = table

    def end(self) -> int:
        """Tell where the topic ends."""
        return self._table.offset


class _Deadlines:
    """Deadlines on the clock of the world."""

    def __init__(self, world: ReplayWorld) -> None:
        self._world = world

    def after(self, within_s: float) -> Deadline:
        """So many seconds from now."""
        return Deadline.after(within_s, lambda: self._world.now)


def check_replayers(seed: int) -> str | None:
    """Run one world; what was violated, or None."""
    try:
        ReplayWorld(seed).run()
    except ReplayViolationError as error:
        return str(error)
    return None
