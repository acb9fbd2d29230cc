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

from hookstream.processors.errors import KafkaUnavailableError, ProcessorError, StoppedError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import RETRIABLE, Health, StopSignal, until_available
from hookstream.processors.tables.subscription_reader import SubscriptionReader, apply_rows
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.producers.errors import NotRegisteredError, RegistryError
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.body import MAX_BODY_BYTES
from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.codec import delivery_decoder, delivery_encoder, subscription_decoder
from hookstream.schemas.sources.readers import topic_events
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import NowMs, Sessions, transact
from hookstream.subscriptions.errors import DatabaseError, LeaseLostError
from hookstream.subscriptions.replays import Lease, ReplayId, ReplayWork, StoredReplay

from .places import open_kinds
from .run import ReplayRun, RunDeps
from .selection import Selection
from .window import WindowLookup
from .writer import ReplayWriter

# A replay whose replayer was killed goes on after this; a living one says so every second.
LEASE_S: Final = 10.0
_CLAIM_EVERY_S = 0.5
_TRY_AGAIN_S = 2.0
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
        now_ms: NowMs = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Prepare; nothing is connected yet."""
        self._config = config
        self._registry = registry
        self._sessions = sessions
        self._stop = stop
        self.health = health
        self._now_ms = now_ms
        self._lease = Lease(owner=uuid.uuid4().hex, lasts_ms=round(config.lease_s * 1000))
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
        self._deps: RunDeps | None = None
        self._runs: dict[ReplayId, ReplayRun] = {}
        self._not_before: dict[ReplayId, float] = {}
        self._claim_at = 0.0
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
        self._deps = RunDeps(
            kafka=config.kafka,
            topics=config.topics,
            sessions=self._sessions,
            lookup=WindowLookup(config.kafka, config.topics, config.catalogue),
            table=self.table,
            reader=self._reader,
            writer=ReplayWriter(
                config.kafka,
                config.topics,
                encode=delivery_encoder(schema_id),
                acknowledged_within_s=config.lease_s / 3,
            ),
            selection=self._selection,
            stop=self._stop,
            lease=self._lease,
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
        try:
            self._reader.step(0)
            if self._reader.loaded:
                self.health.up("table")
                self._claim_if_due()
            done = sum([self._step(run) for run in [*self._runs.values()]])
        except DatabaseError:
            self._drop_all()
            raise
        if not done:
            self._stop.wait(timeout_s)
        return done

    def close(self) -> None:
        """Let go of everything, so that others go on at once. Calling it twice is harmless."""
        for run in self._runs.values():
            try:
                run.release()
            except (ProcessorError, DatabaseError, LeaseLostError) as exc:  # its lease ends by itself
                log.warning("a replay was not let go of", replay=run.replay.id, reason=str(exc))
        self._drop_all()
        self._reader.close()
        if self._deps is not None:
            self._deps.writer.close()

    def _selection(self, replay: StoredReplay) -> Selection:
        return Selection(
            replay.asked.wanted,
            self.table,
            events=self._events,
            deliveries=self._deliveries,
            max_body_bytes=self._config.max_body_bytes,
        )

    def _claim_if_due(self) -> None:
        now = time.monotonic()
        kinds = open_kinds(run.replay for run in self._runs.values())
        if now < self._claim_at or not kinds:
            return
        self._claim_at = now + _CLAIM_EVERY_S
        self._not_before = {each: at for each, at in self._not_before.items() if at > now}
        but_not = [*self._runs, *self._not_before]
        found = transact(
            self._sessions,
            lambda session: ReplayWork(session, self._lease, self._now_ms()).claim(but_not=but_not, kinds=kinds),
        )
        if found is not None:
            self._claim_at = 0.0  # there may be another one
            self._runs[found.id] = ReplayRun(self._opened(), found, claimed_at=now)
            log.info("a replay was taken", replay=found.id, state=found.state.value)

    def _step(self, run: ReplayRun) -> int:
        replay_id = run.replay.id
        try:
            done = run.step()
        except (DatabaseError, StoppedError):
            raise
        except LeaseLostError:
            log.warning("another process works on a replay now", replay=replay_id)
            self._drop(run)
        except (KafkaUnavailableError, RegistryError) as exc:
            log.warning("a replay waits", replay=replay_id, reason=str(exc))
            self._not_before[replay_id] = time.monotonic() + _TRY_AGAIN_S
            self._drop(run)
        except ProcessorError as exc:
            log.error("a replay failed", replay=replay_id, reason=str(exc))  # noqa: TRY400  # the reason says it all
            self._fail(run, str(exc))
        else:
            if run.ended:
                self._drop(run)
            return done
        return 1

    def _fail(self, run: ReplayRun, reason: str) -> None:
        try:
            run.end(failed=reason)
        except LeaseLostError:
            log.warning("another process works on a replay now", replay=run.replay.id)
        self._drop(run)

    def _drop(self, run: ReplayRun) -> None:
        self._runs.pop(run.replay.id, None)
        run.close()

    def _drop_all(self) -> None:
        for run in [*self._runs.values()]:
            self._drop(run)

    def _opened(self) -> RunDeps:
        if self._deps is None:
            message = "the replayer is not open"
            raise RuntimeError(message)
        return self._deps
