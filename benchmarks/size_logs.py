"""What the benchmark at size needs a broker for: the relay, `lag` with a long backlog, the count of a replay."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from confluent_kafka import TopicPartition
from sqlalchemy import text

from benchmarks.builds import builds
from benchmarks.figures import Figure
from benchmarks.load import DELIVERIES, EVENTS, NAMESPACE
from benchmarks.replay import Replays, database, now_ms
from benchmarks.stack import PARTITIONS, NotMeasuredError
from hookstream.processors.kafka import group_consumer_config, make_consumer, make_producer, producer_config
from hookstream.processors.operations.queries.backlog import KafkaBacklogs, LookLimits
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.codecs.hooks import subscription_encoder
from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, Revision
from hookstream.subscriptions.choices import ReplaySource
from hookstream.subscriptions.publication import SeenRow, judge, publish_pending
from tests.support.subscriptions_api import Api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.builds import Build
    from benchmarks.size_data import Filling
    from benchmarks.stack import Stack

ROUNDS = 7
BATCH = 100  # as the relay has it
READ_AT_ONCE = 500  # as a reader of the topic has it
RELAY_BAR_PER_S = 5_000
IDLE_BAR_MS = 10.0
FIRST_LOOK_BAR_MS = 3_000.0
LOOK_BAR_MS = 130.0
COUNT_BAR_PER_S = 200_000
_COUNT_WITHIN_S = 1_800.0
_CLIENTS = range(1, 51)
# Marks so many of the newest hooks as changed, as a change of each would.
_CHANGE = """
UPDATE subscription_keys SET revision = revision + 1, updated_at_ms = updated_at_ms + hook_id % 1000
WHERE hook_id > :hooks - :rows
"""


def fastest_ms(work: Callable[[], object], *, rounds: int = ROUNDS) -> float:
    """The fastest of some rounds."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return min(taken)


def relay(stack: Stack, api: Api, filling: Filling, rows: int) -> list[Figure]:
    """Publish changed rows to a real broker, ask when there are none, and compare what a relay reads at its start."""
    with api.engine.begin() as connection:
        connection.execute(text(_CHANGE), {"hooks": filling.hooks, "rows": rows})
    encode = subscription_encoder(stack.schema_id(stack.topics.subscriptions))
    with SubscriptionWriter(stack.kafka, stack.topics.subscriptions, encode=encode) as writer:
        publish_pending(api.sessions, writer, limit=1)  # it connects
        began, total = time.perf_counter(), 0
        while published := publish_pending(api.sessions, writer, limit=BATCH):
            total += published
        took_s = time.perf_counter() - began
        if total < rows - 1:
            raise NotMeasuredError(f"published {total} of {rows} rows")
        idle_ms = fastest_ms(lambda: publish_pending(api.sessions, writer, limit=BATCH))
    return [
        Figure(name="relay", value=total / took_s, unit="rows/s", at_least=RELAY_BAR_PER_S),
        Figure(name="relay with nothing to publish", value=idle_ms, unit="ms", at_most=IDLE_BAR_MS),
        _compared(api, filling, rows),
    ]


def _compared(api: Api, filling: Filling, rows: int) -> Figure:
    first = filling.hooks - rows
    seen = [
        SeenRow(key=(filling.client(hook), filling.event(hook)), offset=0, revision=1)
        for hook in range(first + 1, filling.hooks + 1)
    ]
    began = time.perf_counter()
    for at in range(0, len(seen), READ_AT_ONCE):
        judge(api.sessions, seen[at : at + READ_AT_ONCE])
    return Figure(name="a relay's start", value=(time.perf_counter() - began) / rows * 1e6, unit="s/million rows")


def lag(stack: Stack, url: str, filling: Filling, pending: int) -> list[Figure]:
    """What `hookstream lag` asks for while one client has a long backlog: the first look, which reads it, and others.

    Every request looks at Kafka, which it does once a second at most otherwise.
    """
    hook = filling.first_living
    write_pending(stack, filling, hook, pending)
    decode = delivery_decoder(stack.schema_text)
    backlogs = KafkaBacklogs(stack.kafka, stack.topics, decode=decode, limits=LookLimits(fresh_for_s=0.0))
    with backlogs_api(url, backlogs) as api:
        asking = api.operator()
        answers: list[dict[str, Any]] = []

        def look() -> None:
            answers.append(asking("GET", "/endpoints?totals=true&limit=20").json())

        first_ms, later_ms = fastest_ms(look, rounds=1), fastest_ms(look)
        answer = answers[-1]
        counted = answer["totals"]["behind"]
        if counted != pending or answer["endpoints"][0]["hooks"][0]["id"] != hook:
            raise NotMeasuredError(f"counted {counted} of {pending}: {answer['endpoints'][:1]}")
    return [
        Figure(
            name=f"lag with {pending:,} pending, the first look", value=first_ms, unit="ms", at_most=FIRST_LOOK_BAR_MS
        ),
        Figure(name="a later look", value=later_ms, unit="ms", at_most=LOOK_BAR_MS),
    ]


@contextmanager
def backlogs_api(url: str, backlogs: KafkaBacklogs) -> Iterator[Api]:
    """The API, with backlogs that are read in Kafka."""
    api = Api(url, backlogs=backlogs)
    try:
        yield api
    finally:
        api.close()
        backlogs.close()


def write_pending(stack: Stack, filling: Filling, hook: int, count: int) -> None:
    """Write deliveries of one hook, which nothing delivers."""
    at_ms = now_ms()
    encode = delivery_encoder(stack.schema_id(stack.topics.deliveries))
    client = ClientId(filling.client(hook))
    producer = make_producer(producer_config(stack.kafka, linger_ms=5.0, message_timeout_ms=60_000))
    for n in range(count):
        delivery = Delivery(
            id=DeliveryId(f"msg_{n:032x}"),
            event=EventName(filling.event(hook)),
            client=client,
            concept_id=str(n % 5_000),
            namespace="lead",
            occurred_at_ms=at_ms,
            hook_id=HookId(hook),
            hook_revision=Revision(1),
            source_topic="events.lead",
            source_partition=0,
            source_offset=n,
            arrived_ms=at_ms,
            body=b'{"event":"lead.new","client":1,"concept":{"id":17,"namespace":"lead","sub_namespace":null}}',
        )
        producer.produce(stack.topics.deliveries, encode(delivery), delivery.key)
        if n % 1_000 == 0:
            producer.poll(0)
    if producer.flush(60):
        raise NotMeasuredError("the backlog was not acknowledged")


def replay_counts(stack: Stack, records: int) -> tuple[list[Figure], list[str]]:
    """Count a window of so many events, and of so many deliveries, by a replayer of each build."""
    stack.publish_hooks(_CLIENTS)
    topics = {ReplaySource.EVENTS: stack.topics.events(NAMESPACE), ReplaySource.DELIVERIES: stack.topics.deliveries}
    from_ms = now_ms() - 1000
    stack.fill(EVENTS, _CLIENTS, records)
    stack.fill(DELIVERIES, _CLIENTS, records)
    commit_as_routed(stack, topics[ReplaySource.EVENTS])
    figures, remarks = [], []
    for build in builds():
        for source in (ReplaySource.EVENTS, ReplaySource.DELIVERIES):
            rate, cpu_us, mib = _count(stack, build, source, from_ms, records)
            name = f"replay count of {source.value}, {build.name}"
            figures.append(Figure(name=name, value=rate, unit="records/s", at_least=COUNT_BAR_PER_S))
            remarks.append(f"{name}: {cpu_us:.1f} µs of CPU a record, {mib:.0f} MiB")
    return figures, remarks


def _count(stack: Stack, build: Build, source: ReplaySource, from_ms: int, records: int) -> tuple[float, float, float]:
    with database() as (url, sessions):
        role = stack.role("replayer", also={"DATABASE_URL": url}, build=build).wait_ready()
        cpu_s, began = role.cpu_s, time.monotonic()
        found = Replays(sessions).count(from_ms, now_ms(), rate_per_s=1_000.0, source=source, within_s=_COUNT_WITHIN_S)
        took_s, cpu_s, mib = time.monotonic() - began, role.cpu_s - cpu_s, role.peak_mib
        stack.stop(role)
    if found.count is None or found.count.deliveries < records:
        raise NotMeasuredError(f"counted {found.count} of {records}: {found.reason}")
    scanned = found.progress.scanned
    return scanned / took_s, cpu_s / scanned * 1e6, mib


def commit_as_routed(stack: Stack, topic: str) -> None:
    """Commit the ends of a topic for the routers, which a window ends at: nothing of it is left to route."""
    routers = make_consumer(group_consumer_config(stack.kafka, group=stack.topics.router_group))
    try:
        ends: Sequence[int] = stack.ends(topic)
        routers.commit(
            offsets=[TopicPartition(topic, partition, ends[partition]) for partition in range(PARTITIONS)],
            asynchronous=False,
        )
    finally:
        routers.close()
