"""The delivery worker: consumes `deliveries`, posts, commits. `DeliveryWorker(...).run()` is the whole role.

Threads: the poll thread is the only user of the group's consumer (`poll_thread`); the loop's thread, which called
`run`, has the engines, the requests and the table (`delivery_loop`). The others only bring something in: the
subscriptions table, stretches of logs that cursors want (`log_reader`), and the watchdog.

Start: ids and schemas, then the whole table and the operators' settings, then the group. Stop: nothing more is sent,
what is in flight is waited for, commits are made, and then the group is left (nothing is drained while leaving it: no
heartbeat is sent there).
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
import uvloop
from confluent_kafka import TopicPartition

from hookstream.processors.delivery.attempts.lines import AttemptLines
from hookstream.processors.delivery.attempts.producer import AttemptLog
from hookstream.processors.delivery.checkpoints.commit_metadata import VERSION, log_digest, table_digest
from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting
from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity
from hookstream.processors.delivery.engine.dispatcher import Dispatcher
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.http.client import HttpClient, HttpClientConfig
from hookstream.processors.delivery.http.pool import PoolLimits
from hookstream.processors.delivery.http.resolver import Resolver, SystemResolver
from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.errors import StoppedError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import RETRIABLE, Health, StopSignal, until_available
from hookstream.processors.metrics import Metrics
from hookstream.processors.tables.endpoint_settings import EndpointSettingsReader, EndpointSettingsTable, SettingsBatch
from hookstream.processors.tables.subscription_reader import SubscriptionReader, TableBatch, apply_rows
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.processors.tables.table_thread import TableThread
from hookstream.processors.topic_specs import DEAD_LETTER_EXTRA_BYTES
from hookstream.processors.topics import cluster_id, topic_ids
from hookstream.producers.errors import NotRegisteredError
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.codec import (
    dead_letter_encoder,
    delivery_decoder,
    delivery_encoder,
    endpoint_settings_decoder,
    notice_encoder,
    subscription_decoder,
)
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.secrets import SecretBox

from .catch_up_reading import CatchUpReading
from .committing import CommitParts, Committing
from .dead_letters import DeadLetters
from .delivery_loop import DeliveryLoop, LoopParts
from .group_rebalance import PollConfig
from .internal_errors import InternalErrors
from .known_schemas import KnownSchemas
from .log_reader import Chunk, LogReader
from .notices import Notices
from .owned_partition import PartitionParts
from .poll_requests import Committed, PollRequests
from .poll_thread import PollThread
from .record_writer import RecordWriter
from .request_builder import RequestBuilder
from .schema_fetcher import SchemaFetcher, owed_decoder
from .state_sweep import StateSweep
from .watchdog import Watchdog

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.spans import AttemptSpans

# Many endpoints of many clients are often one origin (an automation service), so an origin may keep what it needs: with
# 64 kept for 640 in flight, two in five deliveries opened a connection, and a worker made a tenth of what it can.
POOL = PoolLimits(max_idle_per_origin=1024, max_idle=1024)

_CHECK_EVERY_S = 0.1
_JOIN_WITHIN_S = 10.0

log = structlog.get_logger("hookstream.deliver")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What a worker has to know. `drain_timeout_s` bounds how long it holds what it has to give away."""

    kafka: KafkaConfig
    topics: TopicNames
    catalogue: Catalogue
    policy: EnginePolicy = field(default_factory=EnginePolicy)
    http: HttpClientConfig = field(default_factory=lambda: HttpClientConfig(pool=POOL))
    targets: TargetRules = field(default_factory=TargetRules)
    max_event_bytes: int = 1_048_576
    drain_timeout_s: float = 20.0
    metadata_version: int = VERSION


def _tune_garbage_collection() -> None:
    """Look for garbage seldom, and never in what is there from the start.

    What the engines hold forms no cycles that outlive it, but every 700 new objects would start a search, and every
    quarter of growth one through all of it: a sixth of the CPU of a delivery.
    """
    gc.unfreeze()  # of a worker that ran before in this process
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


class DeliveryWorker:
    """One member of the workers' group."""

    def __init__(  # noqa: PLR0913 - what the composition brings
        self,
        config: WorkerConfig,
        registry: SchemaRegistry,
        secrets: SecretBox,
        *,
        stop: StopSignal,
        health: Health,
        metrics: Metrics,
        resolver: Resolver | None = None,
        spans: AttemptSpans | None = None,
        internal_errors: InternalErrors | None = None,
    ) -> None:
        """Prepare; nothing is connected yet.

        `spans` are recorded where somebody wants traces; without it no header is looked at.
        """
        self._config = config
        self._registry = registry
        self._secrets = secrets
        self._stop = stop
        self._health = health
        self._metrics = metrics
        self._internal_errors = internal_errors or InternalErrors(metrics)
        self._resolver = resolver or SystemResolver()
        self._spans = spans
        self._schemas = KnownSchemas(registry.schema_text_by_id)
        self._fetcher = SchemaFetcher(self._schemas, health=health, stop=stop, failed=self._fail)
        self.table = SubscriptionTable()
        self._reader = SubscriptionReader(
            config.kafka,
            config.topics.subscriptions,
            decode=subscription_decoder(registry.schema_text_by_id),
            deliver=self._bring_rows,
        )
        self.settings = EndpointSettingsTable()
        self._settings_reader = EndpointSettingsReader(
            config.kafka,
            config.topics.control,
            decode=endpoint_settings_decoder(registry.schema_text_by_id),
            deliver=self._bring_settings,
        )
        for part in ("table", "settings", "group"):
            health.down(part, "starting")
        self._ids: dict[str, int] = {}
        self._identities: tuple[LogIdentity, LogIdentity]
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Future[None]
        self._deliveries: DeliveryLoop
        self._poll: PollThread
        self._poll_requests = PollRequests()

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more; where its poll thread hangs, it is a member of the group still."""
        return not hasattr(self, "_poll") or self._poll.join(0)

    def run(self) -> None:
        """Deliver until somebody asks to stop; the calling thread becomes the loop's.

        Raises:
            StartRefusedError: a partition's commit, log and state do not fit: an operator has to decide.
            ProcessorError: anything else that ended it; start the process again.
            RegistryError: the registry says no.
        """
        try:
            self._open()
            _tune_garbage_collection()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except StoppedError:
            log.info("stopped while waiting")
        finally:
            self._reader.close()
            self._settings_reader.close()

    # --- start --------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Find out everything that does not need the loop, waiting for what is away."""
        config, topics = self._config, self._config.topics
        subjects = config.catalogue.subjects(topics)
        names = (topics.deliveries, topics.dead_letters, topics.attempts, topics.hook_notices)

        def wait(what: str, attempt: Callable[[], object]) -> None:
            until_available(
                what, attempt, stop=self._stop, health=self._health, retriable=(*RETRIABLE, NotRegisteredError)
            )

        def look_up_schemas() -> None:
            for name in names:
                self._ids[name] = self._registry.id_for(subject(name), subjects[subject(name)])
            self._schemas.fetch(self._ids[topics.deliveries])

        def identify() -> None:
            cluster = cluster_id(config.kafka)
            ids = topic_ids(config.kafka, [topics.deliveries, topics.replays])
            table = table_digest(self._reader.topic_id)
            live, replay = (
                LogIdentity(log_digest(cluster, ids[name]), table) for name in (topics.deliveries, topics.replays)
            )
            self._identities = (live, replay)

        wait("schema registry", look_up_schemas)
        wait("kafka", self._reader.open)
        wait("kafka", self._settings_reader.open)
        wait("kafka", identify)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._loop.set_exception_handler(self._take_bug)
        writer, attempts, http = self._compose()
        table = TableThread(self._reader, failed=self._fail_from_thread)
        settings = TableThread(self._settings_reader, failed=self._fail_from_thread, name="control-table")
        watchdog = Watchdog(self._beats)
        try:
            await asyncio.to_thread(
                until_available,
                "kafka",
                lambda: writer.warm_up(self._config.topics.dead_letters),
                stop=self._stop,
                health=self._health,
            )
            self.table.listen(lambda _, row: self._deliveries.row_changed(row.client, row.event))
            table.start()
            settings.start()
            await self._until(lambda: self.table.offset >= self._reader.target_offset)
            await self._until(lambda: self._settings_reader.covered_by(self.settings.next_offsets))
            if not self._stop.asked:
                self._poll.start()
                watchdog.start()
                self._health.up("settings")
                self._health.up("group")
                await self._until(lambda: False)
                await self._finish()
        finally:
            watchdog.stop()
            self._poll_requests.end()
            self._deliveries.abandon_all()
            await asyncio.to_thread(self._poll.join, _JOIN_WITHIN_S)
            await asyncio.to_thread(table.stop)
            await asyncio.to_thread(settings.stop)
            await asyncio.to_thread(self._deliveries.readers.close)
            await http.close()
            attempts.close()
            writer.close()

    def _compose(self) -> tuple[RecordWriter, AttemptLog, HttpClient]:
        """Make every part that needs the loop; give those that have to be closed."""
        config, topics = self._config, self._config.topics
        writer = RecordWriter(
            config.kafka, max_record_bytes=config.max_event_bytes + DEAD_LETTER_EXTRA_BYTES, failed=self._fail
        )
        attempts = AttemptLog(config.kafka, topics.attempts, schema_id=self._ids[topics.attempts])
        http = HttpClient(config.http, config.targets.guard(), self._resolver, met=self._internal_errors.met)
        self._deliveries = self._make_loop(writer, attempts, http)
        self._deliveries.readers = CatchUpReading(
            (topics.deliveries, topics.replays), self._make_reader, fed=lambda _: self._deliveries.wake()
        )
        return writer, attempts, http

    def _make_loop(self, writer: RecordWriter, attempts: AttemptLog, http: HttpClient) -> DeliveryLoop:
        config, topics, ids = self._config, self._config.topics, self._ids
        names = (topics.deliveries, topics.replays)
        dispatcher = Dispatcher(config.policy)
        decode = delivery_decoder(self._schemas)
        notices = Notices(writer, topics.hook_notices, encode=notice_encoder(ids[topics.hook_notices]))
        shared = PartitionParts(
            policy=config.policy,
            topics=names,
            table=self.table,
            dispatcher=dispatcher,
            decode=decode,
            decode_owed=owed_decoder(decode),
            undecodable=self._schemas.lacks,
            settings=self.settings,
            encode=delivery_encoder(ids[topics.deliveries]),
            dead_letters=DeadLetters(writer, topics.dead_letters, encode=dead_letter_encoder(ids[topics.dead_letters])),
            notify=notices.write,
            fetch_schema=self._fetcher.fetch,
            wake=self._wake,
            random=random.random,
            lines=AttemptLines(),
            spans=self._spans,
            metrics=self._metrics,
        )
        committing = Committing(
            CommitParts(
                topics=names,
                state_topic=topics.delivery_state,
                identities=self._identities,
                writer=writer,
                send=self._send_commits,
                table_offset=lambda: self.table.offset,
                wake=self._wake,
                version=config.metadata_version,
            ),
            time.monotonic,
        )
        loop = DeliveryLoop(
            LoopParts(
                shared=shared,
                dispatcher=dispatcher,
                http=http,
                requests=RequestBuilder(self._secrets, config.targets.policy()),
                attempts=attempts,
                spans=self._spans,
                committing=committing,
                sweep=StateSweep(config.kafka, topics=names, state_topic=topics.delivery_state, committing=committing),
                metrics=self._metrics,
                internal_errors=self._internal_errors,
                table_ready=self._table_ready,
                failed=self._fail,
                drain_timeout_s=config.drain_timeout_s,
            ),
            self._loop,
        )
        poll_config = PollConfig(
            kafka=config.kafka,
            group=topics.deliver_group,
            topics=names,
            state_topic=topics.delivery_state,
            identities=self._identities,
            table_offset=lambda: self.table.offset,
            metadata_version=config.metadata_version,
        )
        self._poll = PollThread(poll_config, loop, self._stop, self._poll_requests)
        return loop

    def _make_reader(self, name: str, deliver: Callable[[Chunk], None]) -> LogReader:
        return LogReader(
            self._config.kafka,
            name=name,
            deliver=deliver,
            failed=self._fail_from_thread,
            prepare=self._fetcher.prepare,
            tracing=self._spans is not None,
        )

    def _wake(self) -> None:
        self._deliveries.wake()

    def _send_commits(self, offsets: list[TopicPartition], committed: Committed) -> None:
        self._poll_requests.commit(offsets, committed)

    # --- while it runs ------------------------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        """End the worker with this error; the first one counts.

        At once nothing more is sent or committed: of an engine that raised nobody knows what it would say.
        """
        if not self._ended.done():
            self._ended.set_exception(error)
            self._deliveries.abandon_all()

    def _fail_from_thread(self, error: Exception) -> None:
        """The same, from any thread."""
        self._loop.call_soon_threadsafe(self._fail, error)

    def _take_bug(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take an exception that nobody caught.

        One of a connection ends that connection, which its request hears of; one of a task ends that task: no partition
        hangs on it. After any other the worker ends: else it would hold partitions and not serve them.
        """
        error = context.get("exception") or RuntimeError(str(context.get("message")))
        where = "connection" if "transport" in context or "protocol" in context else "task"
        if where == "connection" or "task" in context or "future" in context:
            self._internal_errors.met(where, error)
        else:
            self._fail(error)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, for somebody to ask to stop, or for the worker to fail."""
        while not (self._stop.asked or condition()):
            self._report()
            done, _ = await asyncio.wait([self._ended], timeout=_CHECK_EVERY_S)
            if done:
                self._ended.result()

    async def _finish(self) -> None:
        """Deliver nothing more, and say goodbye in order."""
        self._health.down("group", "stopping")
        self._poll_requests.drain()
        commits = await self._deliveries.give_away(list(self._deliveries.partitions))
        self._poll_requests.finish(commits)

    def _report(self) -> None:
        metrics = self._metrics
        metrics.expired_of["deliver"] = self._poll_requests.expired + self._deliveries.readers.expired
        metrics.table_offset_of["deliver"] = self.table.offset
        if self.table.offset < self._reader.target_offset:
            self._health.down("table", f"read up to {self.table.offset} of {self._reader.target_offset}")
        elif self._deliveries.waiting_for_table:
            self._health.down("table", "not read far enough, or re-created without `hookstream subscriptions resync`")
        else:
            self._health.up("table")
        if self._deliveries.braked:
            self._health.down("requests", "every request fails by an internal error: see the log")
        else:
            self._health.up("requests")

    def _beats(self) -> Mapping[str, float]:
        return {"loop": self._deliveries.beat, "poll": self._poll_requests.beat}

    def _table_ready(self, starting: PartitionStarting) -> bool:
        """Whether the table knows at least what the predecessor's did."""
        table = self.table
        if table.offset < self._reader.target_offset:
            return False
        for stream, identity in zip(starting.streams, self._identities, strict=True):
            metadata = stream.start.metadata
            if metadata is None:
                continue
            if metadata.table_digest != identity.table_digest:
                if table.resynced_topic_id != self._reader.topic_id:
                    return False
            elif table.offset < metadata.table_offset:
                return False
        return True

    def _bring_rows(self, batch: TableBatch) -> None:
        """Take rows over into the loop's thread; called in the table's."""
        self._loop.call_soon_threadsafe(self._apply_rows, batch)

    def _bring_settings(self, batch: SettingsBatch) -> None:
        """Take operators' settings over into the loop's thread; called in their reader's."""
        self._loop.call_soon_threadsafe(self._apply_settings, batch)

    def _apply_settings(self, batch: SettingsBatch) -> None:
        for wanted in self.settings.apply(batch):
            self._deliveries.settings_changed(wanted.client, wanted.target_digest)

    def _apply_rows(self, batch: TableBatch) -> None:
        apply_rows(batch, self.table)
        if self._deliveries.waiting_for_table:
            self._deliveries.start_waiting()
