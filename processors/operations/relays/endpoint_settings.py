"""What the relay of endpoint settings does: what is committed in the database becomes the newest of `control`.

When the topic was read to its end, records that the database does not know are taken over (the database may be a
restored one), and what was published and is not in the topic is written again (the topic may be a new one); then what
is pending is published, and what is appended is compared as it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from hookstream.processors.tables.endpoint_settings import SettingsBatch
from hookstream.schemas.control import EndpointSettings
from hookstream.subscriptions.database import NowMs, Sessions
from hookstream.subscriptions.endpoint_settings_publication import (
    PublishedSettings,
    SettingsPublisher,
    publish_pending_settings,
    rewrite_missing,
    take_over,
)

from .relay import TopicReader, Turn

_BATCH_ROWS = 100

log = structlog.get_logger("hookstream.endpoint_settings_relay")


class EndpointSettingsStep:
    """A `RelayStep`. One thread."""

    what = "endpoint settings"
    topic = "control"

    def __init__(
        self,
        sessions: Sessions,
        publisher: SettingsPublisher,
        open_reader: Callable[[Callable[[SettingsBatch], None]], TopicReader],
        *,
        now_ms: NowMs,
        batch_rows: int = _BATCH_ROWS,
    ) -> None:
        """Prepare; `open_reader` makes a reader that is not open yet, with the callback that takes what it reads."""
        self._sessions = sessions
        self._publisher = publisher
        self._open_reader = open_reader
        self._now_ms = now_ms
        self._batch_rows = batch_rows
        self._read: list[PublishedSettings] = []
        self._past: list[PublishedSettings] | None = []
        """All that the topic holds, until it was compared with what was published."""

    def make_reader(self) -> TopicReader:
        """Make a reader whose records are kept until they were compared."""
        return self._open_reader(self._take)

    def compare(self) -> None:
        """Take over what the database does not know, then forget what was read; of the past keep it until its end."""
        if self._past is not None:
            self._past += self._read
        elif self._read:
            self._take_over(self._read)
        self._read.clear()

    def write(self) -> Turn:
        """Make pending what the topic lacks, and publish what is pending.

        Raises:
            NotPublishedError: Kafka did not acknowledge.
            DatabaseError: no answer from the database.
        """
        if self._past is not None:
            self._take_over(self._past)
            missing = rewrite_missing(self._sessions, self._past)
            if missing:
                log.warning("the control topic lacks what was published: it is written again", endpoints=missing)
            self._past = None
        return Turn(published=publish_pending_settings(self._sessions, self._publisher, limit=self._batch_rows))

    def forget(self) -> None:
        """Forget what was read."""
        self._read.clear()
        self._past = []

    def _take_over(self, seen: Sequence[PublishedSettings]) -> None:
        changed = take_over(self._sessions, seen, now_ms=self._now_ms()) if seen else 0
        if changed:
            log.warning("the control topic and the database differed", endpoints=changed)

    def _take(self, batch: SettingsBatch) -> None:
        self._read += [
            PublishedSettings(wanted=row, partition=partition, offset=offset)
            for partition, offset, _, row in batch.records
            if isinstance(row, EndpointSettings)
        ]
