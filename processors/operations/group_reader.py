"""One reader of a topic, as a member of a group, whose records are written to the database.

One turn does, in an order that matters:

1. Take records from the group's partitions.
2. Let the step write what they say to the database, and commit that.
3. Commit the offsets to the group.

kill -9 between 2 and 3, or a commit of offsets that fails, repeats records whose effect the database has already: the
step does nothing for them.

A step that keeps its own place in the database says where the partitions begin that the group assigns. That is
committed at once: what a killed process had written does not come again, so no record may come to commit it with.

The group is joined once the database answers, and left whenever the database, the registry or Kafka does not: a member
that cannot write would only hold partitions. A later turn begins again at the committed offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeAlias

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.errors import KafkaUnavailableError, ProcessorError
from hookstream.processors.kafka import (
    ClientConfig,
    KafkaConfig,
    consume_batch,
    group_consumer_config,
    is_retriable,
    kafka_error,
    make_consumer,
    translated,
)
from hookstream.processors.lifecycle import Health, StopSignal, until_available
from hookstream.producers.errors import RegistryError
from hookstream.subscriptions.errors import DatabaseError

from .settled_offsets import SettledOffsets

RETRIABLE: Final = (KafkaUnavailableError, RegistryError, DatabaseError)
# How long an idle turn waits, and so how late a stop is seen.
_POLL_S = 0.2

Begin: TypeAlias = Callable[[Consumer, list[TopicPartition]], list[TopicPartition]]
"""Says where each partition begins that the group assigns."""

log = structlog.get_logger("hookstream.group_reader")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTopic:
    """Which topic is read, and by which group.

    `what` is its records' name in messages, such as "attempts"; `name` is the reader's own, which `/readyz` shows.
    """

    topic: str
    group: str
    what: str
    name: str
    batch_records: int
    consumer: ClientConfig = field(default_factory=dict)


class GroupStep(Protocol):
    """What the records are for."""

    source: GroupTopic

    def prepare(self) -> Begin | None:
        """Get ready before the group is joined; None: every partition begins at the group's offset.

        Raises:
            DatabaseError: no answer from the database: the group is not joined.
        """
        ...

    def apply(self, records: Sequence[Message]) -> int:
        """Write to the database what records say, none if there are none; give the number to report.

        Raises:
            DatabaseError: no answer from the database: the records come again.
            RegistryError: a schema cannot be had now: the same.
        """
        ...

    def forget(self) -> None:
        """Forget the partitions: the group was left."""
        ...


class GroupReader:
    """Reads for one step. One thread; run as many processes as there are partitions."""

    def __init__(self, kafka: KafkaConfig, step: GroupStep) -> None:
        """Prepare; nothing is connected yet."""
        source = step.source
        self._step = step
        self._source = source
        self._config = group_consumer_config(kafka, group=source.group, own=source.consumer)
        self._consumer: Consumer | None = None
        self._accepted = False
        """Whether the group has given this member an assignment."""
        self._settled = SettledOffsets(source.topic)

    def run(self, stop: StopSignal, health: Health | None = None) -> None:
        """Read until asked to stop; while a part does not answer, try again.

        Raises:
            KafkaRefusedError: trying again does not help.
            StoppedError: asked to stop while a part did not answer.
        """
        try:
            while not stop.asked:
                until_available(self._source.name, self.run_once, stop=stop, health=health, retriable=RETRIABLE)
        finally:
            self.close()

    def run_once(self, timeout_s: float = _POLL_S) -> int:
        """Do one turn, as the module says; give what the step reports. Call it again after an error.

        Raises:
            KafkaUnavailableError: no answer from Kafka.
            RegistryError: a schema cannot be had now.
            DatabaseError: no answer from the database, or it was not migrated yet.
            KafkaRefusedError: a broker that will not let us read.
        """
        try:
            consumer = self._consumer or self._joined()
            with translated(f"cannot read the {self._source.what}"):
                messages = consume_batch(consumer, timeout_s, limit=self._source.batch_records)
            taken = [message for message in messages if not self._is_error(message)]
            reported = self._step.apply(taken)
            self._commit(consumer, taken)
        except (ProcessorError, RegistryError, DatabaseError):
            self.close()
            raise
        return reported

    def close(self) -> None:
        """Leave the group. Calling it twice is harmless."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self._accepted = False
        self._settled.clear()
        self._step.forget()

    def _joined(self) -> Consumer:
        begin = self._step.prepare()
        consumer = self._consumer = make_consumer(self._config)
        with translated(f"cannot subscribe to the {self._source.what}"):
            consumer.subscribe([self._source.topic], on_assign=partial(self._take_over, begin))
        return consumer

    def _take_over(self, begin: Begin | None, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        self._accepted = True
        if begin is None:
            return  # the client takes what it was given
        starts = begin(consumer, assigned)
        with translated("cannot take partitions over"):
            consumer.incremental_assign(starts)
        self._settled.begin(starts)

    def _is_error(self, message: Message) -> bool:
        """Whether it is one after which the client goes on by itself; raises any other."""
        error = message.error()
        if error is None:
            return False
        what = self._source.what
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            # Retention overtook us, or the topic was re-created. Where to go on is decided at the assignment.
            raise KafkaUnavailableError(f"{what} of partition {message.partition()} were deleted before they were read")
        if self._accepted and (error.fatal() or error.code() == KafkaError._FATAL):
            # Of this client, not of the process: a group without members and offsets is deleted, and a member that
            # was silent for longer than its session then hears that the group does not exist. A new client joins.
            raise KafkaUnavailableError(f"the group of the {what} has lost its member: {error.str()} ({error.name()})")
        if error.code() != KafkaError._MAX_POLL_EXCEEDED and not is_retriable(error):
            raise kafka_error(error, f"cannot read the {what}")
        log.warning("records wait", what=what, reason=error.str())
        return True

    def _commit(self, consumer: Consumer, taken: Sequence[Message]) -> None:
        """Commit the offsets of records that were applied, these and those that Kafka has not taken yet."""
        self._settled.add(taken)
        self._settled.commit(consumer)
