"""Puts a worker together: everything that needs the event loop, each object made once and complete."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from hookstream.processors.delivery.attempts.lines import AttemptLines
from hookstream.processors.delivery.attempts.producer import AttemptLog
from hookstream.processors.delivery.engine.dispatcher import Dispatcher
from hookstream.processors.delivery.group.group_rebalance import PollConfig
from hookstream.processors.delivery.group.poll_requests import PollRequests
from hookstream.processors.delivery.group.poll_thread import PollThread
from hookstream.processors.delivery.http.client import HttpClient
from hookstream.processors.delivery.partitions.catch_up_reading import CatchUpReading
from hookstream.processors.delivery.partitions.dead_letters import DeadLetters
from hookstream.processors.delivery.partitions.known_schemas import KnownSchemas
from hookstream.processors.delivery.partitions.log_reader import Chunk, LogReader
from hookstream.processors.delivery.partitions.notices import EndpointNoticeWriter, Notices
from hookstream.processors.delivery.partitions.owned_partitions import OwnedPartitions
from hookstream.processors.delivery.partitions.partition_deps import DeliveryCodec, PartitionDeps
from hookstream.processors.delivery.partitions.record_writer import RecordWriter
from hookstream.processors.delivery.partitions.schema_fetcher import SchemaFetcher, backlog_decoder
from hookstream.processors.topic_specs import DEAD_LETTER_EXTRA_BYTES
from hookstream.schemas.codecs.dead_letters import dead_letter_encoder
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.codecs.hooks import notice_encoder
from hookstream.schemas.event_schema import NOTICES

from .catch_up_planner import CatchUpPlanner
from .committing import CommitDeps, Committing
from .delivery_loop import DeliveryLoop, LoopDeps
from .failure import Failure
from .housekeeping import Housekeeping, HousekeepingDeps
from .loop_bridge import LoopBridge
from .loop_clock import LoopClock
from .partition_handover import HandoverDeps, PartitionHandover
from .request_builder import RequestBuilder
from .requests_in_flight import RequestDeps, Requesting
from .state_sweep import StateSweep
from .state_writer import StateWriter
from .turns import Turns
from .worker_config import WorkerConfig, WorkerDeps
from .worker_start import FoundAtStart
from .worker_tables import WorkerTables


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A worker that is put together; nothing of it runs but the readers for cursors, which wait for requests."""

    tables: WorkerTables
    failure: Failure
    partitions: OwnedPartitions
    turns: Turns
    loop: DeliveryLoop
    handover: PartitionHandover
    requests: Requesting
    reading: CatchUpReading
    poll_requests: PollRequests
    poll: PollThread
    writer: RecordWriter
    attempts: AttemptLog
    http: HttpClient


def compose(
    config: WorkerConfig,
    deps: WorkerDeps,
    *,
    tables: WorkerTables,
    schemas: KnownSchemas,
    failure: Failure,
    found: FoundAtStart,
) -> Composition:
    """Make every object; call it in the loop.

    Raises:
        KafkaRefusedError: a configuration that librdkafka refuses.
    """
    loop = asyncio.get_running_loop()
    topics, metrics = config.topics, deps.metrics
    names = (topics.deliveries, topics.replays)
    turns, clock, partitions, poll_requests = Turns(loop), LoopClock(), OwnedPartitions(), PollRequests()
    writer = RecordWriter(
        config.kafka, max_record_bytes=config.max_event_bytes + DEAD_LETTER_EXTRA_BYTES, failed=failure.fail
    )
    attempts = AttemptLog(config.kafka, topics.attempts, schema_id=found.schema_ids[topics.attempts])
    http = HttpClient(config.http, config.targets.guard(), deps.resolver, report_error=deps.internal_errors.report)
    fetcher = SchemaFetcher(schemas, health=deps.health, stop=deps.stop, failed=failure.fail)
    shared = _shared(config, deps, tables, found, schemas=schemas, fetcher=fetcher, writer=writer, wake=turns.wake)
    requests = Requesting(
        RequestDeps(
            dispatcher=shared.dispatcher,
            http=http,
            builder=RequestBuilder(deps.secrets, config.targets.policy()),
            attempts=attempts,
            lines=shared.lines,
            spans=deps.spans,
            metrics=metrics,
            internal_errors=deps.internal_errors,
        ),
        answered=turns.wake,
    )
    states = StateWriter(writer, topics=names, state_topic=topics.delivery_state, monotonic_s=clock.monotonic_s)
    committing = Committing(
        CommitDeps(
            owned=partitions.order,
            topics=names,
            identities=found.identities,
            states=states,
            send=poll_requests.commit,
            table_offset=lambda: tables.rows.offset,
            wake=turns.wake,
            monotonic_s=clock.monotonic_s,
            version=config.metadata_version,
        )
    )
    reading = CatchUpReading(names, _reader_maker(config, deps, fetcher, failure), fed=lambda _: turns.wake())
    handover = PartitionHandover(
        HandoverDeps(
            shared=shared,
            partitions=partitions,
            turns=turns,
            clock=clock,
            requests=requests,
            reading=reading,
            committing=committing,
            table_ready=lambda starting: tables.know_enough_for(starting, found.identities),
            drain_timeout_s=config.drain_timeout_s,
        )
    )
    sweep = StateSweep(
        config.kafka, topics=names, state_topic=topics.delivery_state, committing=committing, states=states
    )
    housekeeping = Housekeeping(
        HousekeepingDeps(
            partitions=partitions,
            turns=turns,
            clock=clock,
            attempts=attempts,
            committing=committing,
            states=states,
            sweep=sweep,
            metrics=metrics,
        ),
        loop,
    )
    delivery_loop = DeliveryLoop(
        LoopDeps(
            partitions=partitions,
            turns=turns,
            clock=clock,
            dispatcher=shared.dispatcher,
            requests=requests,
            attempts=attempts,
            committing=committing,
            planner=CatchUpPlanner(reading, partitions, turns, loop),
            handover=handover,
            housekeeping=housekeeping,
            metrics=metrics,
            failed=failure.fail,
        )
    )
    failure.listen(delivery_loop.abandon_all)
    tables.listen(
        row_changed=delivery_loop.row_changed,
        rows_applied=handover.start_waiting,
        settings_changed=delivery_loop.settings_changed,
    )
    poll = PollThread(
        PollConfig(
            kafka=config.kafka,
            group=topics.deliver_group,
            topics=names,
            state_topic=topics.delivery_state,
            identities=found.identities,
            table_offset=lambda: tables.rows.offset,
            metadata_version=config.metadata_version,
        ),
        LoopBridge(loop, handover, turns, failure.fail),
        deps.stop,
        poll_requests,
    )
    return Composition(
        tables=tables,
        failure=failure,
        partitions=partitions,
        turns=turns,
        loop=delivery_loop,
        handover=handover,
        requests=requests,
        reading=reading,
        poll_requests=poll_requests,
        poll=poll,
        writer=writer,
        attempts=attempts,
        http=http,
    )


def _shared(  # noqa: PLR0913 - what partitions share is made of all this
    config: WorkerConfig,
    deps: WorkerDeps,
    tables: WorkerTables,
    found: FoundAtStart,
    *,
    schemas: KnownSchemas,
    fetcher: SchemaFetcher,
    writer: RecordWriter,
    wake: Callable[[], None],
) -> PartitionDeps:
    topics, ids = config.topics, found.schema_ids
    decode = delivery_decoder(schemas)
    return PartitionDeps(
        policy=config.policy,
        topics=(topics.deliveries, topics.replays),
        table=tables.rows,
        settings=tables.settings,
        dispatcher=Dispatcher(config.policy),
        codec=DeliveryCodec(
            decode=decode,
            decode_backlog=backlog_decoder(decode),
            undecodable=schemas.lacks,
            encode=delivery_encoder(ids[topics.deliveries]),
            fetch_schema=fetcher.fetch,
        ),
        dead_letters=DeadLetters(writer, topics.dead_letters, encode=dead_letter_encoder(ids[topics.dead_letters])),
        notify=Notices(writer, topics.hook_notices, encode=notice_encoder(ids[topics.hook_notices])).write,
        tell=EndpointNoticeWriter(
            writer,
            topics.events(NOTICES),
            encode=event_encoder(config.catalogue, NOTICES, ids[topics.events(NOTICES)]),
            told=deps.metrics.notice_told,
        ).write,
        wake=wake,
        random=random.random,
        lines=AttemptLines(),
        spans=deps.spans,
        metrics=deps.metrics,
    )


def _reader_maker(
    config: WorkerConfig, deps: WorkerDeps, fetcher: SchemaFetcher, failure: Failure
) -> Callable[[str, Callable[[Chunk], None]], LogReader]:
    def make(name: str, deliver: Callable[[Chunk], None]) -> LogReader:
        return LogReader(
            config.kafka,
            name=name,
            deliver=deliver,
            failed=failure.fail_from_thread,
            prepare=fetcher.prepare,
            tracing=deps.spans is not None,
        )

    return make
