"""What happens to deliveries when workers, targets and brokers fail, on a real broker."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.delivery_stage import DeliveryStage, StageConfig
from tests.support.delivery_world import most_requests
from tests.support.receiver import Receiver
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hookstream.schemas.delivery import Delivery
    from hookstream.schemas.hook import Hook
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import HurtableKafka, Kafka
    from tests.support.processes import Processes

PARTITIONS = 4
TARGETS = 5
RESOURCES = 8
PROBE_EVERY_S = 0.5


@pytest.fixture
def stage(kafka: Kafka, topics: TopicNames, request: pytest.FixtureRequest) -> Iterator[DeliveryStage]:
    made = DeliveryStage(
        StageConfig(
            bootstrap_servers=kafka.bootstrap_servers,
            prefix=topics.prefix,
            partitions=PARTITIONS,
            policy={"probe_first_s": PROBE_EVERY_S, "probe_steady_s": PROBE_EVERY_S},
            drain_timeout_s=3.0,
        )
    )
    if "processes" not in request.fixturenames:  # a worker in a thread cannot be killed
        made.let_sessions_last()
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


class Load:
    """Produces deliveries at a rate, in a thread, and judges what arrived."""

    def __init__(self, stage: DeliveryStage, hooks: Sequence[Hook], *, per_s: float) -> None:
        self.sent: list[Delivery] = []
        self._stage, self._hooks, self._every_s = stage, hooks, 1 / per_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stopping.wait(self._every_s):
            hook = self._hooks[number % len(self._hooks)]
            delivery = self._stage.delivery(hook, number // len(self._hooks) % RESOURCES)
            self._stage.produce_bytes(delivery.key, self._stage._encode(delivery))
            self.sent.append(delivery)
            number += 1

    def stop(self) -> list[Delivery]:
        self._stopping.set()
        self._thread.join()
        assert not self._stage.producer.flush(30)
        return self.sent


def judge(sent: Sequence[Delivery], receiver: Receiver, *, most_duplicates: int, deadline_s: float = WITHIN_S) -> None:
    """Nothing is lost, first deliveries of each resource are in order, duplicates are few."""
    wanted = {delivery.id for delivery in sent}
    eventually(lambda: wanted <= {request.id for request in receiver.accepted()}, deadline_s, describe="all delivered")
    ids = [request.id for request in receiver.accepted()]
    first: dict[str, int] = {}
    for place, id_ in enumerate(ids):
        first.setdefault(id_, place)
    lanes: dict[tuple[str, str], list[int]] = {}
    for delivery in sent:
        lanes.setdefault((delivery.client, delivery.concept_id), []).append(first[delivery.id])
    assert all(places == sorted(places) for places in lanes.values()), "first deliveries out of order"
    duplicates = sum(Counter(ids).values()) - len(wanted)
    assert duplicates <= most_duplicates


def hooks_for(stage: DeliveryStage, receiver: Receiver, count: int = TARGETS) -> list[Hook]:
    hooks = [stage.hook(n, n, receiver.url(f"t{n}")) for n in range(1, count + 1)]
    stage.publish(*hooks)
    return hooks


def test_kill_9_of_a_worker_under_load(stage: DeliveryStage, receiver: Receiver, processes: Processes) -> None:
    """A worker that is killed loses nothing and keeps the order; its successor repeats what was not committed yet."""
    hooks = hooks_for(stage, receiver)
    doomed = stage.spawn_worker(processes)
    load = Load(stage, hooks, per_s=300)
    eventually(lambda: len(receiver.accepted()) > 400, describe="it delivers")
    doomed.kill()
    unsettled = stage.unsettled()
    eventually(lambda: len(load.sent) > 900, describe="more arrives meanwhile")
    stage.start_worker()
    sent = load.stop()

    judge(sent, receiver, most_duplicates=max(350, unsettled))


def test_kill_9_while_an_endpoint_is_quarantined(
    stage: DeliveryStage, receiver: Receiver, processes: Processes
) -> None:
    """The next worker delivers the backlog of an endpoint that was down, in order, when the endpoint is back."""
    hooks = hooks_for(stage, receiver)
    receiver.answer = lambda path: 503 if path.endswith("t1") else 204
    began = time.monotonic()
    doomed = stage.spawn_worker(processes)
    load = Load(stage, hooks, per_s=200)
    eventually(lambda: len(receiver.accepted()) > 500, describe="the others are delivered")
    doomed.kill()
    unsettled = stage.unsettled()
    stage.start_worker()
    eventually(lambda: len(receiver.accepted()) > 900, describe="the others are delivered by the next")
    receiver.answer = lambda _path: 204
    refused = sum(request.answered == 503 for request in list(receiver.requests))
    sent = load.stop()

    judge(sent, receiver, most_duplicates=max(250, unsettled))
    assert refused <= most_requests(began, PROBE_EVERY_S, workers=2), "a dead endpoint is probed, not hammered"


def test_workers_that_join_and_leave_under_load(stage: DeliveryStage, receiver: Receiver) -> None:
    """Partitions move between workers without a loss, in order, and without a duplicate."""
    hooks = hooks_for(stage, receiver, 12)
    first = stage.start_worker()
    load = Load(stage, hooks, per_s=300)
    eventually(lambda: len(receiver.accepted()) > 300, describe="one delivers")
    second = stage.start_worker()
    eventually(lambda: len(second.worker.partitions) == 2, describe="it has its share")
    eventually(lambda: len(first.worker.partitions) == 2, describe="the first gave it away")
    eventually(lambda: second.metrics.worker.deliveries["delivered"] > 200, describe="both deliver")
    first.stop()
    eventually(lambda: len(second.worker.partitions) == 4, describe="the second has all")
    sent = load.stop()

    judge(sent, receiver, most_duplicates=0)


def test_the_classic_protocol_moves_partitions_too(stage: DeliveryStage, receiver: Receiver) -> None:
    """With `group.protocol=classic`, for older brokers, a join and a leave lose nothing and keep the order."""
    hooks = hooks_for(stage, receiver, 12)
    first = stage.start_worker(group_protocol="classic")
    eventually(lambda: len(first.worker.partitions) == 4, describe="the first has all")
    load = Load(stage, hooks, per_s=200)
    second = stage.start_worker(group_protocol="classic")
    eventually(lambda: len(second.worker.partitions) == 2, describe="it has its share")
    eventually(lambda: second.metrics.worker.deliveries["delivered"] > 50, describe="both deliver")
    first.stop()
    eventually(lambda: len(second.worker.partitions) == 4, describe="the second has all")
    sent = load.stop()

    judge(sent, receiver, most_duplicates=0)


def test_a_target_that_is_down_is_probed_and_gets_its_backlog_in_order(
    stage: DeliveryStage, receiver: Receiver
) -> None:
    """Other targets are served, and commits go on; once it is back, the target gets everything in order, once."""
    hooks = hooks_for(stage, receiver)
    receiver.answer = lambda path: 503 if path.endswith("t1") else 204
    began = time.monotonic()
    worker = stage.start_worker()
    load = Load(stage, hooks, per_s=400)
    eventually(lambda: len(receiver.accepted()) > 1500, describe="the others are delivered")
    refused = sum(request.answered == 503 for request in list(receiver.requests))
    assert refused <= most_requests(began, PROBE_EVERY_S)
    eventually(lambda: len(load.sent) - stage.committed_total() < 100, describe="what is owed does not hold the offset")
    receiver.answer = lambda _path: 204
    sent = load.stop()

    judge(sent, receiver, most_duplicates=0)
    eventually(lambda: stage.committed_total() == len(sent), describe="committed")
    eventually(lambda: worker.metrics.worker.cursors == 0, describe="no cursor is left")
    worker.stop()


def test_a_target_that_hangs_costs_the_others_nothing(stage: DeliveryStage, receiver: Receiver) -> None:
    """Requests to a target that never answers hold their places; other targets are served as if it were not there."""
    hooks = hooks_for(stage, receiver)
    let_go = threading.Event()

    def answer(path: str) -> int:
        if path.endswith("t1"):
            let_go.wait(300)
        return 204

    receiver.answer = answer
    worker = stage.start_worker(attempt_timeout_s=300.0)  # no place comes free while the others are served
    sent = [stage.delivery(hooks[n % TARGETS], n // TARGETS % RESOURCES) for n in range(2000)]
    stage.produce(sent)
    eventually(lambda: len(receiver.accepted()) == 1600, describe="the four others are delivered")
    assert not any(request.path.endswith("t1") for request in receiver.accepted())
    let_go.set()

    judge(sent, receiver, most_duplicates=0)
    worker.stop()


def test_a_broker_that_stops_answering_for_a_while(
    private_kafka: Callable[..., HurtableKafka], receiver: Receiver
) -> None:
    """A frozen broker delays deliveries; when it thaws, nothing is missing and the order is kept."""
    broker = private_kafka()
    stage = DeliveryStage(StageConfig(bootstrap_servers=broker.bootstrap_servers, partitions=PARTITIONS))
    try:
        hooks = hooks_for(stage, receiver)
        stage.start_worker()
        load = Load(stage, hooks, per_s=200)
        eventually(lambda: len(receiver.accepted()) > 200, describe="it delivers")
        broker.pause()
        frozen_at = len(receiver.accepted())
        threading.Event().wait(4)
        broker.resume()
        eventually(lambda: len(receiver.accepted()) > frozen_at + 500, describe="it delivers again")
        judge(load.stop(), receiver, most_duplicates=200)
    finally:
        broker.resume()
        stage.close()


def test_a_broker_that_is_killed_and_comes_back(
    private_kafka: Callable[..., HurtableKafka], receiver: Receiver
) -> None:
    """A kill -9 of the only broker: the worker waits for it, and goes on where it was."""
    broker = private_kafka()
    stage = DeliveryStage(StageConfig(bootstrap_servers=broker.bootstrap_servers, partitions=PARTITIONS))
    try:
        hooks = hooks_for(stage, receiver)
        stage.start_worker()
        load = Load(stage, hooks, per_s=200)
        eventually(lambda: len(receiver.accepted()) > 200, describe="it delivers")
        broker.kill()
        broker.start()
        delivered = len(receiver.accepted())
        eventually(lambda: len(receiver.accepted()) > delivered + 500, describe="it delivers again")
        judge(load.stop(), receiver, most_duplicates=200)
    finally:
        stage.close()
