"""`hookstream recover`: partitions that no worker may start begin where an operator says, while no worker lives.

The order is what makes it safe to be killed anywhere, and to be run again:

1. The group has no members. Kafka refuses a commit to a group that has some from a client that is none, so one that
   joins meanwhile is not harmed either.
2. What there is of each partition is read, and judged exactly as a worker would: what it would start is left alone.
3. The new commit of every refused partition is acknowledged.
4. Only then the states that nothing points to any more get their tombstones. What a killed run leaves behind, the
   partition's next owner deletes after an hour.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog
from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, TopicPartition

from hookstream.processors.delivery.checkpoints.commit_metadata import encode_metadata, log_digest, table_digest
from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionLookup
from hookstream.processors.delivery.checkpoints.partition_recovery import (
    Evidence,
    FoundState,
    PendingDeliveries,
    Recovery,
    plan_recovery,
)
from hookstream.processors.delivery.checkpoints.partition_start import FoundCommit, LogIdentity
from hookstream.processors.delivery.checkpoints.state_store import StateReader
from hookstream.processors.errors import GroupIsLiveError, KafkaUnavailableError, StartRefusedError
from hookstream.processors.kafka import (
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    group_consumer_config,
    kafka_error,
    make_admin,
    make_consumer,
    partitions_of,
    result_of,
    translated,
)
from hookstream.processors.offsets import committed_offsets
from hookstream.processors.topics import cluster_id, topic_ids
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.errors import NotPublishedError

from .acknowledged_writer import AcknowledgedWriter, NewRecord

log = structlog.get_logger("hookstream.recover")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One partition of `deliveries` or of its replays: what there is, and what is to be done (None: nothing)."""

    evidence: Evidence
    recovery: Recovery | None


class GroupRecovery:
    """Surveys and mends the partitions of the workers' group. One thread."""

    def __init__(self, kafka: KafkaConfig, topics: TopicNames) -> None:
        """Prepare; it connects when it is asked something.

        Raises:
            KafkaRefusedError: a configuration that librdkafka refuses.
        """
        self._kafka = kafka
        self._topics = topics
        self._states = StateReader(kafka, topics.delivery_state)
        self._consumer: Consumer = make_consumer(group_consumer_config(kafka, group=topics.deliver_group))

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()
        self._states.close()

    def survey(self, pending: PendingDeliveries, partitions: Collection[int] | None = None) -> list[Finding]:
        """Look at every partition (or at these); changes nothing.

        Raises:
            GroupIsLiveError: workers live.
            KafkaUnavailableError: no answer; it may be asked again.
        """
        self._refuse_a_live_group()  # (1)
        topics = (self._topics.deliveries, self._topics.replays)
        ids = topic_ids(self._kafka, [*topics, self._topics.subscriptions])
        cluster, table = cluster_id(self._kafka, self._topics.deliveries), table_digest(ids[self._topics.subscriptions])
        live, replay = (LogIdentity(log_digest(cluster, ids[name]), table) for name in topics)
        lookup = PartitionLookup(topics, (live, replay), self._states)
        findings = []
        for topic, identity in zip(topics, (live, replay), strict=True):
            for found in self._committed(topic, partitions):
                evidence = self._evidence(lookup, found, identity)
                findings.append(Finding(evidence=evidence, recovery=plan_recovery(evidence, pending)))
        return findings

    def mend(self, findings: Sequence[Finding], *, pending: PendingDeliveries, actor: str) -> None:
        """Do what the findings say. Every change is a line in the log, with who asked for it.

        Raises:
            GroupIsLiveError: a worker has come meanwhile; nothing was changed.
            KafkaUnavailableError: no answer; run it again.
        """
        refused = [(f.evidence, f.recovery) for f in findings if f.recovery is not None]
        if not refused:
            return
        self._refuse_a_live_group()
        self._commit(
            [
                TopicPartition(e.found.topic, e.found.partition, r.offset, encode_metadata(r.metadata))
                for e, r in refused
            ]
        )  # (3)
        for evidence, recovery in refused:
            log.warning(
                "a partition was recovered",
                actor=actor,
                pending=pending.value,
                topic=evidence.found.topic,
                partition=evidence.found.partition,
                refused_because=evidence.refused,
                committed=evidence.found.offset,
                begins_at=recovery.offset,
                read_again=recovery.again,
                cursors_dropped=recovery.cursors_dropped,
                states_dropped=len({key.state_id for key in recovery.drop}),
            )
        self._write_tombstones([recovery for _, recovery in refused])  # (4)

    # --- looking ------------------------------------------------------------------------------------------------------

    def _refuse_a_live_group(self) -> None:
        group = self._topics.deliver_group
        doing = f"cannot look at the group {group}"
        admin = make_admin(self._kafka)  # has to live until the answer is there
        with translated(doing):
            future = admin.describe_consumer_groups([group], request_timeout=REQUEST_TIMEOUT_S)[group]
        try:
            described = result_of(future, doing)
        except Exception as exc:
            if _is_absent(exc):
                return
            raise
        if described.state in (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD) and not described.members:
            return
        raise GroupIsLiveError(
            f"the group {group} has {len(described.members)} members: stop all workers first; one that was killed"
            " leaves when its session is over (45 s by default)"
        )

    def _committed(self, topic: str, partitions: Collection[int] | None) -> list[FoundCommit]:
        known = partitions_of(self._consumer, topic)
        wanted = [TopicPartition(topic, p) for p in known if partitions is None or p in partitions]
        answers = committed_offsets(self._consumer, wanted, "cannot read the committed offsets")
        return [FoundCommit(a.topic, a.partition, a.offset if a.offset >= 0 else None, a.metadata) for a in answers]

    def _evidence(self, lookup: PartitionLookup, found: FoundCommit, identity: LogIdentity) -> Evidence:  # (2)
        refused: str | None = None
        states: tuple[FoundState, ...] = ()
        try:
            lookup.judge(found, identity)
        except StartRefusedError as exc:
            refused, states = exc.reason, self._states.found_states(found.topic, found.partition)
        return Evidence(
            found=found,
            watermarks=self._states.watermarks(found.topic, found.partition),
            identity=identity,
            states=states,
            refused=refused,
        )

    # --- changing -----------------------------------------------------------------------------------------------------

    def _commit(self, offsets: list[TopicPartition]) -> None:
        doing = "cannot commit where the partitions begin"
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False) or []
        except KafkaException as exc:
            if _is_membership(exc.args[0]):
                self._refuse_a_live_group()
            with translated(doing):
                raise
        for answer in answers:
            if answer.error is not None:
                raise kafka_error(answer.error, doing)

    def _write_tombstones(self, recoveries: Sequence[Recovery]) -> None:
        """Write the tombstones and wait for all; a worker writes later what is not acknowledged."""
        keys = [key for recovery in recoveries for key in recovery.drop]
        if not keys:
            return
        writer = AcknowledgedWriter(self._kafka, self._topics.delivery_state)
        try:
            writer.write([NewRecord(key.encode(), None, key.partition) for key in keys])
        except NotPublishedError as exc:
            raise KafkaUnavailableError(f"tombstones are not acknowledged; workers write them later: {exc}") from exc


def _is_absent(exc: Exception) -> bool:
    """Whether Kafka says that there is no such group."""
    cause = exc.__cause__
    error = cause.args[0] if isinstance(cause, KafkaException) else None
    return isinstance(error, KafkaError) and error.code() == KafkaError.GROUP_ID_NOT_FOUND


def _is_membership(error: object) -> bool:
    """Whether Kafka says that the group has members, and that we are none."""
    codes = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.STALE_MEMBER_EPOCH)
    return isinstance(error, KafkaError) and error.code() in codes
