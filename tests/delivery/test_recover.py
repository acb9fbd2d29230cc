"""Promise: `hookstream recover` makes every partition start that a worker refused; `--keep-owed` loses nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from hookstream.processors.delivery.checkpoints.commit_metadata import StatePointer, encode_metadata
from hookstream.processors.delivery.checkpoints.partition_recovery import PendingDeliveries
from hookstream.processors.delivery.checkpoints.state_codec import StateKey
from hookstream.processors.errors import GroupIsLiveError, StartRefusedError
from hookstream.processors.operations.recover import GroupRecovery
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from tests.support.deployment import Done, hookstream
from tests.support.kafka_broker import admin, delete_topic
from tests.support.targets import HANG, OK, Reply, Seen
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.support.delivery_world import DeliveryWorld
    from tests.support.kafka_broker import Kafka

OWED = 20


def recover(world: DeliveryWorld, *args: str) -> Done:
    """Run the command."""
    env = {
        "HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS": world.config.bootstrap_servers,
        "HOOKSTREAM_TOPIC_PREFIX": world.topics.prefix,
    }
    return hookstream("recover", *args, env=env)


def refused(world: DeliveryWorld, *args: str) -> dict[int, dict[str, Any]]:
    """What a run found refused of `deliveries`, by partition."""
    done = recover(world, *args, "--json")
    assert done.code == 0, done.err
    rows = [row for row in done.json()["partitions"] if row["refused"]]
    return {row["partition"]: row for row in rows if row["topic"] == world.topics.deliveries}


def leave_backlog(world: DeliveryWorld, partitions: Iterable[int]) -> DeliveryWorld:
    """In each partition twenty deliveries are owed by a state, the offset has passed them, and no worker runs."""
    numbers = list(partitions)
    hooks = world.hooks(*(f"p{n}" for n in numbers))
    world.targets.answer = lambda _seen: Reply(500)
    for number, hook in zip(numbers, hooks, strict=True):
        world.send(hook, range(OWED), partition=number)
    worker = world.start()
    eventually(
        lambda: all(world.commit_of(n)[0] == OWED and world.pointer_of(n) for n in numbers),
        describe="everything is owed by a state",
    )
    worker.stop()
    world.targets.answer = lambda _seen: OK
    return world


def set_by_hand(world: DeliveryWorld, partition: int) -> None:
    """What `kafka-consumer-groups.sh --reset-offsets --to-latest` leaves."""
    world.alter_offset(TopicPartition(world.topics.deliveries, partition, OWED))


def of_another_cluster(world: DeliveryWorld, partition: int) -> None:
    """What a mirror brings along."""
    _rewrite(world, partition, log_digest=b"elsewher")


def of_a_later_release(world: DeliveryWorld, partition: int) -> None:
    """What a rolled back release finds."""
    world.alter_offset(TopicPartition(world.topics.deliveries, partition, OWED, "9.AAAA"))


def of_another_program(world: DeliveryWorld, partition: int) -> None:
    """Another program's metadata."""
    world.alter_offset(TopicPartition(world.topics.deliveries, partition, OWED, "of another program"))


def beyond_the_end(world: DeliveryWorld, partition: int) -> None:
    """What a log leaves that lost its end in an unclean election."""
    offset, metadata = world.commit_of(partition)
    assert metadata is not None
    text = encode_metadata(metadata)
    world.alter_offset(TopicPartition(world.topics.deliveries, partition, offset + 1_000, text))


def without_its_state(world: DeliveryWorld, partition: int) -> None:
    """The state that the commit points to is gone."""
    _, metadata = world.commit_of(partition)
    assert metadata is not None
    assert metadata.pointer is not None
    _rewrite(world, partition, pointer=replace(metadata.pointer, id=b"nowhere!"))


def with_a_state_of_a_later_release(world: DeliveryWorld, partition: int) -> None:
    """The commit points to a state that this release cannot read."""
    key = StateKey(world.topics.deliveries, partition, b"later789", 0).encode()
    state_topic = world.topics.delivery_state
    _, high = _watermarks(world, state_topic, partition)
    world.produce_bytes(key, b"\x09whatever", partition=partition, topic=state_topic)
    assert not world.producer.flush(20)
    _rewrite(world, partition, pointer=StatePointer(b"later789", 1, high, high))


DAMAGES: tuple[Callable[[DeliveryWorld, int], None], ...] = (
    set_by_hand,
    of_another_cluster,
    of_a_later_release,
    of_another_program,
    beyond_the_end,
    without_its_state,
    with_a_state_of_a_later_release,
)


def _rewrite(world: DeliveryWorld, partition: int, **changes: Any) -> None:
    offset, metadata = world.commit_of(partition)
    assert metadata is not None
    text = encode_metadata(replace(metadata, **changes))
    world.alter_offset(TopicPartition(world.topics.deliveries, partition, offset, text))


def _watermarks(world: DeliveryWorld, topic: str, partition: int) -> tuple[int, int]:
    recovery = GroupRecovery(world.config.kafka, world.topics)
    try:
        return recovery._states.watermarks(topic, partition)
    finally:
        recovery.close()


@pytest.fixture
def damaged(kafka: Kafka, make_world: Callable[..., DeliveryWorld]) -> DeliveryWorld:
    """A partition for each thing that may have been done to it, all of them refused, and one that is well."""
    world = make_world(kafka.bootstrap_servers, partitions=len(DAMAGES) + 1)
    leave_backlog(world, range(len(DAMAGES) + 1))
    for partition, damage in enumerate(DAMAGES):
        damage(world, partition)
    assert isinstance(world.start(ready=False).wait_ended(), StartRefusedError)
    return world


def test_keep_owed_mends_every_refusal_and_loses_nothing(damaged: DeliveryWorld) -> None:
    """A dry run changes nothing; `--yes` makes every partition start, and everything that was owed is delivered."""
    before = {key: (tp.offset, tp.metadata) for key, tp in damaged.committed().items()}
    dry = recover(damaged, "--keep-owed")
    assert "nothing was changed" in dry.err
    assert dry.out.count("\n") == 1 + len(DAMAGES)
    assert {key: (tp.offset, tp.metadata) for key, tp in damaged.committed().items()} == before

    assert set(refused(damaged, "--keep-owed", "--partition", "0", "--yes")) == {0}
    done = recover(damaged, "--keep-owed", "--yes")
    assert done.code == 0, done.err
    assert done.err.count("a partition was recovered") == len(DAMAGES) - 1, "each is a line in the log"
    assert "cli " in done.err
    assert "there is nothing to recover" in recover(damaged, "--keep-owed", "--yes").out
    assert damaged.commit_of(len(DAMAGES))[0] == OWED, "the one that was well is as it was"

    damaged.start()
    damaged.check_promises()
    assert len(damaged.accepted()) <= len(damaged.sent) + damaged.duplicates()


def test_forget_mends_every_refusal_and_delivers_what_is_new(damaged: DeliveryWorld) -> None:
    """After `--forget` partitions start, nothing of what was owed is delivered, and what comes then is."""
    done = recover(damaged, "--forget", "--yes")
    assert done.code == 0, done.err
    found = [(StateKey.decode(m.key()), m) for m in damaged.read_all(damaged.topics.delivery_state)]
    of_deliveries = damaged.topics.deliveries
    states = [m for key, m in found if key and key.topic == of_deliveries and key.partition < len(DAMAGES)]
    assert {m.key() for m in states if m.value() is not None} == {m.key() for m in states if m.value() is None}

    forgotten = {delivery.id for delivery in damaged.sent[: OWED * len(DAMAGES)]}
    hook = damaged.hook(1, 1, damaged.targets.url("p0"))
    fresh = [made for p in range(len(DAMAGES)) for made in damaged.send(hook, [77 + p], partition=p)]
    damaged.start()
    damaged.wait_all(of=[*fresh, *damaged.sent[OWED * len(DAMAGES) : OWED * (len(DAMAGES) + 1)]])
    assert not forgotten & {seen.id for seen in damaged.accepted()}


def test_a_group_that_was_deleted_begins_with_everything_there_is(world: DeliveryWorld) -> None:
    """Without any offset `--keep-owed` begins at the first record; partitions that owe nothing start by themselves."""
    leave_backlog(world, [0])
    client = admin(world.config.bootstrap_servers)
    eventually(lambda: _deleted(client, world.topics.deliver_group), describe="the group is deleted")
    assert set(refused(world, "--keep-owed", "--yes")) == {0}
    world.start()
    assert world.check_promises() == 0


def _deleted(client: AdminClient, group: str) -> bool:
    try:
        client.delete_consumer_groups([group])[group].result(20)
    except Exception:  # noqa: BLE001 - it is not empty yet
        return False
    return True


def test_a_topic_that_was_made_anew_is_delivered_whole(world: DeliveryWorld) -> None:
    """Offsets of the old log say nothing: `--keep-owed` delivers every record of the new one."""
    leave_backlog(world, [0])
    topic = world.topics.deliveries
    delete_topic(world.config.bootstrap_servers, topic)
    specs = topic_specs(world.topics, world.catalogue, TopicLimits(partitions=world.config.partitions))
    create_topics(world.config.kafka, [spec for spec in specs if spec.name == topic])
    (hook,) = world.hooks("p0")
    fresh = world.send(hook, range(OWED + 5), partition=0)
    shown = refused(world, "--keep-owed", "--yes")
    assert 0 in shown
    assert all(row["begins_at"] == 0 for row in shown.values())
    world.start()
    world.wait_all(of=fresh)


def test_what_was_under_way_when_offsets_were_reset_is_owed_too(world: DeliveryWorld) -> None:
    """A delivery in flight below every cursor is not skipped by `--keep-owed`: it goes a window below them."""
    slow, bad = world.hooks("slow", "bad")

    def answer(seen: Seen) -> Reply:
        return HANG if seen.path == "/slow" else Reply(500)

    world.targets.answer = answer
    world.send(slow, [1], partition=0)
    world.send(bad, range(OWED), partition=0)
    worker = world.start(drain_timeout_s=0.5, attempt_timeout_s=300.0)
    eventually(
        lambda: world.commit_of()[0] == 0 and (m := world.commit_of()[1]) is not None and m.pointer is not None,
        describe="a state owes, and the first record is in flight",
    )
    worker.stop()
    world.targets.answer = lambda _seen: OK
    world.alter_offset(TopicPartition(world.topics.deliveries, 0, OWED + 1))
    assert refused(world, "--keep-owed", "--yes")[0]["begins_at"] == 0
    world.start()
    world.check_promises()


class KilledError(Exception):
    """kill -9 at this line."""


@pytest.mark.parametrize("line", ["_commit", "_write_tombstones"])
def test_killed_in_the_middle_it_is_simply_run_again(
    world: DeliveryWorld, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """Killed before its commit nothing is changed; killed after it nothing is missing. No state goes before it may."""
    leave_backlog(world, [0])
    set_by_hand(world, 0)

    def die(*_: object) -> None:
        raise KilledError

    recovery = GroupRecovery(world.config.kafka, world.topics)
    with monkeypatch.context() as patched:
        patched.setattr(GroupRecovery, line, die)
        findings = recovery.survey(PendingDeliveries.KEEP)
        with pytest.raises(KilledError):
            recovery.mend(findings, pending=PendingDeliveries.KEEP, actor="test")
    recovery.close()
    assert set(refused(world, "--keep-owed", "--yes")) == ({0} if line == "_commit" else set())
    world.start()
    assert world.check_promises() == 0


def test_a_live_group_is_refused(world: DeliveryWorld) -> None:
    """While the group has a member, nothing is read or changed, and Kafka refuses the command's commits."""
    leave_backlog(world, [0])
    set_by_hand(world, 0)
    recovery = GroupRecovery(world.config.kafka, world.topics)
    findings = recovery.survey(PendingDeliveries.KEEP)
    assert recover(world, "--keep-owed", "--yes", "--partition", "0").code == 0
    worker = world.start()
    eventually(lambda: worker.worker.partitions, describe="it is a member")
    for mode in ("--keep-owed", "--forget"):
        done = recover(world, mode, "--yes")
        assert done.code == 1
        assert "has 1 members: stop all workers first" in done.err
        assert len(done.err.splitlines()) == 1
    with pytest.raises(GroupIsLiveError):
        recovery.mend(findings, pending=PendingDeliveries.KEEP, actor="test")
    with pytest.raises(GroupIsLiveError):
        recovery._commit([TopicPartition(world.topics.deliveries, 0, 3, "")])
    recovery.close()
    world.check_promises()


def test_it_is_told_what_to_do(world: DeliveryWorld) -> None:
    """The command needs one of the two answers, and an existing partition."""
    for args in ((), ("--keep-owed", "--forget")):
        done = recover(world, *args)
        assert done.code == 2
        assert "either --keep-owed or --forget" in done.err
    assert recover(world, "--keep-owed", "--partition", "99").code == 2
