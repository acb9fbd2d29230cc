"""Routers in one process: the shipped routers on a log, a group, a table and producers that a seed moves.

Everything of the routers is real but Kafka's clients. A world appends events and hooks, lets routers take turns, lets
the broker store and acknowledge in its own time, refuses records and commits, moves partitions, suspends routers past
their session, and kills them. A violation is raised where a commit passes an event whose delivery is not in the log,
where first deliveries of a resource are not in the order of the log, and where something is missing at the end.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from unittest.mock import patch

from confluent_kafka import Message

from hookstream.processors.errors import ProcessorError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.routing import delivery_writer, source_reader
from hookstream.processors.routing.commit_note import CommitNote
from hookstream.processors.routing.router import Router, RouterConfig
from hookstream.processors.tables import compacted_topic_reader
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder
from hookstream.schemas.codecs.deliveries import delivery_decoder
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.codecs.hooks import subscription_encoder
from hookstream.schemas.delivery import delivery_id
from hookstream.schemas.event import ClientId, Concept, Event, EventName
from hookstream.schemas.hook import HookId, HookState, Revision
from hookstream.schemas.topics import TopicNames
from tests.support import values
from tests.support.router_clients import Group, GroupMember, LogProducer, Place, RowReader

TOPICS = TopicNames()
TOPIC = "events.property"
EVENT = EventName("property.updated")
PLACES: tuple[Place, ...] = ((TOPIC, 0), (TOPIC, 1))
CATALOGUE = Catalogue.shipped()
_EVENT_SCHEMA, _ROW_SCHEMA = 2, 1
_STEPS = 220
_LAST_TURNS = 400
_MOST_ROUTERS = 3
_CLIENTS = 12
_MOST_POLLS = 20_000


class RouterViolationError(AssertionError):
    """A promise of the routers was broken."""


class _Registry:
    """Knows every schema at once."""

    def schema_text_by_id(self, schema_id: int) -> str:
        return CATALOGUE.schema_text("property") if schema_id == _EVENT_SCHEMA else InternalSchema.SUBSCRIPTION.text

    def id_for(self, _subject: str, _text: str) -> int:
        return 3


@dataclass
class Wanted:
    """An event of the log. `must`: its hook was effective when it was accepted, so a delivery of it has to follow."""

    place: Place
    offset: int
    resource: tuple[int, int]
    delivery: str
    must: bool
    poison: bool


@dataclass
class Process:
    """A router that runs, and its clients."""

    router: Router
    producer: LogProducer
    member: GroupMember | None = None
    rows: RowReader | None = None


@dataclass
class RouterWorld:
    """One world: the same for the same seed."""

    seed: int
    random: Random = field(init=False)
    group: Group = field(init=False)
    now: float = 100.0
    log: dict[Place, list[Message]] = field(default_factory=lambda: {place: [] for place in PLACES})
    rows: list[Message] = field(default_factory=list)
    wanted: dict[tuple[Place, int], Wanted] = field(default_factory=dict)
    routed: dict[str, int] = field(default_factory=dict)
    """Delivery ids in the log, with their place among first deliveries."""
    dead: set[tuple[Place, int]] = field(default_factory=set)
    newest: dict[tuple[int, int], int] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    starting: Process | None = None
    revisions: dict[int, int] = field(default_factory=dict)
    polls: int = 0
    fair: bool = False
    """No more faults: everything is stored, acknowledged and answered."""

    def __post_init__(self) -> None:
        self.random = Random(self.seed)  # noqa: S311 - a simulation
        self.group = Group(self, PLACES)
        self._encode_event = event_encoder(CATALOGUE, "property", _EVENT_SCHEMA)
        self._encode_row = subscription_encoder(_ROW_SCHEMA)
        self._delivery = delivery_decoder(lambda _: InternalSchema.DELIVERY.text)
        self._dead_letter = dead_letter_decoder(lambda _: InternalSchema.DEAD_LETTER.text)

    # -- what the world does -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take steps at random, then let everything come to rest.

        Raises:
            RouterViolationError: what was broken, and when.
        """
        with ExitStack() as stack:
            stack.enter_context(patch.object(source_reader, "make_consumer", self._make_member))
            stack.enter_context(patch.object(delivery_writer, "make_producer", self._make_producer))
            stack.enter_context(patch.object(compacted_topic_reader, "make_consumer", self._make_row_reader))
            self.put_hook(1)
            for _ in range(2):
                self.start()
            for _ in range(_STEPS):
                self.step()
            self.rest()

    def step(self) -> None:
        """One thing happens."""
        draw = self.random.random()
        self.now += self.random.choice((0.0, 0.05, 0.2))
        if draw < 0.22:
            self.put_event()
        elif draw < 0.27:
            self.put_hook(self.random.randint(1, _CLIENTS))
        elif draw < 0.70 and self.processes:
            self.turn(self.random.choice(self.processes))
        elif draw < 0.86 and self.processes:
            self.random.choice(self.processes).producer.progress()
        elif draw < 0.90:
            self.group.answer_one()
        elif draw < 0.93:
            self.group.move_one()
        elif draw < 0.95 and self.processes:
            self.group.fence(self.random.choice(self.processes).member)
        elif draw < 0.97 and self.processes:
            self.kill(self.random.choice(self.processes))
        elif len(self.processes) < _MOST_ROUTERS:
            self.start()

    def rest(self) -> None:
        """Everything works again: what was accepted has to be routed, and committed."""
        self.fair = True
        for _ in range(_LAST_TURNS):
            if not self.processes:
                self.start()
            for process in list(self.processes):
                self.turn(process)
                process.producer.progress()
            self.group.give_all()
            self.group.answer_one()
            self.now += 0.3
            if self._at_rest():
                break
        for wanted in self.wanted.values():
            if wanted.must and not self._settled(wanted):
                self._violated(f"never routed: {wanted}")
        for place, records in self.log.items():
            if self.group.offset(place) != len(records):
                self._violated(f"{place} is committed up to {self.group.offset(place)} of {len(records)}")

    def _at_rest(self) -> bool:
        routed = all(self._settled(wanted) for wanted in self.wanted.values() if wanted.must)
        return routed and all(self.group.offset(place) == len(records) for place, records in self.log.items())

    def put_event(self) -> None:
        """A service's event is accepted."""
        client, concept = self.random.choice([*self.revisions, _CLIENTS]), self.random.randint(1, 2)
        place = PLACES[(client + concept) % 2]
        about = Concept(id=concept, namespace="property", sub_namespace=None)
        event = Event(name=EVENT, client=client, concept=about, occurred_at_ms=1)
        records = self.log[place]
        offset = len(records)
        value, key = self._encode_event(event), event.key
        records.append(Message(topic=place[0], partition=place[1], offset=offset, key=key, value=value))
        self.wanted[place, offset] = Wanted(
            place,
            offset,
            (client, concept),
            delivery_id(event.id, 1000 + client),
            must=self._effective(client),
            poison=self.random.random() < 0.02,
        )

    def put_hook(self, client: int) -> None:
        """A hook is registered, or changed."""
        revision = self.revisions[client] = self.revisions.get(client, 0) + 1
        hook = replace(
            values.HOOK,
            id=HookId(1000 + client),
            client=ClientId(str(client)),
            event=EVENT,
            state=HookState.ENABLED,
            revision=Revision(revision),
        )
        row = Message(
            topic="subscriptions", partition=0, offset=len(self.rows), key=hook.key, value=self._encode_row(hook)
        )
        self.rows.append(row)

    def start(self) -> None:
        """A router starts."""
        config = RouterConfig(
            kafka=KafkaConfig(bootstrap_servers="k:9092", embedded=True),
            topics=TOPICS,
            catalogue=CATALOGUE,
            drain_timeout_s=self.random.choice((0.0, 5.0)),
        )
        router = Router(
            config,
            _Registry(),  # type: ignore[arg-type]
            stop=StopSignal(),
            health=Health(),
            metrics=Metrics(),
            now_ms=lambda: 1,
            monotonic_s=lambda: self.now,
        )
        process = self.starting = Process(router, LogProducer(self))
        process.router.open()
        self.processes.append(process)

    def turn(self, process: Process) -> None:
        """A router takes a turn; one that ends by an error of its own is closed, as its role does."""
        self.starting = process
        try:
            process.router.run_once(0.0)
        except ProcessorError:
            self.processes.remove(process)
            process.router.close()
            self.group.leave(process.member)

    def kill(self, process: Process) -> None:
        """A router ends at once. What it has handed to the broker may be stored still."""
        self.processes.remove(process)
        if process.member is not None:
            self.group.fence(process.member)
            self.group.leave(process.member)
        for _ in range(self.random.randint(0, 3)):
            process.producer.progress()

    # -- what Kafka says -----------------------------------------------------------------------------------------

    def stored(self, topic: str, value: bytes) -> None:
        """A record of a producer is in its topic: is it a first delivery, and in order?"""
        if topic == TOPICS.dead_letters:
            dead = self._dead_letter(value)
            key = (dead.topic, dead.partition), dead.offset
            if not self.wanted[key].poison:
                self._violated(f"a dead letter of {self.wanted[key]}: {dead.detail}")
            self.dead.add(key)
            return
        delivery = self._delivery(value)
        wanted = self.wanted[(delivery.source_topic, delivery.source_partition), delivery.source_offset]
        if delivery.id != wanted.delivery:
            self._violated(f"{delivery.id} is another id than that of {wanted}")
        if delivery.id not in self.routed:
            # An event that came before its hook was effective may be routed by a router that starts again, or not.
            newest = self.newest.get(wanted.resource, -1)
            if wanted.must and wanted.offset < newest:
                self._violated(f"{wanted} is first routed after {newest}")
            self.routed[delivery.id] = wanted.offset
            self.newest[wanted.resource] = max(newest, wanted.offset)

    def refused(self, topic: str, value: bytes) -> bool:
        """Whether the broker takes no delivery of this event."""
        if topic != TOPICS.deliveries:
            return False
        delivery = self._delivery(value)
        return self.wanted[(delivery.source_topic, delivery.source_partition), delivery.source_offset].poison

    def committed(self, place: Place, offset: int) -> None:
        """The group takes a commit: everything below it has to be in the log."""
        if offset < self.group.offset(place):
            self._violated(f"the commit of {place} goes back to {offset}")
        for below in range(offset):
            wanted = self.wanted[place, below]
            if wanted.must and not self._settled(wanted):
                self._violated(f"{place} is committed at {offset}, past {wanted}")

    def asked(self) -> None:
        """A producer was polled: a router that waits without an end is one that nothing arrives from."""
        self.polls += 1
        if self.polls > _MOST_POLLS:
            self._violated("a router waits for ever")

    def visible_rows(self, eagerness: float) -> int:
        """How much of the table a reader gets to see; nothing new for some time, if it is not eager."""
        return len(self.rows) if self.fair or self.random.random() < eagerness else 0

    # -- helpers -------------------------------------------------------------------------------------------------

    def _effective(self, client: int) -> bool:
        """Whether the API would call a client's hook effective: every router partition has read it."""
        notes = [CommitNote.decode(self.group.metadata(place)) for place in PLACES]
        first = next((at for at, row in enumerate(self.rows) if (row.key() or b"").startswith(b"%d|" % client)), None)
        return first is not None and all(note is not None and note.table_offset > first for note in notes)

    def _settled(self, wanted: Wanted) -> bool:
        return wanted.delivery in self.routed or (wanted.place, wanted.offset) in self.dead

    def _violated(self, what: str) -> None:
        raise RouterViolationError(f"seed {self.seed}, at {self.now:.2f} s: {what}")

    def _make_member(self, config: dict[str, Any]) -> GroupMember:
        assert self.starting is not None
        self.starting.member = GroupMember(self.group, self, config["on_commit"])
        return self.starting.member

    def _make_producer(self, _config: dict[str, Any]) -> LogProducer:
        assert self.starting is not None
        return self.starting.producer

    def _make_row_reader(self, _config: dict[str, Any]) -> RowReader:
        assert self.starting is not None
        self.starting.rows = RowReader(self)
        return self.starting.rows


def check_routers(seed: int) -> str | None:
    """Run one world; what was violated, or None."""
    try:
        RouterWorld(seed).run()
    except RouterViolationError as error:
        return str(error)
    return None
