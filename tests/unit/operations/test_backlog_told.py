"""What the reader of Kafka tells of a backlog: each client its own, and an estimate where not everything was kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hookstream.processors.delivery.checkpoints import state_store
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE, StoredHealth
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations import log_ranges
from hookstream.processors.operations.queries import backlog
from hookstream.processors.operations.queries.backlog import KafkaBacklogs, LookLimits
from hookstream.processors.operations.queries.backlog_records import CommitView
from hookstream.producers.murmur2 import partition_of
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.schemas.topics import TopicNames
from tests.support.logs import Logs
from tests.support.values import DELIVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hookstream.schemas.delivery import Delivery

TOPICS = TopicNames()
PARTITIONS = 4
# Two clients whose deliveries share a partition, and one whose do not.
ONE, TWO = [client for client in range(1, 100) if partition_of(b"%d" % client, PARTITIONS) == 0][:2]
ELSEWHERE = next(client for client in range(1, 100) if partition_of(b"%d" % client, PARTITIONS) != 0)


class Log(Logs):
    """Logs of deliveries, of which nothing was ever committed."""

    def __init__(self) -> None:
        super().__init__(partitions=PARTITIONS)
        self.sent: list[Delivery] = []

    def send(self, client: int, count: int) -> None:
        """Append deliveries of a client, whose hook has its number."""
        made = replace(DELIVERY, client=ClientId(str(client)), hook_id=HookId(client), replay=None, live_end=0)
        self.write(
            TOPICS.deliveries, *[b"%d" % len(self.sent)] * count, partition=partition_of(b"%d" % client, PARTITIONS)
        )
        self.sent.append(made)

    def decode(self, value: bytes | None) -> Delivery:
        """Find the delivery that a record stands for."""
        return self.sent[int(value or b"")]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Put that Kafka in place of the real one."""
    made = Log()
    for module in (backlog, log_ranges, state_store):
        monkeypatch.setattr(module, "make_consumer", made.made)
    monkeypatch.setattr(backlog, "cluster_id", lambda *_: "cluster")
    monkeypatch.setattr(backlog, "topic_ids", lambda _kafka, names: dict.fromkeys(names, "id"))
    return made


def looking(log: Log, limits: LookLimits | None = None) -> KafkaBacklogs:
    kafka = KafkaConfig(bootstrap_servers="kafka:9092")
    return KafkaBacklogs(kafka, TOPICS, decode=log.decode, limits=limits or LookLimits(fresh_for_s=0.0))


def pending(backlogs: KafkaBacklogs, client: int | None) -> dict[int, int]:
    """By hook, as one client, or everyone, is told."""
    told = backlogs.read(None if client is None else ClientId(str(client)), lambda _clients: {})
    return {hook_id: hook.pending for hook_id, hook in told.hooks.items()}


def test_of_two_clients_who_share_a_partition_each_is_told_of_its_own_backlog_alone(log: Log) -> None:
    log.send(ONE, 30)
    log.send(TWO, 7)
    log.send(ELSEWHERE, 5)
    backlogs = looking(log)
    for _ in range(2):  # the second time from what was kept of the first, which was everybody's
        assert pending(backlogs, ONE) == {ONE: 30}
        assert pending(backlogs, TWO) == {TWO: 7}
        assert pending(backlogs, ELSEWHERE) == {ELSEWHERE: 5}
        assert pending(backlogs, None) == {ONE: 30, TWO: 7, ELSEWHERE: 5}
    assert pending(backlogs, ELSEWHERE + 1000) == {}


def test_each_is_told_how_its_own_endpoints_are_alone(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [
        StoredHealth(
            client=str(client),
            target_digest=bytes([client] * 8),
            breaker_open=True,
            from_backlog=True,
            retry_after_until_ms=0,
            failing_since_ms=0,
            busy_streak=0,
            probe_at_ms=5,
            probes=1,
        )
        for client in (ONE, TWO)
    ]
    view = CommitView(0, state=replace(EMPTY_STATE, health=tuple(seen)))
    monkeypatch.setattr(KafkaBacklogs, "_view", lambda *_: view)
    log.send(ONE, 1)
    backlogs = looking(log)
    assert {client for client, _ in backlogs.read(None, lambda _clients: {}).health} == {str(ONE), str(TWO)}
    assert [client for client, _ in backlogs.read(ClientId(str(ONE)), lambda _clients: {}).health] == [str(ONE)]
    assert [client for client, _ in backlogs.read(ClientId(str(TWO)), lambda _clients: {}).health] == [str(TWO)]


def test_no_worker_is_asked_about_the_hooks_of_others(log: Log) -> None:
    log.send(ONE, 3)
    log.send(TWO, 3)
    asked: list[set[ClientId]] = []

    def not_before(clients: Collection[ClientId]) -> dict[HookId, int]:
        asked.append(set(clients))
        return {}

    looking(log).read(ClientId(str(ONE)), not_before)
    assert asked == [{ClientId(str(ONE))}]


@pytest.mark.parametrize("room", [0, 1, 99])
def test_where_there_was_no_more_room_the_count_says_that_it_is_estimated(log: Log, room: int) -> None:
    log.send(ONE, 100)
    limits = LookLimits(fresh_for_s=0.0, kept_records=room)
    (hook,) = looking(log, limits).read(None, lambda _clients: {}).hooks.values()
    assert not hook.exact
    assert hook.pending == 100, "the rest was sampled, and is as the stretches are"
    (counted,) = looking(log, replace(limits, kept_records=100)).read(None, lambda _clients: {}).hooks.values()
    assert (counted.exact, counted.pending) == (True, 100)


def test_room_is_shared_by_all_partitions_and_by_what_was_kept_before(log: Log) -> None:
    backlogs = looking(log, LookLimits(fresh_for_s=0.0, kept_records=100))
    log.send(ONE, 80)
    exact: Callable[[], dict[int, bool]] = lambda: {  # noqa: E731
        hook_id: hook.exact for hook_id, hook in backlogs.read(None, lambda _clients: {}).hooks.items()
    }
    assert exact() == {ONE: True}
    log.send(ELSEWHERE, 80)
    assert exact() == {ONE: True, ELSEWHERE: False}
