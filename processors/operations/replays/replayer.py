"""Works on the replays that the database holds: takes those without a lease, as many as it has places, in one thread.

A replay that fails for want of Kafka, the registry or the database is dropped and claimed again; it goes on from what
was committed. One that cannot be made as it was asked for ends as failed, with the reason in its row.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Final

import structlog

from hookstream.processors import wall_clock
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import RETRIABLE, Health, StopSignal, until_available
from hookstream.processors.tables.subscription_reader import SubscriptionReader, apply_rows
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.producers.errors import NotRegisteredError
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.body import MAX_BODY_BYTES
from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.codecs.hooks import subscription_decoder
from hookstream.schemas.sources.readers import topic_events
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import NowMs, Sessions
from hookstream.subscriptions.errors import DatabaseError
from hookstream.subscriptions.replays import Lease, StoredReplay

from .claimed_runs import ClaimedRuns
from .run_deps import RunDeps
from .selection import Selection
from .window import WindowLookup
from .writer import ReplayWriter

# A replay whose replayer was killed goes on after this; a living one says so every second.
LEASE_S: Final = 10.0
_IDLE_S = 0.02

log = structlog.get_logger("hookstream.replayer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayerConfig:
    """What a replayer has to know."""

    kafka: KafkaConfig
    topics: TopicNames
    catalogue: Catalogue
    max_body_bytes: int = MAX_BODY_BYTES
    lease_s: float = LEASE_S


class Replayer:
    """`open`, then `run_once` for ever, then `close`. One thread; run as many processes as you like."""

    def __init__(
        self,
        config: ReplayerConfig,
        registry: SchemaRegistry,
        sessions: Sessions,
        *,
        stop: StopSignal,
        health: Health,
        now_ms: NowMs = wall_clock.now_ms,
    ) -> None:
        """Prepare; nothing is connected yet."""
        self._config = config
        self._registry = registry
        self._sessions = sessions
        self._stop = stop
        self.health = health
        self._now_ms = now_ms
        topics, texts = config.topics, registry.schema_text_by_id
        self.table = SubscriptionTable()
        self._reader = SubscriptionReader(
            config.kafka,
            topics.subscriptions,
            decode=subscription_decoder(texts),
            deliver=lambda batch: apply_rows(batch, self.table),
        )
        self._events = topic_events(config.catalogue, topics, texts)
        self._deliveries = {topics.deliveries: delivery_decoder(texts)}
        self._writer: ReplayWriter | None = None
        self._runs: ClaimedRuns | None = None
        self.health.down("table", "not read yet")

    def open(self) -> None:
        """Connect, and wait until Kafka and the registry answer.

        Raises:
            StoppedError: asked to stop while waiting.
            KafkaRefusedError, RegistryError: what waiting does not mend.
        """
        config = self._config
        name = subject(config.topics.replays)
        schema_id = until_available(
            "schema registry",
            lambda: self._registry.id_for(name, config.catalogue.subjects(config.topics)[name]),
            stop=self._stop,
            health=self.health,
            retriable=(*RETRIABLE, NotRegisteredError),
        )
        until_available("kafka", self._reader.open, stop=self._stop, health=self.health)
        writer = self._writer = ReplayWriter(
            config.kafka, config.topics, encode=delivery_encoder(schema_id), acknowledged_within_s=config.lease_s / 3
        )
        self._runs = ClaimedRuns(self._run_deps(writer))

    def _run_deps(self, writer: ReplayWriter) -> RunDeps:
        config = self._config
        return RunDeps(
            kafka=config.kafka,
            topics=config.topics,
            sessions=self._sessions,
            lookup=WindowLookup(config.kafka, config.topics, config.catalogue),
            table=self.table,
            reader=self._reader,
            writer=writer,
            selection=self._selection,
            stop=self._stop,
            lease=Lease(owner=uuid.uuid4().hex, lasts_ms=round(config.lease_s * 1000)),
            now_ms=self._now_ms,
            clock=time.monotonic,
        )

    def run(self) -> None:
        """Work until asked to stop; while the database does not answer, it tries again.

        Raises:
            StoppedError: asked to stop while waiting.
            ProcessorError: what waiting does not mend.
        """
        while not self._stop.asked:
            until_available("database", self.run_once, stop=self._stop, health=self.health, retriable=(DatabaseError,))

    def run_once(self, timeout_s: float = _IDLE_S) -> int:
        """Do one turn, waiting at most `timeout_s` where there is nothing to do; give how much was done.

        Raises:
            DatabaseError: everything was dropped; call it again.
            StoppedError: asked to stop.
            ProcessorError: the table cannot be followed any more.
        """
        if self._runs is None:
            message = "the replayer is not open"
            raise RuntimeError(message)
        self._reader.step(0)
        if self._reader.loaded:
            self.health.up("table")
        done = self._runs.step(claim=self._reader.loaded)
        if not done:
            self._stop.wait(timeout_s)
        return done

    def close(self) -> None:
        """Let go of everything, so that others go on at once. Calling it twice is harmless."""
        if self._runs is not None:
            self._runs.release()
        self._reader.close()
        if self._writer is not None:
            self._writer.close()

    def _selection(self, replay: StoredReplay) -> Selection:
        return Selection(
            replay.asked.wanted,
            self.table,
            events=self._events,
            deliveries=self._deliveries,
            max_body_bytes=self._config.max_body_bytes,
        )
