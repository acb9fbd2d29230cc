"""What the transactional outbox and its relay promise, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import Engine, create_engine, func, insert, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from hookstream.processors.operations.relays.outbox import Batch, OutboxRelay
from hookstream.producers.errors import DeliveryFailedError, ProducerClosedError, UnsupportedDatabaseError
from hookstream.producers.outbox import OUTBOX, create_tables, enqueue
from hookstream.producers.receipt import Receipt
from hookstream.producers.testing import FakeEventProducer
from hookstream.schemas.codecs.events import WrittenEvent
from hookstream.schemas.errors import InvalidValueError, UnknownEventError
from hookstream.schemas.event import Event, EventName
from hookstream.schemas.trace_context import TraceContext
from tests.support.values import an_event
from tests.support.wait import WITHIN_S, eventually

DEADLINE_S = WITHIN_S
AGAIN = DeliveryFailedError("broker away", retriable=True, record_refused=False)
TOO_LARGE = DeliveryFailedError("too large", retriable=False, record_refused=True)
FATAL = DeliveryFailedError("fenced", retriable=False, record_refused=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Where the service's database is."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "database_url"))


def patient_engine(url: str) -> Engine:
    """On a loaded machine a writer may wait longer for SQLite's one lock than the driver's five seconds."""
    patience = {"timeout": DEADLINE_S} if url.startswith("sqlite") else {}
    return create_engine(url, connect_args=patience)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The service's database with the outbox in it."""
    engine = patient_engine(url)
    create_tables(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sink() -> FakeEventProducer:
    """Where the relay sends to."""
    return FakeEventProducer()


@pytest.fixture
def relay(engine: Engine, sink: FakeEventProducer) -> Iterator[OutboxRelay]:
    """The only relay."""
    with OutboxRelay(engine, sink) as relay:
        yield relay


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """An engine whose connections are closed also where the test fails."""
    engine = patient_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def put(engine: Engine, *events: Event) -> list[Event]:
    """Commit events in one transaction."""
    with Session(engine) as session, session.begin():
        for event in events:
            enqueue(session, event)
    return list(events)


def left(engine: Engine) -> int:
    """Count the rows."""
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(OUTBOX)).scalar_one()


def test_what_is_committed_is_sent_and_then_gone(engine: Engine, sink: FakeEventProducer, relay: OutboxRelay) -> None:
    """Committed events are sent whole, in order, and their rows deleted after the acknowledgement."""
    events = put(engine, an_event("lead.new", sub="warm"), an_event("lead.updated"), an_event("user.new", client=2**62))
    assert relay.run_once() == Batch(sent=3)
    assert sorted(sink.events, key=events.index) == events
    assert left(engine) == 0
    assert relay.run_once() == Batch()


def test_an_event_belongs_to_the_trace_that_enqueued_it(
    engine: Engine, sink: FakeEventProducer, relay: OutboxRelay
) -> None:
    """The relay, in another process and outside of any trace, sends an event with the trace of its transaction."""
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("order placed") as span:
        put(engine, an_event("lead.new"))
    put(engine, an_event("lead.updated"))
    assert relay.run_once() == Batch(sent=2)
    context = span.get_span_context()
    traceparent = TraceContext(context.trace_id, context.span_id, sampled=True).encode()
    assert {entry.event.name: entry.traceparent for entry in sink.produced} == {
        "lead.new": traceparent,
        "lead.updated": None,
    }


def test_what_is_rolled_back_was_never_there(engine: Engine, sink: FakeEventProducer, relay: OutboxRelay) -> None:
    """A rollback of the caller's transaction, or of its savepoint, takes the event with it."""
    kept = an_event("lead.new")
    with Session(engine) as session:
        enqueue(session, an_event("lead.deleted"))
        session.rollback()
    with Session(engine) as session, session.begin():
        enqueue(session, kept)
        savepoint = session.begin_nested()
        enqueue(session, an_event("lead.deleted"))
        savepoint.rollback()
    relay.run_once()
    assert sink.events == [kept]


def test_a_connection_serves_as_well_as_a_session(engine: Engine, relay: OutboxRelay) -> None:
    """Services without the ORM enqueue on their connection."""
    with engine.begin() as connection:
        enqueue(connection, an_event())
    assert relay.run_once().sent == 1


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (dataclasses.replace(an_event(), name=EventName("property.sold")), UnknownEventError),
        (an_event(client=-1), InvalidValueError),
        (dataclasses.replace(an_event(), name=EventName("lead.new")), InvalidValueError),
    ],
)
def test_a_bad_event_is_refused_where_it_is_made(engine: Engine, event: Event, error: type[Exception]) -> None:
    """`enqueue` raises in the caller's hands, and writes nothing."""
    with Session(engine) as session, session.begin(), pytest.raises(error):
        enqueue(session, event)
    assert left(engine) == 0


def test_batches_follow_each_other_to_the_end(engine: Engine, sink: FakeEventProducer) -> None:
    """A backlog larger than a batch is sent in several, each resource in order across them."""
    events = put(engine, *(an_event("lead.updated", concept=n % 7) for n in range(100)))
    with OutboxRelay(engine, sink, batch_rows=8) as relay:
        batches = iter(relay.run_once, Batch())
        assert sum(batch.sent for batch in batches) == 100
    for concept in range(7):
        expected = [e for e in events if e.concept.id == concept]
        assert [e for e in sink.events if e.concept.id == concept] == expected


class RecordingSink(FakeEventProducer):
    """Remembers what was asked of it, and holds what a test tells it to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Event] = []
        self.on_ask: Callable[[Event], None] = lambda _: None

    def produce(
        self, event: Event, *, traceparent: bytes | None = None, written: WrittenEvent | None = None
    ) -> Future[Receipt]:
        """Remember, then do as the fake does."""
        self.asked.append(event)
        self.on_ask(event)
        return super().produce(event, traceparent=traceparent, written=written)


def test_an_event_leaves_when_the_one_before_it_is_acknowledged(engine: Engine) -> None:
    """Of one resource there is never more than one event on the way; other resources do not wait for it."""
    sink = RecordingSink()
    first, second, other = put(engine, an_event("lead.new"), an_event("lead.updated"), an_event("lead.new", concept=1))
    sink.hold()
    stop = threading.Event()
    with OutboxRelay(engine, sink) as relay, ThreadPoolExecutor(1) as pool:
        batch = pool.submit(relay.run_once, stop)
        try:
            eventually(lambda: other in sink.asked, DEADLINE_S)
            assert sink.asked == [first, other]
            sink.release()
            assert batch.result(DEADLINE_S).sent == 3
        finally:
            stop.set()
    assert sink.asked == [first, other, second]


def test_an_event_that_fails_holds_back_those_behind_it(
    engine: Engine, sink: FakeEventProducer, relay: OutboxRelay
) -> None:
    """After a failure the rest of that resource stays; the others are sent; later all come in order."""
    first, second, other = put(engine, an_event("lead.new"), an_event("lead.updated"), an_event("lead.new", concept=1))
    sink.fail_next(AGAIN)
    assert relay.run_once() == Batch(sent=1, deferred=2)
    assert sink.events == [other]
    assert relay.run_once() == Batch(sent=2)
    assert sink.events == [other, first, second]


def test_an_event_without_a_report_holds_back_those_behind_it(engine: Engine) -> None:
    """What is not acknowledged by the relay's own deadline is still owed, and nothing of its resource has left."""
    sink = RecordingSink()
    first, second, other = put(engine, an_event("lead.new"), an_event("lead.updated"), an_event("lead.new", concept=1))
    sink.hold()
    with OutboxRelay(engine, sink, report_deadline_s=0.2) as relay:
        assert relay.run_once() == Batch(deferred=3)
        assert sink.asked == [first, other]
        sink.release()
        sink.asked.clear()
        assert relay.run_once() == Batch(sent=3)
    assert sink.asked == [first, other, second]


def test_an_event_that_can_never_be_sent_is_parked_with_its_resource(engine: Engine, sink: FakeEventProducer) -> None:
    """A poison event and what follows it stay, with the reason; others go on; a new relay tries again, in order."""
    poison, behind, other = put(engine, an_event("lead.new"), an_event("lead.updated"), an_event("lead.new", concept=1))
    with OutboxRelay(engine, sink) as relay:
        sink.fail_next(TOO_LARGE)
        assert relay.run_once() == Batch(sent=1, deferred=1, parked=1)
        (later,) = put(engine, an_event("lead.deleted"))
        assert relay.run_once() == Batch()
        assert sink.events == [other]
    with engine.connect() as connection:
        assert connection.execute(select(OUTBOX.c.parked).order_by(OUTBOX.c.id)).scalars().all() == [
            "too large",
            None,
            None,
        ]
    with OutboxRelay(engine, sink) as successor:
        assert successor.run_once() == Batch(sent=3)
    assert sink.events == [other, poison, behind, later]


def test_a_row_that_is_no_event_of_this_catalogue_is_parked(
    engine: Engine, sink: FakeEventProducer, relay: OutboxRelay
) -> None:
    """A service may know an event that the relay does not: the row waits for a relay that does."""
    row = {"resource": "1|order|1", "event_id": "x", "client": 1, "concept_id": 1, "occurred_at_ms": 1}
    with engine.begin() as connection:
        connection.execute(insert(OUTBOX).values(**row, event="order.placed"))
        connection.execute(insert(OUTBOX).values(**row | {"event_id": str(an_event().id)}, event="order.placed"))
    (good,) = put(engine, an_event())
    assert relay.run_once() == Batch(sent=1, deferred=1, parked=1)
    assert sink.events == [good]


def test_a_sink_that_cannot_go_on_stops_the_relay_and_what_it_sent_is_deleted(
    engine: Engine, sink: FakeEventProducer, relay: OutboxRelay
) -> None:
    """A fatal error of the client is raised, for the process to start anew; acknowledged rows are not sent again."""
    put(engine, an_event("lead.new", concept=1), an_event("lead.new", concept=2))
    acknowledged = sink.produce(an_event())
    assert acknowledged.done()
    sink.produced.clear()
    order = iter([None, FATAL])
    original = sink._settle

    def settle(event: Event, traceparent: bytes | None, future: Future[Receipt]) -> None:
        error = next(order)
        if error:
            sink.fail_next(error)
        original(event, traceparent, future)

    sink._settle = settle  # type: ignore[method-assign]
    with pytest.raises(DeliveryFailedError, match="fenced"):
        relay.run_once()
    assert left(engine) == 1
    sink.close()
    with pytest.raises(ProducerClosedError):
        relay.run_once()


def test_one_relay_at_a_time(engine: Engine, url: str, sink: FakeEventProducer) -> None:
    """While one relay holds the lock the others stand by, and take over when it closes."""
    other_engine = create_engine(url)
    put(engine, an_event())
    with OutboxRelay(engine, sink) as first, OutboxRelay(other_engine, sink) as second:
        assert first.run_once().sent == 1
        put(engine, an_event())
        assert second.run_once() == Batch(standby=True)
        first.close()
        assert second.run_once() == Batch(sent=1)
        assert first.run_once() == Batch(standby=True)
    other_engine.dispose()


def test_a_resource_s_events_are_sent_in_the_order_of_enqueue_across_transactions(url: str, engine: Engine) -> None:
    """A second transaction about the same resource waits in `enqueue` for the first, so it cannot be sent before it."""
    first, second = an_event("lead.new"), an_event("lead.updated")
    sink = FakeEventProducer()
    with (
        opened(url) as slow,
        opened(url) as quick,
        OutboxRelay(engine, sink) as relay,
        ThreadPoolExecutor(1) as pool,
        Session(slow) as open_transaction,
    ):
        enqueue(open_transaction, first)
        committed = pool.submit(put, quick, second)
        with pytest.raises(TimeoutError):
            committed.result(0.5)
        assert relay.run_once() == Batch()
        open_transaction.commit()
        committed.result(DEADLINE_S)
        assert relay.run_once() == Batch(sent=2)
    assert sink.events == [first, second]


def test_transactions_about_other_resources_do_not_wait(database_url: str) -> None:
    """On PostgreSQL an open transaction holds up its own resource and no other."""
    engine = create_engine(database_url)
    create_tables(engine)
    sink = FakeEventProducer()
    late, early = an_event("lead.new"), an_event("lead.new", concept=1)
    with OutboxRelay(engine, sink) as relay:
        with Session(engine) as open_transaction:
            enqueue(open_transaction, late)
            put(engine, early)
            assert relay.run_once() == Batch(sent=1)
            open_transaction.commit()
        assert relay.run_once() == Batch(sent=1)
    assert sink.events == [early, late]
    engine.dispose()


def test_concurrent_writers_lose_nothing_and_keep_order(engine: Engine, sink: FakeEventProducer) -> None:
    """Four writers and a relay at once: every event is sent once, and each resource's in the order of its ids."""
    stop = threading.Event()
    put_order: dict[int, list[Event]] = {n: [] for n in range(3)}
    lock = threading.Lock()

    def write(number: int) -> None:
        for turn in range(25):
            concept = (number + turn) % 3
            event = an_event("lead.updated", concept=concept)
            with Session(engine) as session, session.begin():
                enqueue(session, event)  # from here to the commit this resource is ours
                with lock:
                    put_order[concept].append(event)

    with OutboxRelay(engine, sink, batch_rows=7, poll_interval_s=0.005) as relay, ThreadPoolExecutor(5) as pool:
        running = pool.submit(relay.run, stop)
        try:
            list(pool.map(write, range(4)))
            eventually(lambda: len(sink.produced) == 100, DEADLINE_S)
        finally:
            stop.set()
        running.result(DEADLINE_S)
    for concept, expected in put_order.items():
        assert [e for e in sink.events if e.concept.id == concept] == expected


def test_the_loop_goes_on_after_the_broker_and_after_the_database_were_away(url: str, sink: FakeEventProducer) -> None:
    """The relay starts before its table exists, and rides out failing reports; then it sends everything in order."""
    engine = patient_engine(url)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        relay = OutboxRelay(engine, sink, poll_interval_s=0.01)
        running = pool.submit(relay.run, stop)
        try:
            sink.fail_next(AGAIN, AGAIN, AGAIN)
            create_tables(engine)
            events = put(engine, an_event("lead.new"), an_event("lead.updated"), an_event("lead.deleted"))
            eventually(lambda: sink.events == events and left(engine) == 0, DEADLINE_S)
        finally:
            stop.set()
        running.result(DEADLINE_S)
    engine.dispose()


def test_stopping_does_not_wait_for_a_broker_that_hangs(engine: Engine) -> None:
    """`run` returns soon after `stop` although a report is outstanding, and the row is still owed."""
    sink = RecordingSink()
    sink.hold()
    put(engine, an_event())
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(OutboxRelay(engine, sink, report_deadline_s=10 * DEADLINE_S).run, stop)
        try:
            eventually(lambda: sink.asked, DEADLINE_S)
        finally:
            stop.set()
        running.result(DEADLINE_S)
    assert left(engine) == 1


def test_a_relay_that_lost_its_connection_sends_again_in_order(database_url: str) -> None:
    """If the server ends the session between acknowledgement and deletion, the events are repeated, none is lost."""
    engine, admin = create_engine(database_url), create_engine(database_url)
    create_tables(engine)
    sink = RecordingSink()
    first, second = put(engine, an_event("lead.new"), an_event("lead.updated"))

    def cut(event: Event) -> None:
        if event == second:
            with admin.begin() as connection:
                others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                connection.execute(text(f"{others} AND datname = current_database()"))
            sink.on_ask = lambda _: None

    sink.on_ask = cut
    with OutboxRelay(engine, sink) as relay:
        with pytest.raises(DBAPIError):
            relay.run_once()
        assert left(admin) == 2
        assert relay.run_once() == Batch(sent=2)
    assert sink.events == [first, second, first, second]
    engine.dispose()
    admin.dispose()


def test_two_schemas_of_one_database_have_a_relay_each(database_url: str) -> None:
    """The lock is the table's: services that share a PostgreSQL database do not stand by for each other."""
    one = create_engine(database_url)
    with one.begin() as connection:
        connection.execute(text("CREATE SCHEMA other"))
    other = create_engine(database_url, connect_args={"options": "-csearch_path=other"})
    for engine in (one, other):
        create_tables(engine)
        put(engine, an_event())
    sink = FakeEventProducer()
    with OutboxRelay(one, sink) as a, OutboxRelay(other, sink) as b:
        assert (a.run_once().sent, b.run_once().sent) == (1, 1)
    one.dispose()
    other.dispose()


def test_a_database_that_cannot_keep_the_order_is_refused() -> None:
    """A dialect that the outbox was not made for is an error, not a silent loss of order."""
    engine = create_engine("sqlite://")
    engine.dialect.name = "oracle"
    with engine.connect() as connection, pytest.raises(UnsupportedDatabaseError, match="oracle"):
        enqueue(connection, an_event())
    with pytest.raises(UnsupportedDatabaseError):
        OutboxRelay(engine, FakeEventProducer()).run_once()
    engine.dispose()


def test_a_missing_table_is_an_error_of_the_database(url: str) -> None:
    """Without the table `run_once` raises SQLAlchemy's own error and holds nothing."""
    engine = create_engine(url)
    with pytest.raises(SQLAlchemyError):
        OutboxRelay(engine, FakeEventProducer()).run_once()
    engine.dispose()
