"""A worker between retention, a registry that is down, an embedded broker and its own watchdog."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from hookstream.processors.delivery.checkpoints.commit_metadata import StatePointer, decode_metadata
from hookstream.processors.delivery.checkpoints.state_codec import StateKey, encode_state
from hookstream.processors.delivery.checkpoints.state_store import StateReader
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE
from hookstream.processors.delivery.group import inbox
from hookstream.processors.delivery.worker import restarts, state_sweep
from hookstream.processors.delivery.worker.internal_errors import InternalErrors
from hookstream.processors.kafka import make_consumer, reader_config
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.operations.embedded import EmbeddedKafka
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.schemas.catalogue import InternalSchema, subject
from hookstream.schemas.codecs.deliveries import delivery_encoder
from tests.support.delivery_stage import DeliveryStage, StageConfig, make_worker
from tests.support.receiver import Receiver
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.processors.delivery.worker.worker import DeliveryWorker
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

PARTITIONS = 4


@pytest.fixture
def stage(kafka: Kafka, topics: TopicNames) -> Iterator[DeliveryStage]:
    config = StageConfig(
        bootstrap_servers=kafka.bootstrap_servers,
        prefix=topics.prefix,
        partitions=PARTITIONS,
        policy={"probe_first_s": 0.3, "probe_steady_s": 0.3},
    )
    made = DeliveryStage(config)
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


def delete_below(stage: DeliveryStage, partition: int, offset: int) -> None:
    """Do what retention does."""
    admin = AdminClient({"bootstrap.servers": stage.config.bootstrap_servers})
    where = TopicPartition(stage.topics.deliveries, partition, offset)
    for done in admin.delete_records([where]).values():
        done.result(WITHIN_S)


def outlast_fetches(stage: DeliveryStage) -> None:
    """Return when the broker has answered every fetch that waits for records now.

    One of our own that comes later, and may wait longer, has been told then that there are none.
    """
    consumer = make_consumer(reader_config(stage.config.kafka, own={"fetch.wait.max.ms": 1000}))
    try:
        consumer.assign([TopicPartition(stage.topics.dead_letters, 0, 0)])
        told = eventually(lambda: consumer.poll(0.2))
        error = None if told is None else told.error()
        assert error is not None
        assert error.code() == KafkaError._PARTITION_EOF
    finally:
        consumer.close()


def ids_of(receiver: Receiver) -> list[str]:
    return [request.id for request in receiver.accepted()]


def test_what_retention_took_from_a_cursor_is_counted_and_the_rest_arrives(
    stage: DeliveryStage, receiver: Receiver
) -> None:
    hook = stage.hook(1, 9999, receiver.url("one"))
    stage.publish(hook)
    receiver.answer = lambda _path: 503
    sent = [stage.delivery(hook, n % 3) for n in range(200)]
    stage.produce(sent, partition=0)
    worker = stage.start_worker()
    eventually(lambda: stage.committed()[stage.topics.deliveries, 0].offset == 200, describe="all is owed")
    delete_below(stage, 0, 50)
    worker.stop()
    again = stage.start_worker()
    receiver.answer = lambda _path: 204
    eventually(lambda: set(ids_of(receiver)) >= {delivery.id for delivery in sent[50:]}, describe="the rest")
    eventually(lambda: again.metrics.expired >= 50, describe="counted")
    eventually(lambda: again.metrics.worker.cursors == 0, describe="no cursor is left")
    again.stop()


def test_a_commit_below_the_log_goes_on_where_the_log_begins(stage: DeliveryStage, receiver: Receiver) -> None:
    hook = stage.hook(1, 9999, receiver.url("one"))
    stage.publish(hook)
    worker = stage.start_worker()
    eventually(lambda: len(worker.worker.partitions) == PARTITIONS, describe="owned")
    worker.stop()
    sent = [stage.delivery(hook, n) for n in range(20)]
    stage.produce(sent, partition=0)
    delete_below(stage, 0, 12)
    again = stage.start_worker()
    eventually(lambda: len(receiver.accepted()) == 8, describe="the rest")
    eventually(lambda: again.metrics.expired == 12, describe="counted")
    again.stop()
    assert ids_of(receiver) == [delivery.id for delivery in sent[12:]] or set(ids_of(receiver)) == {
        delivery.id for delivery in sent[12:]
    }


def test_retention_that_overtakes_a_suspended_worker_is_noticed(
    stage: DeliveryStage, receiver: Receiver, processes: Processes
) -> None:
    hook = stage.hook(1, 9999, receiver.url("one"))
    stage.publish(hook)
    worker = stage.spawn_worker(processes)
    stage.produce([stage.delivery(hook, 0)], partition=0)
    eventually(lambda: len(receiver.accepted()) == 1, describe="it delivers")
    worker.pause()
    outlast_fetches(stage)
    sent = [stage.delivery(hook, n) for n in range(20)]
    stage.produce(sent, partition=0)
    delete_below(stage, 0, 15)
    worker.resume()
    eventually(lambda: len(receiver.accepted()) == 7, describe="the rest arrives")
    worker.wait_until(lambda: "records were deleted before they were read" in worker.log_text(), what="an alert")
    stage.produce((stage.delivery(hook, n) for n in range(5)), partition=0)
    eventually(lambda: len(receiver.accepted()) == 12, describe="what comes afterwards")
    assert worker.terminate() == 0
    assert stage.committed()[stage.topics.deliveries, 0].offset == 26


class FlakyRegistry:
    """The stage's registry, which can be away."""

    def __init__(self, registry: Any) -> None:
        self.away = False
        self.asked = 0
        self._registry = registry

    def schema_text_by_id(self, schema_id: int, /) -> str:
        self.asked += 1
        if self.away:
            raise RegistryUnavailableError("the registry is down")
        return str(self._registry.schema_text_by_id(schema_id))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)


def newer_schema(stage: DeliveryStage) -> int:
    """Register what a later release would write deliveries with."""
    text = InternalSchema.DELIVERY.text
    later = text.replace('"fields":[', '"fields":[{"name":"later","type":["null","string"],"default":null},')
    assert later != text
    return stage.registry.register(subject(stage.topics.deliveries), later)


def test_a_registry_that_is_unavailable_makes_no_record_undecodable_and_holds_only_its_own_partition(
    stage: DeliveryStage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 records of a new schema stand still in one partition, far over what may wait; the others flow."""
    monkeypatch.setattr(inbox, "MAX_WAITING_RECORDS", 100)
    monkeypatch.setattr(inbox, "PAUSE_AFTER_S", 0.05)
    registry = FlakyRegistry(stage.registry)
    schema_id = newer_schema(stage)
    stage.registry = registry  # type: ignore[assignment]
    hook, other = stage.hook(1, 9999, receiver.url("one")), stage.hook(2, 2, receiver.url("two"))
    stage.publish(hook, other)
    worker = stage.start_worker()
    eventually(lambda: len(worker.worker.partitions) == PARTITIONS, describe="owned")
    registry.away = True
    encode = delivery_encoder(schema_id)
    held = [stage.delivery(hook, n % 5) for n in range(500)]
    for delivery in held:  # the new field is null
        value = encode(delivery)
        stage.produce_bytes(delivery.key, value[:5] + b"\x00" + value[5:], partition=0)
    assert not stage.producer.flush(WITHIN_S)
    eventually(lambda: not worker.health.ready, describe="it says that it is not ready")
    flowing = [stage.delivery(other, n % 5) for n in range(300)]
    for first in range(0, len(flowing), 20):  # in many reads: some come while what came before still waits
        stage.produce(flowing[first : first + 20], partition=1)
    eventually(lambda: len(receiver.accepted()) == 300, describe="the other partition flows")
    registry.away = False
    eventually(lambda: len(receiver.accepted()) == 800, describe="everything")
    eventually(lambda: worker.health.ready, describe="it is ready again")
    worker.stop()

    ids = ids_of(receiver)
    for resource in range(5):
        wanted = [delivery.id for delivery in held if delivery.concept_id == str(resource)]
        assert [id_ for id_ in ids if id_ in set(wanted)] == wanted
    assert not stage.dead_letters()


def test_a_partition_that_was_paused_when_it_went_flows_when_it_comes_back(
    stage: DeliveryStage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka's client keeps a pause over assignments; a worker that gets the partition again must not."""
    monkeypatch.setattr(inbox, "MAX_WAITING_RECORDS", 100)
    monkeypatch.setattr(inbox, "PAUSE_AFTER_S", 0.05)
    schema_id = newer_schema(stage)
    sound, stage.registry = stage.registry, FlakyRegistry(stage.registry)  # type: ignore[assignment]
    hook = stage.hook(1, 9999, receiver.url("one"))
    stage.publish(hook)
    worker = stage.start_worker(group_protocol="classic")
    eventually(lambda: len(worker.worker.partitions) == PARTITIONS, describe="owned")
    stage.registry.away = True  # type: ignore[attr-defined]
    encode = delivery_encoder(schema_id)
    for number in range(500):
        value = encode(stage.delivery(hook, number))
        stage.produce_bytes(b"9999", value[:5] + b"\x00" + value[5:], partition=0)
    assert not stage.producer.flush(WITHIN_S)
    eventually(
        lambda: worker.worker.running is not None and worker.worker.running.composition.poll.inboxes.paused,
        describe="the partition is paused",
    )
    flaky, stage.registry = stage.registry, sound
    other = stage.start_worker(group_protocol="classic")
    eventually(lambda: len(other.worker.partitions) == PARTITIONS // 2, describe="it has its share")
    other.stop()
    eventually(lambda: len(worker.worker.partitions) == PARTITIONS, describe="all are back")
    flaky.away = False  # type: ignore[attr-defined]
    eventually(lambda: len(set(ids_of(receiver))) == 500, describe="everything")
    worker.stop()


def test_a_replay_is_delivered_with_its_job(stage: DeliveryStage, receiver: Receiver) -> None:
    hook = stage.hook(1, 9999, receiver.url("one"))
    stage.publish(hook)
    live = stage.delivery(hook, 1)
    worker = stage.start_worker()
    stage.produce([live], partition=0)
    eventually(lambda: len(receiver.accepted()) == 1, describe="the first delivery")
    stage.produce(
        [stage.delivery(hook, 1, id=live.id, replay="job 7", live_end=1)], partition=0, topic=stage.topics.replays
    )
    eventually(lambda: len(receiver.accepted()) == 2, describe="the replay")
    eventually(lambda: stage.committed()[stage.topics.replays, 0].offset == 1, describe="committed")
    worker.stop()
    again = receiver.accepted()[1]
    assert again.id == live.id
    assert again.headers["hookstream-replay"] == "job?7"


def test_states_that_no_commit_names_are_deleted_and_the_one_that_counts_is_not(
    stage: DeliveryStage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = stage.hook(1, 9999, receiver.url("one"))
    stage.publish(hook)
    receiver.answer = lambda _path: 410  # a state that does not change any more
    stage.produce((stage.delivery(hook, n) for n in range(20)), partition=0)
    worker = stage.start_worker()
    eventually(lambda: state_ids(stage) != set(), describe="a state")
    worker.stop()
    orphan = StateKey(stage.topics.deliveries, 0, b"orphaned", 0)
    stage.producer.produce(stage.topics.delivery_state, encode_state(EMPTY_STATE), orphan.encode(), 0)
    assert not stage.producer.flush(WITHIN_S)
    assert b"orphaned" in state_ids(stage)
    pointer = pointer_of(stage)
    assert pointer is not None
    monkeypatch.setattr(state_sweep, "_OLD_MS", -60_000)  # whatever is there is old enough
    monkeypatch.setattr(state_sweep, "SWEEP_AFTER_S", 2.0)
    again = stage.start_worker()
    eventually(lambda: b"orphaned" not in state_ids(stage), describe="the orphan is deleted")
    assert pointer_of(stage) == pointer
    assert pointer.id in state_ids(stage)
    again.stop()


def state_ids(stage: DeliveryStage) -> set[bytes]:
    """Ids of the states of partition 0 that have no tombstone."""
    reader = StateReader(stage.config.kafka, stage.topics.delivery_state)
    try:
        return {key.state_id for key in reader.states(stage.topics.deliveries, 0)}
    finally:
        reader.close()


def pointer_of(stage: DeliveryStage) -> StatePointer | None:
    """What the commit of partition 0 points to."""
    found = decode_metadata(stage.committed()[stage.topics.deliveries, 0].metadata)
    return None if found is None else found.pointer


def test_a_worker_on_the_embedded_broker() -> None:
    kafka = EmbeddedKafka()
    stage = DeliveryStage(StageConfig(bootstrap_servers=kafka.bootstrap_servers, embedded=True, partitions=PARTITIONS))
    try:
        with Receiver() as receiver:
            hook = stage.hook(1, 9999, receiver.url("one"))
            stage.publish(hook)
            worker = stage.start_worker(policy={"probe_first_s": 0.2, "probe_steady_s": 0.2})
            stage.produce(stage.delivery(hook, n % 5) for n in range(200))
            eventually(lambda: len(receiver.accepted()) == 200, describe="delivered")
            receiver.answer = lambda _path: 503
            stage.produce(stage.delivery(hook, n % 5) for n in range(50))
            eventually(lambda: stage.committed_total() == 250, describe="owed")
            receiver.answer = lambda _path: 204
            eventually(lambda: len(set(ids_of(receiver))) == 250, describe="healed")
            worker.stop()
            again = stage.start_worker()
            stage.produce([stage.delivery(hook, 1)])
            eventually(lambda: len(set(ids_of(receiver))) == 251, describe="the next worker goes on")
            again.stop()
            assert len(ids_of(receiver)) == 251
    finally:
        stage.close()
        kafka.stop()


def test_sigterm_commits_and_ends_in_order(stage: DeliveryStage, receiver: Receiver, processes: Processes) -> None:
    hook = stage.hook(1, 9999, receiver.url("one"))
    stage.publish(hook)
    worker = stage.spawn_worker(processes)
    stage.produce(stage.delivery(hook, n) for n in range(100))
    eventually(lambda: len(receiver.accepted()) == 100, describe="delivered")
    assert worker.terminate() == 0
    # It waits a second for the answer to its last commit; a slow broker takes that commit a moment later.
    eventually(lambda: stage.committed_total() == 100, describe="committed")


def test_a_worker_that_hangs_dumps_its_stacks_and_ends(processes: Processes) -> None:
    script = (
        "import threading; from hookstream.processors.delivery.worker.watchdog import Watchdog;"
        "Watchdog(lambda: {'loop': 1.0}, hangs_after_s=0.3, look_every_s=0.1).start(); threading.Event().wait(30)"
    )
    hanging = processes.python("-c", script)
    assert hanging.wait() == 70
    assert "a thread stands still" in hanging.log_text()
    assert "Thread 0x" in hanging.log_text()


def test_a_suspended_worker_that_lost_its_partitions_sends_nothing_more(
    stage: DeliveryStage, receiver: Receiver, processes: Processes
) -> None:
    """The session is 6 s here: after it another has the partitions and delivers; the first wakes up and is fenced."""
    hook = stage.hook(1, 9999, receiver.url("one"))
    stage.publish(hook)
    zombie = stage.spawn_worker(processes)
    stage.produce(stage.delivery(hook, n) for n in range(50))
    eventually(lambda: len(receiver.accepted()) == 50, describe="delivered")
    eventually(lambda: stage.committed_total() == 50, describe="committed")
    zombie.pause()
    stage.produce(stage.delivery(hook, n) for n in range(50))
    successor = stage.start_worker()
    eventually(lambda: len(receiver.accepted()) == 100, describe="the successor delivers")
    eventually(lambda: stage.committed_total() == 100, describe="committed")
    zombie.resume()
    stage.produce(stage.delivery(hook, n) for n in range(50))
    eventually(lambda: len(set(ids_of(receiver))) == 150, describe="the rest")
    eventually(lambda: stage.committed_total() == 150, describe="committed")
    zombie.signal(signal.SIGTERM)
    zombie.wait()
    successor.stop()
    assert len(ids_of(receiver)) == 150


def test_a_worker_that_met_a_bug_is_followed_by_another_in_its_process(
    stage: DeliveryStage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group is left, another member takes its partitions, and what was settled is not sent again."""
    monkeypatch.setattr(restarts, "FIRST_WAIT_S", 0.1)
    stop, health, metrics = StopSignal(), Health(), Metrics()
    made: list[DeliveryWorker] = []
    errors = InternalErrors(metrics)

    def make() -> DeliveryWorker:
        made.append(make_worker(stage.config, stage.registry, stage.catalogue, stop, health, metrics))
        return made[-1]

    def run() -> None:
        restarts.run_with_restarts(make, stop=stop, health=health, report_error=errors.report)

    hook = stage.hook(1, 9999, receiver.url("one"))
    stage.publish(hook)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        eventually(lambda: made and health.ready and len(made[0].partitions) == PARTITIONS)
        before = [stage.delivery(hook, n) for n in range(20)]
        stage.produce(before, partition=0)
        eventually(lambda: stage.committed()[stage.topics.deliveries, 0].offset == 20, describe="settled")
        running = made[0].running
        assert running is not None
        running.composition.failure.fail_from_thread(ZeroDivisionError())
        eventually(lambda: len(made) == 2, describe="made again")
        assert made[0].ended
        after = [stage.delivery(hook, n) for n in range(20)]
        stage.produce(after, partition=0)
        eventually(lambda: len(receiver.accepted()) == 40, describe="delivered by the second one")
        assert [worker.ended for worker in made] == [True, False]
        eventually(lambda: health.ready, describe="ready again")
    finally:
        stop.ask()
        thread.join(WITHIN_S)
    assert not thread.is_alive()
    assert sorted(ids_of(receiver)) == sorted(delivery.id for delivery in before + after)
    assert metrics.worker.internal_errors["worker"] == 1
