"""One worker on a real broker: what it sends, what it commits, how it begins again."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition
from standardwebhooks import Webhook

from hookstream.processors.delivery.checkpoints.commit_metadata import decode_metadata, encode_metadata
from hookstream.processors.delivery.engine.tracker import SettledSet
from hookstream.processors.delivery.worker.delivery_loop import DeliveryLoop
from hookstream.processors.errors import StartRefusedError
from hookstream.processors.kafka import group_consumer_config, make_consumer
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.hook import HookState, Revision
from tests.support.delivery_stage import SECRET, DeliveryStage, StageConfig
from tests.support.receiver import Receiver
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.schemas.hook import Hook
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka

PARTITIONS = 4


@pytest.fixture
def stage(kafka: Kafka, topics: TopicNames) -> Iterator[DeliveryStage]:
    config = StageConfig(bootstrap_servers=kafka.bootstrap_servers, prefix=topics.prefix, partitions=PARTITIONS)
    made = DeliveryStage(config)
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


def one_hook(stage: DeliveryStage, receiver: Receiver, **fields: Any) -> Hook:
    hook = stage.hook(1, 9999, receiver.url("one"), **fields)
    stage.publish(hook)
    return hook


def received(receiver: Receiver, count: int, deadline_s: float = WITHIN_S) -> list[str]:
    eventually(lambda: len(receiver.accepted()) >= count, deadline_s, describe=f"{count} deliveries")
    return [request.id for request in receiver.accepted()]


def settled_everything(stage: DeliveryStage, total: int) -> bool:
    return stage.committed_total() == total


def alter_offset(stage: DeliveryStage, tp: TopicPartition) -> None:
    """Commit as an operator's tool would, while no worker lives."""
    consumer = make_consumer(group_consumer_config(stage.config.kafka, group=stage.topics.deliver_group))
    try:
        consumer.commit(offsets=[tp], asynchronous=False)
    finally:
        consumer.close()


def test_a_delivery_is_posted_as_promised(stage: DeliveryStage, receiver: Receiver) -> None:
    hook = one_hook(stage, receiver)
    delivery = stage.delivery(hook, 888999, source_partition=3, source_offset=77, occurred_at_ms=1_790_000_000_123)
    stage.produce([delivery])
    worker = stage.start_worker()
    received(receiver, 1)
    request = receiver.accepted()[0]

    assert request.body == (
        b'{"event":"property.updated","client":9999,'
        b'"concept":{"id":888999,"namespace":"property","sub_namespace":null}}'
    )
    assert request.headers["content-type"] == "application/json"
    assert request.id == delivery.id
    assert request.headers["hookstream-attempt"] == "1"
    assert request.headers["hookstream-sequence"] == f"{delivery.source_topic}:3:77"
    assert request.headers["hookstream-occurred-at"] == "1790000000123"
    assert re.fullmatch(r"hookstream/\S+", request.headers["user-agent"])
    assert "hookstream-replay" not in request.headers
    verified = Webhook(SECRET.reveal()).verify(request.body, request.headers)
    assert verified == json.loads(request.body)
    eventually(lambda: settled_everything(stage, 1), describe="committed")
    worker.stop()
    attempt = stage.attempts()[0]
    assert (attempt.delivery_id, attempt.number, attempt.status, attempt.result) == (delivery.id, 1, 204, "delivered")
    assert worker.metrics.worker.deliveries["delivered"] == 1


def test_deliveries_of_one_resource_arrive_in_order_and_once(stage: DeliveryStage, receiver: Receiver) -> None:
    hooks = [stage.hook(n, n, receiver.url(f"t{n}")) for n in range(1, 6)]
    stage.publish(*hooks)
    worker = stage.start_worker()
    sent = [stage.delivery(hooks[n % 5], n % 7) for n in range(1500)]
    stage.produce(sent)
    ids = received(receiver, 1500)

    assert len(set(ids)) == len(ids) == 1500
    place = {id_: index for index, id_ in enumerate(ids)}
    lanes: dict[tuple[str, str], list[int]] = {}
    for delivery in sent:
        lanes.setdefault((delivery.client, delivery.concept_id), []).append(place[delivery.id])
    assert all(places == sorted(places) for places in lanes.values())
    eventually(lambda: settled_everything(stage, 1500), describe="committed")
    worker.stop()


def test_a_restart_repeats_nothing_that_was_settled_above_the_committed_offset(
    stage: DeliveryStage, receiver: Receiver
) -> None:
    """The first delivery hangs, so the offset stands; what was settled above it is in the metadata."""
    slow = stage.hook(2, 9999, receiver.url("slow"), event="lead.new")
    hook = one_hook(stage, receiver)
    stage.publish(slow)
    let_go = threading.Event()

    def answer(path: str) -> int:
        if path.endswith("slow") and not let_go.is_set():
            let_go.wait(60)
            return 500
        return 204

    receiver.answer = answer
    stage.produce([stage.delivery(slow, 1), *(stage.delivery(hook, n) for n in range(200))], partition=0)
    worker = stage.start_worker(drain_timeout_s=0.3)
    received(receiver, 200)

    def all_but_the_first() -> bool:
        tp = stage.committed()[stage.topics.deliveries, 0]
        found = decode_metadata(tp.metadata)
        return found is not None and tp.offset == 0 and SettledSet(0, found.settled).end == 201

    eventually(all_but_the_first, describe="the commit shows what is settled above its offset")
    worker.stop()
    let_go.set()
    again = stage.start_worker()
    ids = received(receiver, 201)
    eventually(lambda: settled_everything(stage, 201), describe="committed")
    again.stop()

    assert len(receiver.accepted()) == len(set(ids)) == 201


def test_metadata_round_trips_through_the_broker(stage: DeliveryStage, receiver: Receiver) -> None:
    hook = one_hook(stage, receiver)
    stage.produce(stage.delivery(hook, n) for n in range(10))
    worker = stage.start_worker()
    eventually(lambda: settled_everything(stage, 10), describe="committed")
    worker.stop()
    for (topic, _), tp in stage.committed().items():
        found = decode_metadata(tp.metadata)
        assert found is not None, topic
        assert encode_metadata(found) == (tp.metadata or "").rstrip("\0")
        assert found.table_offset == 1
        assert found.pointer is None


def test_a_foreign_commit_is_refused_with_the_command_that_decides(stage: DeliveryStage, receiver: Receiver) -> None:
    hook = one_hook(stage, receiver)
    stage.produce([stage.delivery(hook, 1)], partition=0)
    worker = stage.start_worker()
    received(receiver, 1)
    worker.stop()
    tp = stage.committed()[stage.topics.deliveries, 0]
    found = decode_metadata(tp.metadata)
    assert found is not None
    foreign = encode_metadata(replace(found, log_digest=b"another!"))
    alter_offset(stage, TopicPartition(tp.topic, tp.partition, tp.offset, foreign))
    refused = stage.start_worker(ready=False).wait_ended()

    assert isinstance(refused, StartRefusedError)
    assert "hookstream recover --keep-owed" in str(refused)
    assert "another cluster" in str(refused)
    assert "\n" not in str(refused)


@pytest.mark.parametrize("metadata", ["9.AAAA", "of another program"])
def test_metadata_of_an_unknown_version_is_refused(stage: DeliveryStage, metadata: str) -> None:
    alter_offset(stage, TopicPartition(stage.topics.deliveries, 0, 0, metadata))
    refused = stage.start_worker(ready=False).wait_ended()

    assert isinstance(refused, StartRefusedError)


def test_an_offset_beyond_the_end_of_the_log_is_refused(stage: DeliveryStage) -> None:
    alter_offset(stage, TopicPartition(stage.topics.deliveries, 0, 5))
    refused = stage.start_worker(ready=False).wait_ended()

    assert isinstance(refused, StartRefusedError)
    assert "its log ends at 0" in str(refused)


def test_an_offset_set_by_hand_is_taken_where_nothing_is_owed(stage: DeliveryStage, receiver: Receiver) -> None:
    hook = one_hook(stage, receiver)
    sent = [stage.delivery(hook, n) for n in range(10)]
    stage.produce(sent, partition=0)
    alter_offset(stage, TopicPartition(stage.topics.deliveries, 0, 6))
    worker = stage.start_worker()
    ids = received(receiver, 4)
    worker.stop()

    assert set(ids) == {delivery.id for delivery in sent[6:]}


def test_offsets_that_are_gone_are_refused_while_a_state_owes(stage: DeliveryStage, receiver: Receiver) -> None:
    hook = one_hook(stage, receiver)
    receiver.answer = lambda _path: 500
    stage.produce((stage.delivery(hook, n) for n in range(20)), partition=0)
    worker = stage.start_worker()
    eventually(lambda: points_to_a_state(stage, 0), describe="a commit points to a state")
    worker.stop()
    alter_offset(stage, TopicPartition(stage.topics.deliveries, 0, 3))
    refused = stage.start_worker(ready=False).wait_ended()

    assert isinstance(refused, StartRefusedError)
    assert "a state has pending deliveries" in str(refused)


def points_to_a_state(stage: DeliveryStage, partition: int) -> bool:
    found = decode_metadata(stage.committed()[stage.topics.deliveries, partition].metadata)
    return found is not None and found.pointer is not None


def test_what_a_quarantined_endpoint_is_owed_survives_a_restart_and_arrives_in_order(
    stage: DeliveryStage, receiver: Receiver
) -> None:
    hook = one_hook(stage, receiver)
    receiver.answer = lambda _path: 503
    sent = [stage.delivery(hook, n % 5) for n in range(300)]
    stage.produce(sent, partition=0)
    worker = stage.start_worker(policy={"probe_first_s": 0.3, "probe_steady_s": 0.3})
    eventually(
        lambda: points_to_a_state(stage, 0) and stage.committed()[stage.topics.deliveries, 0].offset == 300,
        describe="everything is owed by a state, and the offset has moved on",
    )
    worker.stop()
    receiver.answer = lambda _path: 204
    again = stage.start_worker(policy={"probe_first_s": 0.3, "probe_steady_s": 0.3})
    ids = received(receiver, 300)
    eventually(lambda: not points_to_a_state(stage, 0), describe="nothing is owed any more")
    again.stop()

    assert len(ids) == len(set(ids)) == 300
    for resource in range(5):
        wanted = [delivery.id for delivery in sent if delivery.concept_id == str(resource)]
        assert [id_ for id_ in ids if id_ in set(wanted)] == wanted


def test_an_unreadable_record_is_a_dead_letter_before_it_is_passed(stage: DeliveryStage, receiver: Receiver) -> None:
    hook = one_hook(stage, receiver)
    stage.produce([stage.delivery(hook, 1)], partition=0)
    stage.produce_bytes(b"9999", b"\x00\x00\x00\x00\x63garbage", partition=0)
    stage.produce_bytes(b"9999", b"no avro", partition=0)
    stage.produce([stage.delivery(hook, 1)], partition=0)
    worker = stage.start_worker()
    received(receiver, 2)
    eventually(lambda: settled_everything(stage, 4), describe="committed")
    worker.stop()
    dead_letters = sorted(stage.dead_letters(), key=lambda dead_letter: dead_letter.offset)

    assert [dead_letter.offset for dead_letter in dead_letters] == [1, 2]
    assert {dead_letter.reason for dead_letter in dead_letters} == {DeadLetterReason.UNDECODABLE}
    assert dead_letters[1].record_value == b"no avro"
    assert dead_letters[1].client == "9999"
    assert worker.metrics.dead_letters["undecodable"] == 2


def test_an_exhausted_schedule_ends_in_a_dead_letter_with_the_last_answer(
    stage: DeliveryStage, receiver: Receiver
) -> None:
    hook = one_hook(stage, receiver)
    receiver.answer = lambda _path: 204
    stage.produce([stage.delivery(hook, 2)], partition=0)
    # Where a second passes between two attempts, the endpoint would be quarantined, and its probes spend no attempt.
    policy = {"full_schedule_s": [0.05, 0.05], "short_schedule_s": [0.05], "jitter": 0.0, "breaker_after_s": 600.0}
    worker = stage.start_worker(policy=policy)
    received(receiver, 1)
    poison = stage.hook(2, 9999, receiver.url("poison"), event="lead.new")
    stage.publish(poison)
    ok = stage.hook(3, 9999, receiver.url("poison"), event="user.new")
    stage.publish(ok)
    receiver.answer = lambda _path: 422 if poisoned["on"] else 204
    poisoned = {"on": False}
    stage.produce([stage.delivery(ok, 77)], partition=0)
    received(receiver, 2)
    poisoned["on"] = True
    bad = stage.delivery(poison, 1)
    stage.produce([bad], partition=0)
    eventually(stage.dead_letters, describe="a dead letter")
    worker.stop()
    dead_letter = stage.dead_letters()[0]

    assert dead_letter.delivery_id == bad.id
    assert (dead_letter.reason, dead_letter.last_status) == (DeadLetterReason.SCHEDULE, 422)
    assert dead_letter.record_value is not None


def test_a_410_disables_the_hook_at_once_and_says_so(stage: DeliveryStage, receiver: Receiver) -> None:
    hook = one_hook(stage, receiver)
    receiver.answer = lambda _path: 410
    stage.produce((stage.delivery(hook, n) for n in range(50)), partition=0)
    worker = stage.start_worker()
    eventually(stage.notices, describe="a notice")
    eventually(lambda: stage.committed()[stage.topics.deliveries, 0].offset == 50, describe="all is owed")
    sent = len(receiver.requests)
    notice = stage.notices()[0]

    assert (notice.hook_id, notice.kind, notice.revision) == (1, "gone", 1)
    assert sent <= 8, "what was in flight when the first 410 came"
    receiver.answer = lambda _path: 204
    stage.publish(replace(hook, revision=Revision(hook.revision + 1), state=HookState.DISABLED))
    stage.publish(replace(hook, revision=Revision(hook.revision + 2)))
    ids = received(receiver, 50)
    worker.stop()
    assert len(set(ids)) == 50


def test_a_secret_that_does_not_open_sends_nothing_unsigned_and_loses_nothing(
    stage: DeliveryStage, receiver: Receiver
) -> None:
    hook = one_hook(stage, receiver)
    stage.produce((stage.delivery(hook, n) for n in range(5)), partition=0)
    worker = stage.start_worker(master_key="42" * 32)
    eventually(lambda: worker.metrics.worker.attempts["blocked"] >= 2, describe="attempts that could not be made")
    worker.stop()
    assert not receiver.requests
    again = stage.start_worker(policy={"probe_first_s": 0.2, "probe_steady_s": 0.2})
    received(receiver, 5)
    again.stop()


def test_a_deleted_hook_s_deliveries_are_cancelled(stage: DeliveryStage, receiver: Receiver) -> None:
    hook = one_hook(stage, receiver, revision=2, state=HookState.DELETED)
    stage.produce([stage.delivery(hook, 1, hook_revision=1)], partition=0)
    worker = stage.start_worker()
    eventually(lambda: settled_everything(stage, 1), describe="committed")
    eventually(lambda: worker.metrics.worker.deliveries["cancelled"] == 1, describe="counted")
    worker.stop()
    assert not receiver.requests


def test_an_idle_worker_hardly_turns(stage: DeliveryStage, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[None] = []
    turn = DeliveryLoop._turn

    def counted(loop: DeliveryLoop) -> None:
        turns.append(None)
        turn(loop)

    monkeypatch.setattr(DeliveryLoop, "_turn", counted)
    worker = stage.start_worker()
    eventually(lambda: all(tp.offset == 0 for tp in stage.committed().values()), describe="the first commits")
    turns.clear()
    began = time.monotonic()
    assert not worker.stop_signal.wait(3.0)
    idle, seconds = len(turns), time.monotonic() - began
    worker.stop()
    # What a turn costs is measured by benchmarks.
    assert idle <= 20 * seconds, "it looks again and again at what nothing came of"
