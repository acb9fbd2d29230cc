"""Notices about hooks, from the database to `events.hookstream`: what was committed with a change reaches Kafka."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.acknowledged_writer import AcknowledgedWriter, NewRecord
from hookstream.producers.cloud_events import headers
from hookstream.producers.errors import RegistryError
from hookstream.schemas.event import Event
from hookstream.schemas.notices import Notice, NoticeName, event_of_notice
from hookstream.subscriptions.database import Sessions
from hookstream.subscriptions.errors import DatabaseError, NotPublishedError
from hookstream.subscriptions.notices import NoticePublisher, publish_notices

_SOURCE = b"/hookstream/api"
_BATCH_ROWS = 100
_POLL_S = 0.2
_RETRY_AFTER_S = 1.0

log = structlog.get_logger("hookstream.notice_relay")


class NoticeWriter(AcknowledgedWriter):
    """A `NoticePublisher`. One thread at a time."""

    def __init__(
        self,
        kafka: KafkaConfig,
        topic: str,
        *,
        encode: Callable[[Event], bytes],
        told: Callable[[NoticeName], None],
    ) -> None:
        """Prepare to write; nothing is sent yet. `told` counts what Kafka has acknowledged."""
        super().__init__(kafka, topic)
        self._encode = encode
        self._told = told

    def publish(self, notices: Sequence[Notice]) -> None:
        """Write notices, in the order given.

        Raises:
            NotPublishedError: one or more were not acknowledged in time; some may be in the topic.
        """
        events = [event_of_notice(notice) for notice in notices]
        self.write([NewRecord(event.key, self._encode(event), headers=headers(event, _SOURCE)) for event in events])
        for notice, event in zip(notices, events, strict=True):
            self._told(notice.name)
            log.warning("a notice", notice=notice.name.value, endpoint=notice.endpoint, event_id=str(event.id))


class NoticeRelay:
    """Publishes the notices of one database. `wake` and `trouble` may be called from any thread, `run` from one."""

    def __init__(self, sessions: Sessions, publisher: NoticePublisher) -> None:
        """Prepare; nothing is connected yet."""
        self._sessions = sessions
        self._publisher = publisher
        self._woken = threading.Event()
        self._trouble: str | None = None

    def wake(self) -> None:
        """Say that something was committed just now."""
        self._woken.set()

    def trouble(self) -> str | None:
        """What keeps notices from reaching the topic, for `/readyz`; None where nothing does."""
        return self._trouble

    def run(self, stop: threading.Event) -> None:
        """Relay until `stop` is set; while Kafka, the registry or the database does not answer, it tries again."""
        while not stop.is_set():
            self._woken.wait(self._turn())
            self._woken.clear()

    def _turn(self) -> float:
        """Publish some; give how long to wait for the next turn."""
        try:
            published = publish_notices(self._sessions, self._publisher, limit=_BATCH_ROWS)
        except (NotPublishedError, DatabaseError, RegistryError) as exc:
            if self._trouble != str(exc):
                log.error("notices do not reach Kafka", reason=str(exc))  # noqa: TRY400  # the reason says it all
            self._trouble = str(exc)
            return _RETRY_AFTER_S
        self._trouble = None
        return 0.0 if published == _BATCH_ROWS else _POLL_S
