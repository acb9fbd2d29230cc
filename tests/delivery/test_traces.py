"""The attempts of a delivery belong to the trace in which its event was produced, however long it waited."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from hookstream.processors.delivery.attempts.spans import AttemptSpans
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.operations.embedded import EmbeddedKafka
from hookstream.processors.routing.router import Router, RouterConfig, run
from hookstream.producers.config import ProducerConfig
from hookstream.producers.event_producer import EventProducer
from hookstream.schemas.trace_context import HEADER, TraceContext
from tests.support.routing import EMBEDDED_PARTITIONS
from tests.support.targets import OK, Reply
from tests.support.values import an_event
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import Tracer

    from tests.support.delivery_world import DeliveryWorld

# A window and a memory of the log so small that a backlog can only be read again.
SMALL_WINDOW = {
    "window_records": 200,
    "read_ahead_records": 100,
    "buffer_records": 32,
    "resource_buffer_records": 4,
    "tail_records": 8,
    "probe_first_s": 0.4,
    "probe_steady_s": 0.4,
}


class Exported:
    """Spans that were exported, and tracers that export here."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._exporter = InMemorySpanExporter()

    def tracer(self, *, sampled: bool = True) -> Tracer:
        """A service's tracer, or the worker's."""
        provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        return provider.get_tracer("test")

    def attempts(self) -> list[tuple[int, int, int, str]]:
        """Trace, parent, client and result of each attempt's span."""
        return [
            (
                span.context.trace_id,
                span.parent.span_id if span.parent else 0,
                int(str((span.attributes or {})["hookstream.client"])),
                str((span.attributes or {})["hookstream.result"]),
            )
            for span in self._exporter.get_finished_spans()
            if span.name.startswith("deliver ")
        ]


@pytest.fixture
def exported() -> Exported:
    """Collect what is exported."""
    return Exported()


@pytest.fixture
def embedded_kafka() -> Iterator[EmbeddedKafka]:
    """One that outlives the world on it."""
    kafka = EmbeddedKafka()
    yield kafka
    kafka.stop()


@pytest.fixture
def embedded_world(embedded_kafka: EmbeddedKafka, make_world: Callable[..., DeliveryWorld]) -> DeliveryWorld:
    """A world on the embedded Kafka."""
    return make_world(embedded_kafka.bootstrap_servers, embedded=True, partitions=EMBEDDED_PARTITIONS)


@pytest.fixture
def tracing_router(embedded_world: DeliveryWorld) -> Iterator[Router]:
    """A router that carries traces."""
    stop = StopSignal()
    config = RouterConfig(
        kafka=embedded_world.config.kafka,
        topics=embedded_world.topics,
        catalogue=embedded_world.catalogue,
        tracing=True,
    )
    router = Router(config, embedded_world.registry, stop=stop, health=Health(), metrics=Metrics())
    thread = threading.Thread(target=run, args=(router, stop), daemon=True)
    thread.start()
    yield router
    stop.ask()
    thread.join(30)


def test_a_services_trace_reaches_the_attempt(
    embedded_world: DeliveryWorld, tracing_router: Router, exported: Exported
) -> None:
    """The span of an attempt is the child of the one in which the event was produced, if that one was sampled."""
    world = embedded_world
    world.hooks("one", "two", "three")
    worker = world.start(spans=AttemptSpans(exported.tracer()))
    eventually(lambda: tracing_router.ready, describe="the router is ready")
    config = ProducerConfig(
        bootstrap_servers=world.config.bootstrap_servers, schema_registry_url="mock://unused", topics=world.topics
    )
    with EventProducer(config, registry=world.registry) as producer:
        with exported.tracer().start_as_current_span("order placed") as span:
            producer.produce(an_event(client=1)).result(30)
        with exported.tracer(sampled=False).start_as_current_span("not sampled"):
            producer.produce(an_event(client=2)).result(30)
        producer.produce(an_event(client=3)).result(30)
    eventually(lambda: worker.metrics.worker.deliveries["delivered"] == 3, describe="all three are delivered")
    context = span.get_span_context()
    assert exported.attempts() == [(context.trace_id, context.span_id, 1, "delivered")]
    assert not any(HEADER in seen.headers for seen in world.accepted()), (
        "receivers without tracing do not hear of our traces"
    )


def progress(world: DeliveryWorld) -> list[tuple[int, int]]:
    """The committed offset and the end of each partition that has records."""
    ends = Counter(message.partition() for message in world.read_all(world.topics.deliveries))
    committed = world.committed()
    return [(committed[world.topics.deliveries, partition or 0].offset, end) for partition, end in ends.items()]


def test_a_backlog_keeps_its_traces(world: DeliveryWorld, exported: Exported) -> None:
    """What waited behind a cursor, and is read again from the log by another worker, belongs to its event's trace."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda _seen: Reply(503)
    worker = world.start(policy=SMALL_WINDOW, spans=AttemptSpans(exported.tracer()))
    traces = {}
    for number in range(1, 401):
        delivery = world.delivery(hook, number % 20)
        traces[number] = TraceContext(trace_id=number, span_id=number, sampled=True)
        world.sent.append(delivery)
        headers: list[tuple[str, str | bytes | None]] = [(HEADER, traces[number].encode())]
        world.producer.produce(world.topics.deliveries, world.encode(delivery), delivery.key, headers=headers)
    world.producer.flush(30)
    eventually(
        lambda: worker.metrics.worker.cursors and worker.metrics.worker.attempts["error-status"],
        describe="quarantined",
    )
    eventually(lambda: all(low >= high for low, high in progress(world)), describe="all of it is behind a cursor")
    worker.stop()
    world.targets.answer = lambda _seen: OK
    worker = world.start(policy=SMALL_WINDOW, spans=AttemptSpans(exported.tracer()))
    world.check_promises()
    eventually(lambda: worker.metrics.worker.deliveries["delivered"] == len(traces), describe="every answer is taken")
    spans = exported.attempts()
    delivered = {trace for trace, parent, _, result in spans if result == "delivered" and parent == trace}
    assert delivered == set(traces)
    assert any(result == "error-status" for _, _, _, result in spans), "attempts that fail have spans, too"
