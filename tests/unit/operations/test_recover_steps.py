"""`hookstream recover` touches no group that lives, and deletes states after the commit that replaces them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException

from hookstream.processors.delivery.checkpoints.commit_metadata import CommitMetadata
from hookstream.processors.delivery.checkpoints.partition_recovery import Evidence, PendingDeliveries, Recovery
from hookstream.processors.delivery.checkpoints.partition_start import FoundCommit, LogIdentity
from hookstream.processors.delivery.checkpoints.state_codec import StateKey
from hookstream.processors.errors import GroupIsLiveError, KafkaUnavailableError, ProcessorError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations import recover as module
from hookstream.processors.operations.recover import Finding, GroupRecovery
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.errors import NotPublishedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import TopicPartition

    from hookstream.processors.operations.acknowledged_writer import NewRecord

TOPICS = TopicNames()
KEY = StateKey(TOPICS.deliveries, 0, b"8 bytes.", 0)
FINDING = Finding(
    evidence=Evidence(
        found=FoundCommit(TOPICS.deliveries, 0, None, None),
        watermarks=(0, 9),
        identity=LogIdentity(b"8 bytes.", b"four"),
        states=(),
        refused="the group has no offset",
    ),
    recovery=Recovery(
        offset=0,
        metadata=CommitMetadata(log_digest=b"8 bytes.", table_digest=b"four", table_offset=0),
        drop=(KEY,),
        again=9,
        cursors_dropped=0,
    ),
)


@dataclass
class Cluster:
    """What a group is, and what is done to it, in its order."""

    members: list[object] = field(default_factory=list)
    state: ConsumerGroupState = ConsumerGroupState.EMPTY
    refusal: KafkaError | None = None
    log: list[str] = field(default_factory=list)
    written: bool = True

    def describe_consumer_groups(self, names: Sequence[str], *, request_timeout: float) -> dict[str, Any]:
        """Describe them."""
        del request_timeout
        described = SimpleNamespace(state=self.state, members=self.members)
        return dict.fromkeys(names, SimpleNamespace(result=lambda **_: described))

    def commit(self, *, offsets: Sequence[TopicPartition], asynchronous: bool) -> list[Any]:
        """Take a commit."""
        assert not asynchronous
        if self.refusal is not None:
            raise KafkaException(self.refusal)
        self.log.append("commit")
        return [SimpleNamespace(error=None) for _ in offsets]

    def write(self, records: Sequence[NewRecord]) -> None:
        """Take tombstones."""
        if not self.written:
            raise NotPublishedError("no acknowledgement")
        assert {(record.key, record.value) for record in records} == {(KEY.encode(), None)}
        self.log.append("tombstone")

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    for name in ("make_admin", "make_consumer", "StateReader", "AcknowledgedWriter"):
        monkeypatch.setattr(module, name, lambda *_args, **_more: made)
    return made


def mend() -> None:
    recovery = GroupRecovery(KafkaConfig(bootstrap_servers="k:9092"), TOPICS)
    recovery.mend([FINDING], pending=PendingDeliveries.KEEP, actor="me")


def test_states_are_deleted_after_the_commit_that_does_without_them(cluster: Cluster) -> None:
    mend()
    assert cluster.log == ["commit", "tombstone"]


@pytest.mark.parametrize("state", [ConsumerGroupState.STABLE, ConsumerGroupState.EMPTY])
def test_a_group_with_members_is_left_as_it_is(cluster: Cluster, state: ConsumerGroupState) -> None:
    cluster.state, cluster.members = state, [object()]
    with pytest.raises(GroupIsLiveError, match="1 members"):
        mend()
    assert cluster.log == []


def test_a_worker_that_joins_before_the_commit_is_not_harmed(cluster: Cluster) -> None:
    cluster.refusal = KafkaError(KafkaError.UNKNOWN_MEMBER_ID)
    with pytest.raises(ProcessorError):
        mend()
    assert cluster.log == []


def test_tombstones_that_are_not_acknowledged_are_told(cluster: Cluster) -> None:
    cluster.written = False
    with pytest.raises(KafkaUnavailableError, match="workers write them later"):
        mend()
    assert cluster.log == ["commit"]
