"""Workers' notices about hooks are applied to the database: a hook that a worker disabled for itself becomes disabled.

One turn does, in an order that matters:

1. Take notices from the group's partitions.
2. Apply each with its row locked, if the row is still the one that the worker saw; commit. Applying raises the
   revision, so that the same notice, read again, is stale.
3. Commit the offsets to the group.

kill -9 between 2 and 3, or a commit of offsets that fails, repeats notices that are stale by then. Where the database
or the registry is away, the consumer is given up, and a later turn begins again at the committed offsets: nothing of
what was taken is lost, and no partition is held by somebody who cannot work.

A worker repeats its notice until the row shows it; so a record that cannot be decoded is passed over aloud.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

import structlog
from confluent_kafka import Consumer, KafkaError, Message
from sqlalchemy.orm import Session

from hookstream.processors.errors import KafkaUnavailableError, ProcessorError
from hookstream.processors.kafka import (
    ClientConfig,
    KafkaConfig,
    consume_batch,
    group_consumer_config,
    is_away,
    kafka_error,
    make_consumer,
    translated,
)
from hookstream.processors.lifecycle import StopSignal, until_available
from hookstream.processors.operations.settled_offsets import SettledOffsets
from hookstream.producers.errors import RegistryError
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.hook import HookNotice, NoticeKind
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import NowMs, Sessions, transact
from hookstream.subscriptions.errors import DatabaseError
from hookstream.subscriptions.models import DisabledReason
from hookstream.subscriptions.repository import HookRepository

ACTOR = "worker"
# How long an idle turn waits, and so how late a stop is seen.
_POLL_S = 0.2

log = structlog.get_logger("hookstream.hook_notices")


class HookNotices:
    """Applies the notices of one deployment. One thread; run as many processes as you like."""

    def __init__(
        self,
        sessions: Sessions,
        kafka: KafkaConfig,
        topics: TopicNames,
        *,
        decode: Callable[[bytes | None], HookNotice],
        now_ms: NowMs,
        changed: Callable[[], None],
    ) -> None:
        """Prepare; nothing is connected yet. `changed` is called after a row was written."""
        self._sessions = sessions
        # Without an offset, or with one that retention has passed, begin with what there is: what is stale is ignored.
        own: ClientConfig = {"auto.offset.reset": "earliest"}
        self._config = group_consumer_config(kafka, group=topics.notices_group, own=own)
        self._topic = topics.hook_notices
        self._settled = SettledOffsets(topics.hook_notices)
        self._decode = decode
        self._now_ms = now_ms
        self._changed = changed
        self._consumer: Consumer | None = None

    def run(self, stop: StopSignal) -> None:
        """Apply notices until asked to stop; what is away is waited for.

        Raises:
            KafkaRefusedError: what waiting does not mend.
            StoppedError: asked to stop while something was away.
        """
        retriable = (KafkaUnavailableError, RegistryError, DatabaseError)
        try:
            while not stop.asked:
                until_available("hook notices", self.run_once, stop=stop, retriable=retriable)
        finally:
            self.close()

    def run_once(self, timeout_s: float = _POLL_S) -> int:
        """Do one turn, as the module says; give the number of hooks that were disabled. Call it again after an error.

        Raises:
            KafkaUnavailableError: no answer from Kafka.
            RegistryError: a schema cannot be had now.
            DatabaseError: no answer from the database, or it was not migrated yet.
            KafkaRefusedError: a broker that will not let us read.
        """
        try:
            consumer = self._consumer or self._opened()
            with translated("cannot read the notices about hooks"):
                messages = consume_batch(consumer, timeout_s)
            taken = [message for message in messages if not self._is_error(message)]
            applied = sum(self._apply(message) for message in taken)
        except (ProcessorError, RegistryError, DatabaseError):
            self.close()
            raise
        if taken:
            self._commit(consumer, taken)
        else:
            self._settled.commit(consumer)
        return applied

    def close(self) -> None:
        """Leave the group. Calling it twice is harmless."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self._settled.clear()

    def _opened(self) -> Consumer:
        consumer = make_consumer(self._config)
        with translated("cannot subscribe to the notices about hooks"):
            consumer.subscribe([self._topic])
        self._consumer = consumer
        return consumer

    @staticmethod
    def _is_error(message: Message) -> bool:
        """Whether it is one that the client goes on after by itself; raises any other."""
        error = message.error()
        if error is None:
            return False
        if error.code() != KafkaError._MAX_POLL_EXCEEDED and not is_away(error):
            raise kafka_error(error, "cannot read the notices about hooks")
        log.warning("notices about hooks wait", reason=error.str())
        return True

    def _apply(self, message: Message) -> bool:
        try:
            notice = self._decode(message.value())
        except UndecodableError as exc:
            log.error(  # noqa: TRY400  # the reason says it all
                "a notice about a hook cannot be read",
                topic=message.topic(),
                partition=message.partition(),
                offset=message.offset(),
                reason=str(exc),
            )
            return False
        reason = _reason(notice.kind)
        if reason is None:
            return False

        def work(session: Session) -> bool:
            return HookRepository(session, ACTOR, self._now_ms()).disable_observed(notice, reason)

        if not transact(self._sessions, work):
            return False
        self._changed()
        log.warning(
            "a hook is disabled",
            hook=notice.hook_id,
            client=notice.client,
            hook_event=notice.event,
            reason=reason.value,
        )
        return True

    def _commit(self, consumer: Consumer, taken: Sequence[Message]) -> None:
        """Say how far the database is."""
        self._settled.add(taken)
        self._settled.commit(consumer)


def _reason(kind: NoticeKind) -> DisabledReason | None:
    """Why the hook is disabled by that; None where the row stays: a hook that recovered was never disabled by it."""
    match kind:
        case NoticeKind.GONE:
            return DisabledReason.GONE
        case NoticeKind.FAILING:
            return DisabledReason.FAILING
        case NoticeKind.RECOVERED:
            return None
        case _:
            assert_never(kind)
