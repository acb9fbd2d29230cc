"""The relay of operators' settings: what the database has committed reaches the `control` topic, and stays its newest.

One turn: read what was appended to the topic and learn from it; then publish what is pending. Until the topic's past
was read nothing is written, for only then is it known whether the database is as new as the topic (it may be a restored
one), and whether the topic has what was published (it may be a new one). kill -9 anywhere loses nothing: what was not
committed as published is pending, and is published again under the same revision.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from hookstream.processors.errors import ExpiredRecordsError, KafkaUnavailableError
from hookstream.processors.tables.endpoint_settings import EndpointSettingsReader, SettingsBatch
from hookstream.producers.errors import RegistryError
from hookstream.schemas.control import EndpointSettings
from hookstream.subscriptions.database import NowMs, Sessions
from hookstream.subscriptions.endpoint_settings_publication import (
    PublishedSettings,
    SettingsPublisher,
    learn,
    publish_pending_settings,
    rewrite_missing,
)
from hookstream.subscriptions.errors import DatabaseError, NotPublishedError

_LOADING_STEP_S = 0.2

log = structlog.get_logger("hookstream.endpoint_settings_relay")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettingsRelayConfig:
    """How the relay works."""

    batch_rows: int = 100
    # How late settings made by another process are seen; those of this process wake the relay.
    poll_interval_s: float = 0.2
    retry_after_s: float = 1.0


class EndpointSettingsRelay:
    """Publishes one database to one topic. `wake` and `trouble` may be called from any thread, the rest from one."""

    def __init__(
        self,
        sessions: Sessions,
        publisher: SettingsPublisher,
        make_reader: Callable[[Callable[[SettingsBatch], None]], EndpointSettingsReader],
        *,
        now_ms: NowMs,
        config: EndpointSettingsRelayConfig | None = None,
    ) -> None:
        """Prepare; `make_reader` makes a reader that is not open yet, with the callback that takes what it reads."""
        self._sessions = sessions
        self._publisher = publisher
        self._make_reader = make_reader
        self._now_ms = now_ms
        self._config = config or EndpointSettingsRelayConfig()
        self._reader: EndpointSettingsReader | None = None
        self._past: list[PublishedSettings] | None = None
        self._read: list[PublishedSettings] = []
        self._woken = threading.Event()
        self._trouble: str | None = "the relay of operators' settings has not started"

    def wake(self) -> None:
        """Say that something was committed just now."""
        self._woken.set()

    def trouble(self) -> str | None:
        """What keeps settings from reaching the topic, for `/readyz`; None where nothing does."""
        return self._trouble

    def run(self, stop: threading.Event) -> None:
        """Relay until `stop` is set; what is away is waited for, and said once."""
        try:
            while not stop.is_set():
                pause_s = self._turn()
                if pause_s:
                    self._woken.wait(pause_s)
                    self._woken.clear()
        finally:
            self.close()

    def close(self) -> None:
        """Stop reading the topic; `run` does it by itself. What was not published stays pending."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._past = None
        self._read.clear()

    def run_once(self) -> int:
        """Do one turn, as the module says; give how many rows were published. It may be called again after any error.

        Raises:
            KafkaUnavailableError: no answer from Kafka.
            NotPublishedError: Kafka did not acknowledge.
            DatabaseError: no answer from the database, or it was not migrated yet.
        """
        if not self._follow():
            return 0
        return publish_pending_settings(self._sessions, self._publisher, limit=self._config.batch_rows)

    @property
    def loaded(self) -> bool:
        """Whether the topic's past was read and learnt from."""
        return self._reader is not None and self._past is None

    def _turn(self) -> float:
        try:
            published = self.run_once()
        except (KafkaUnavailableError, NotPublishedError, DatabaseError, RegistryError) as exc:
            self._say(str(exc))
            return self._config.retry_after_s
        if not self.loaded:
            return 0.0
        self._say(None)
        return 0.0 if published else self._config.poll_interval_s

    def _say(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            if trouble is None:
                log.info("operators' settings reach the control topic")
            else:
                log.error("operators' settings do not reach the control topic", reason=trouble)
        self._trouble = trouble

    def _follow(self) -> bool:
        """Read what has come and learn from it; give whether the past was read."""
        try:
            reader = self._reader or self._opened()
            reader.step(0.0 if reader.loaded else _LOADING_STEP_S)
        except ExpiredRecordsError as exc:
            log.warning("reading the control topic again from its start", reason=str(exc))
            self.close()
            raise KafkaUnavailableError(str(exc)) from exc
        if self._read:
            if self._past is not None:
                self._past += self._read
            learnt = learn(self._sessions, self._read, now_ms=self._now_ms())
            if learnt:
                log.warning("the control topic and the database differed", endpoints=learnt)
            self._read.clear()
        if self._past is not None and reader.loaded:
            missing = rewrite_missing(self._sessions, self._past)
            if missing:
                log.warning("the control topic lacks what was published: it is written again", endpoints=missing)
            self._past = None
        return self._past is None

    def _opened(self) -> EndpointSettingsReader:
        reader = self._make_reader(self._take)
        reader.open()
        self._past = []
        self._reader = reader
        return reader

    def _take(self, batch: SettingsBatch) -> None:
        self._read += [
            PublishedSettings(wanted=row, partition=partition, offset=offset)
            for partition, offset, _, row in batch.records
            if isinstance(row, EndpointSettings)
        ]
