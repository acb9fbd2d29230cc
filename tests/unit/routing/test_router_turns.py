"""The router turn by turn, with doubles of the group, the producer and the registry: what waits for what."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, Message

from hookstream.processors.errors import ProduceFailedError, StoppedError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.routing import event_routing
from hookstream.processors.routing import router as module
from hookstream.processors.routing import source_reader as source_module
from hookstream.processors.routing.commit_note import CommitNote
from hookstream.processors.routing.delivery_writer import RecordTooLargeError
from hookstream.processors.routing.pipeline import Batch, Pipeline
from hookstream.processors.routing.router import Router, RouterConfig
from hookstream.processors.routing.source_reader import SourceReader
from hookstream.processors.tables import compacted_topic_reader
from hookstream.producers.errors import (
    NotRegisteredError,
    RegistryError,
    RegistryRefusedError,
    RegistryUnavailableError,
)
from hookstream.schemas.body import thin_body
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.codecs.hooks import subscription_encoder
from hookstream.schemas.delivery import DeadLetter, DeadLetterReason, Delivery
from hookstream.schemas.event import ClientId, Concept, Event, EventName
from hookstream.schemas.hook import HookId, HookState
from hookstream.schemas.topics import TopicNames
from tests.support import values
from tests.support.group_consumer import GroupConsumer
from tests.support.scripted_consumer import ScriptedConsumer, record

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = "events.property"
P0, P1 = (TOPIC, 0), (TOPIC, 1)
ROW, EVENT, NOTICE = 1, 2, 4
CATALOGUE = Catalogue.shipped()
HOOK = replace(values.HOOK, client=ClientId("9999"), event=values.EVENT.name, state=HookState.ENABLED)
VALUE = event_encoder(CATALOGUE, "property", EVENT)(values.EVENT)
NOTICE_EVENT = Event(
    name=EventName("hookstream.hook-disabled"),
    client="acme",
    concept=Concept(id="acme-0123456789abcdef", namespace="hookstream"),
    occurred_at_ms=1,
    data={"at": "2026-11-28T10:00:00Z", "target": "https://acme.example/hook"},
)


@dataclass
class Clock:
    """Time that passes while the router polls."""

    now: float = 100.0

    def monotonic(self) -> float:
        """Read it."""
        return self.now


@dataclass
class Registry:
    """Knows both schemas; `errors` are what it answers first."""

    errors: deque[RegistryError] = field(default_factory=deque)

    def schema_text_by_id(self, schema_id: int) -> str:
        """Give a text."""
        if schema_id == EVENT and self.errors:
            raise self.errors.popleft()
        texts = {EVENT: CATALOGUE.schema_text("property"), NOTICE: InternalSchema.NOTICES.text}
        return texts.get(schema_id, InternalSchema.SUBSCRIPTION.text)

    def id_for(self, _subject: str, _text: str) -> int:
        """Give an id."""
        if self.errors:
            raise self.errors.popleft()
        return 3


@dataclass
class Writer:
    """A producer: `room` records fit into its queue, and reports come when a test says, or `at_once`."""

    clock: Clock
    pipeline: Pipeline = field(default_factory=Pipeline)
    written: list[Delivery | DeadLetter] = field(default_factory=list)
    waiting: deque[tuple[Batch, int]] = field(default_factory=deque)
    """Records without a report, with their source offset."""
    room: int = 1_000_000
    at_once: bool = True
    on_poll: Callable[[], object] | None = None
    too_large: set[int] = field(default_factory=set)
    """Source offsets of what the producer does not take."""
    closed: bool = False

    def __call__(self, *_: object, **__: object) -> Writer:
        """Stand in for the class."""
        return self

    def warm_up(self) -> None:
        """Connect to nothing."""

    @property
    def outstanding(self) -> int:
        """Reports that are awaited."""
        return self.pipeline.outstanding

    @property
    def failed(self) -> bool:
        """Whether a report failed."""
        return bool(self.pipeline.failures)

    def open_batch(self) -> Batch:
        """Start a batch."""
        return self.pipeline.open()

    def write(self, batch: Batch, delivery: Delivery, _traceparent: bytes | None) -> bool:
        """Take a delivery."""
        return self._take(batch, delivery, delivery.source_offset)

    def write_dead_letter(self, batch: Batch, dead_letter: DeadLetter) -> bool:
        """Take a dead letter."""
        return self._take(batch, dead_letter, dead_letter.offset)

    def _take(self, batch: Batch, what: Delivery | DeadLetter, offset: int) -> bool:
        if offset in self.too_large and isinstance(what, Delivery):
            raise RecordTooLargeError("too large")
        if len(self.waiting) >= self.room:
            return False
        self.written.append(what)
        self.waiting.append((batch, offset))
        batch.pending += 1
        return True

    def poll(self, timeout_s: float) -> None:
        """Let time pass, and reports come."""
        self.clock.now += timeout_s
        if self.on_poll is not None:
            self.on_poll()
        while self.at_once and self.waiting:
            self.acknowledge()
        self.pipeline.settle()

    def acknowledge(self, error: KafkaError | None = None) -> None:
        """Report the oldest."""
        batch, _ = self.waiting.popleft()
        batch.report(error, Message(offset=17))

    def drain(self, _timeout_s: float) -> bool:
        """Wait for all of them."""
        self.poll(0.0)
        return not self.outstanding

    def failures(self) -> tuple[str, dict[tuple[str, int], list[int]]]:
        """Refuse what waits first."""
        return "refused", {P0: [5]}

    def close(self) -> None:
        """Note it."""
        self.closed = True


@dataclass
class World:
    """A router with everything around it."""

    router: Router
    group: GroupConsumer
    writer: Writer
    registry: Registry
    rows: ScriptedConsumer
    clock: Clock
    stop: StopSignal
    slept: list[float]

    def start(self, *places: tuple[str, int]) -> None:
        """Load the table, join, and get partitions."""
        self.router.open()
        while not self.group.callbacks:
            self.router.run_once(0)
        self.group.assign(*(places or (P0,)))
        self.router.run_once(0)
        if self.group.asked("commit"):
            self.group.answer()

    def put(self, *offsets: int, partition: int = 0, value: bytes = VALUE) -> None:
        """Let records be read next."""
        self.group.script += [
            record(value, topic=TOPIC, partition=partition, offset=offset, key=b"9999|1") for offset in offsets
        ]

    @property
    def source(self) -> SourceReader:
        """What the router owns."""
        assert self.router._source is not None
        return self.router._source

    def sources(self) -> list[int]:
        """Source offsets of everything that was written."""
        return [each.source_offset if isinstance(each, Delivery) else each.offset for each in self.writer.written]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    clock, stop, registry = Clock(), StopSignal(), Registry()
    group, writer = GroupConsumer(), Writer(clock)
    rows = ScriptedConsumer(deque([[record(subscription_encoder(ROW)(HOOK), offset=0)]]), end=1)
    slept: list[float] = []
    monkeypatch.setattr(source_module, "make_consumer", group.made)
    monkeypatch.setattr(compacted_topic_reader, "make_consumer", lambda _config: rows)
    monkeypatch.setattr(module, "DeliveryWriter", writer)

    def wait(seconds: float) -> bool:
        slept.append(seconds)
        return stop.asked

    monkeypatch.setattr(stop, "wait", wait)
    config = RouterConfig(
        kafka=KafkaConfig(bootstrap_servers="k:9092", embedded=True), topics=TopicNames(), catalogue=CATALOGUE
    )
    router = Router(
        config,
        registry,  # type: ignore[arg-type]
        stop=stop,
        health=Health(),
        metrics=Metrics(),
        now_ms=lambda: 1,
        monotonic_s=clock.monotonic,
    )
    return World(router, group, writer, registry, rows, clock, stop, slept)


# --- the registry and the table ---------------------------------------------------------------------------------------


def test_a_schema_that_is_not_registered_yet_is_waited_for_at_the_start(world: World) -> None:
    world.registry.errors += [NotRegisteredError("none"), RegistryUnavailableError("no answer")]
    world.router.open()
    assert len(world.slept) == 2


def test_the_group_is_joined_when_the_table_is_read_and_not_before(world: World) -> None:
    batch = world.rows.batches.popleft()
    world.router.open()
    for _ in range(3):
        world.router.run_once(0)
    assert not world.group.callbacks
    world.rows.batches.append(batch)
    world.router.run_once(0)
    assert world.group.callbacks


@pytest.mark.parametrize("error", [RegistryRefusedError("HTTP 401"), RegistryUnavailableError("no answer")])
def test_a_registry_that_says_no_for_a_while_makes_the_router_wait_and_serve_its_group(
    world: World, error: RegistryError
) -> None:
    world.start()
    seen: list[object] = []
    world.writer.on_poll = lambda: seen.append((set(world.group.paused), world.router.health.reasons))
    world.registry.errors += [error] * 3
    world.put(0)
    world.router.run_once(0)
    assert world.sources() == [0]
    assert ({P0}, {"schema registry": str(error)}) in seen, "paused, and told"
    assert world.router.health.ready
    world.put(1)
    world.router.run_once(0)
    assert world.sources() == [0, 1], "reading goes on"


def test_a_stop_ends_a_wait_for_the_registry_and_nothing_of_the_record_is_committed(world: World) -> None:
    world.start()
    world.registry.errors += [RegistryUnavailableError("no answer")] * 1000
    world.put(0)

    def later() -> None:
        if world.clock.now > 130.0:
            world.stop.ask()

    world.writer.on_poll = later
    with pytest.raises(StoppedError):
        world.router.run_once(0)
    world.router.close()
    assert all(offsets == {P0: 0} for offsets in world.group.asked("commit"))


# --- reports and commits ----------------------------------------------------------------------------------------------


def test_nothing_is_committed_before_its_report_is_in(world: World) -> None:
    world.start()
    world.writer.at_once = False
    world.put(0)
    for _ in range(5):
        world.router.run_once(0)
        world.clock.now += 10.0
        if world.group.asked("commit"):
            world.group.answer()
    assert {offsets[P0] for offsets in world.group.asked("commit")} == {0}
    world.writer.at_once = True
    world.router.run_once(0)
    assert world.group.asked("commit")[-1] == {P0: 1}


def test_the_first_failed_report_ends_the_router_after_the_rejection_was_noted(world: World) -> None:
    world.start()
    world.writer.at_once = False
    world.put(5)
    world.router.run_once(0)
    world.writer.acknowledge(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    commits: list[CommitNote | None] = []
    take = world.group.commit

    def commit(*, offsets: list, asynchronous: bool) -> object:  # type: ignore[type-arg]
        commits.extend(CommitNote.decode(tp.metadata) for tp in offsets if not asynchronous)
        return take(offsets=offsets, asynchronous=asynchronous)

    world.group.commit = commit  # type: ignore[method-assign,assignment]
    with pytest.raises(ProduceFailedError):
        world.router.run_once(0)
    assert [note.rejected for note in commits if note is not None] == [(5, 5)]
    assert world.group.asked("commit")[-1] == {P0: 0}


def test_a_rejection_that_a_full_queue_finds_is_noted_once(world: World) -> None:
    """Noted twice, it would count as refused alone, and a neighbour of the record at fault would be a dead letter."""
    world.start()
    world.writer.room, world.writer.at_once = 1, False

    began = world.clock.now

    def refuse() -> None:
        if world.writer.waiting and world.clock.now > began:  # while there is no room for the second
            world.writer.acknowledge(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))

    world.writer.on_poll = refuse
    world.put(5, 6)
    with pytest.raises(ProduceFailedError):
        world.router.run_once(0)
    assert world.sources() == [5]
    assert world.source.partitions[P0].rejections_of(5) == 1


def test_a_rejected_record_is_routed_alone(world: World) -> None:
    world.group.stored[P0] = (
        3,
        CommitNote(table_topic_id=None, table_offset=0, source_topic_id=None, rejected=(5, 5)).encode(),
    )
    world.start()
    world.writer.at_once = False
    around: list[tuple[int, ...]] = []

    def note() -> None:
        around.append(tuple(offset for _, offset in world.writer.waiting))
        if world.writer.waiting:
            world.writer.acknowledge()

    world.writer.on_poll = note
    batches = iter([[4], [5], [6]])
    consume = world.group.consume
    world.group.consume = lambda count, wait: [*consume(count, wait), *consume(count, wait), *consume(count, wait)]  # type: ignore[method-assign,assignment]
    for offsets in batches:
        world.put(*offsets)
    world.router.run_once(0)
    assert world.sources() == [4, 5, 6]
    assert (4,) in around, "what stands before it was waited for"
    assert all(waiting in ((), (4,), (5,), (6,)) for waiting in around)


def test_what_was_refused_alone_is_a_dead_letter(world: World) -> None:
    note = CommitNote(table_topic_id=None, table_offset=0, source_topic_id=None, rejections={5: 2, 6: 3})
    world.group.stored[P0] = (5, note.encode())
    world.start()
    for offset in (5, 6):
        world.put(offset)
        world.router.run_once(0)
    first, second = world.writer.written
    assert isinstance(first, DeadLetter)
    assert isinstance(second, DeadLetter)
    assert first.reason is second.reason is DeadLetterReason.TOO_LARGE
    assert (first.record_value, second.record_value) == (VALUE, None), "so was its dead letter: its position alone"


def test_a_body_that_is_too_large_is_a_dead_letter_and_the_next_is_routed(world: World) -> None:
    allowed = len(thin_body(values.EVENT))
    world.router._config = replace(world.router._config, max_body_bytes=allowed)
    world.start()
    large = replace(values.EVENT, concept=Concept(id=888999, namespace="property", sub_namespace="villas"))
    world.put(0, value=event_encoder(CATALOGUE, "property", EVENT)(large))
    world.put(1)
    world.router.run_once(0)
    dead_letter, delivery = world.writer.written
    assert isinstance(dead_letter, DeadLetter)
    assert isinstance(delivery, Delivery)
    assert dead_letter.reason is DeadLetterReason.TOO_LARGE
    assert dead_letter.detail == f"the body has {allowed + 1} bytes; it may have {allowed}"
    assert (dead_letter.client, dead_letter.offset, delivery.source_offset) == ("9999", 0, 1)


def test_what_the_producer_does_not_take_is_a_dead_letter_and_the_next_is_routed(world: World) -> None:
    world.start()
    world.writer.too_large = {0}
    for offset in (0, 1):
        world.put(offset)
        world.router.run_once(0)
    assert [type(each) for each in world.writer.written] == [DeadLetter, Delivery]


NOTICE_HOOKS = {
    client: replace(HOOK, id=HookId(number), client=ClientId(client), event=EventName("hookstream.hook-disabled"))
    for number, client in enumerate(("acme", "operations"), 1)
}


@pytest.mark.parametrize(
    ("hooks", "about", "to"),
    [
        (["acme", "operations"], "acme", ["acme", "operations"]),
        (["operations"], "acme", ["operations"]),
        (["acme"], "acme", ["acme"]),
        (["acme", "operations"], "operations", ["operations"]),
        (["acme"], "other", []),
    ],
)
def test_a_notice_goes_to_its_client_and_to_the_operators_once_each(
    world: World, hooks: list[str], about: str, to: list[str]
) -> None:
    world.router._config = replace(world.router._config, operator_client=ClientId("operations"))
    rows = [record(subscription_encoder(ROW)(NOTICE_HOOKS[client]), offset=n) for n, client in enumerate(hooks)]
    world.rows.batches, world.rows.end = deque([rows]), len(rows)
    place = ("events.hookstream", 0)
    world.start(place)
    made = event_encoder(CATALOGUE, "hookstream", NOTICE)(replace(NOTICE_EVENT, client=about))
    world.group.script.append(record(made, topic=place[0], offset=0, key=b"k"))
    world.router.run_once(0)
    written = [each for each in world.writer.written if isinstance(each, Delivery)]
    assert [(each.client, each.hook_id) for each in written] == [(client, NOTICE_HOOKS[client].id) for client in to]
    assert {each.body for each in written} <= {written[0].body} if written else True
    assert len({each.id for each in written}) == len(written)
    assert all(f'"client":"{about}"' in each.body.decode() for each in written), "whose endpoint it is"


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_a_full_queue_is_waited_for_in_order_and_the_group_served(world: World) -> None:
    """It is full of bytes long before `_MAX_OUTSTANDING` records are in it: this was a loop without end."""
    world.start()
    world.writer.at_once, world.writer.room = False, 1
    paused: list[bool] = []

    def later() -> None:
        paused.append(world.group.paused == {P0})
        world.writer.at_once = world.clock.now > 105.0

    world.writer.on_poll = later
    for offset in (0, 1, 2):
        world.put(offset)
        world.router.run_once(0)
    assert world.sources() == [0, 1, 2]
    assert True in paused


def test_a_broker_that_acknowledges_nothing_stops_reading_and_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_routing, "_MAX_OUTSTANDING", 2)
    world.start()
    world.writer.at_once = False
    for offset in (0, 1):
        world.put(offset)
        world.router.run_once(0)
    world.put(2)
    seen: list[dict[str, str]] = []

    def later() -> None:
        seen.append(world.router.health.reasons)
        world.writer.at_once = world.clock.now > 110.0

    world.writer.on_poll = later
    read = len(world.group.script)
    world.router.run_once(0)
    assert read == 1
    assert {"kafka": "does not acknowledge records"} in seen
    assert world.router.health.ready


def test_what_is_left_of_a_batch_is_not_routed_once_its_partition_is_gone(world: World) -> None:
    world.start(P0, P1)
    part = world.source.partitions[P0]
    consume = world.group.consume
    world.group.consume = lambda count, wait: [message for _ in range(3) for message in consume(count, wait)]  # type: ignore[method-assign,assignment]
    world.registry.errors.append(RegistryUnavailableError("no answer"))
    world.put(0)
    world.put(0, partition=1)
    world.put(1)
    world.group.script.append(lambda: world.group.lose(P0))  # while the first of them waits for the registry
    world.router.run_once(0)
    routed = [
        (each.source_partition, each.source_offset) for each in world.writer.written if isinstance(each, Delivery)
    ]
    assert (1, 0) in routed
    assert (0, 1) not in routed
    assert part.next_offset == 0, "what was in hand when it was lost is another's"


def test_the_end_waits_for_reports_and_commits_before_it_leaves(world: World) -> None:
    world.start()
    world.writer.at_once = False
    world.put(0)
    world.router.run_once(0)
    world.writer.on_poll = lambda: setattr(world.writer, "at_once", world.clock.now > 101.0)
    world.router.close()
    assert [what for what, _ in world.group.log][-2:] == ["commit", "close"]
    assert world.group.asked("commit")[-1] == {P0: 1}
    assert world.writer.closed


def test_the_end_waits_for_a_bounded_time_and_commits_what_is_done(world: World) -> None:
    world.start()
    world.put(0)
    world.router.run_once(0)
    world.writer.at_once = False
    world.put(1)
    world.router.run_once(0)
    world.router.close()
    assert world.clock.now < 130.0
    assert world.group.asked("commit")[-1] == {P0: 1}
