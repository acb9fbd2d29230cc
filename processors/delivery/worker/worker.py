"""The delivery worker: consumes `deliveries`, posts, commits. `DeliveryWorker(...).run()` is the whole role.

Threads: the poll thread is the only user of the group's consumer (`group_member`); the loop's thread, which called
`run`, has the engines, the requests and the tables (`delivery_loop`). The others only bring something in: the tables,
stretches of logs that cursors want (`log_reader`), and the watchdog.

Start: ids and schemas, then the whole table and the endpoint settings, then the group. Stop: nothing more is sent,
what is in flight is waited for, commits are made, and then the group is left (nothing is drained while leaving it: no
heartbeat is sent there).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog
import uvloop

from hookstream.processors.delivery.http.resolver import Resolver, SystemResolver
from hookstream.processors.delivery.partitions.known_schemas import KnownSchemas
from hookstream.processors.errors import StoppedError
from hookstream.processors.lifecycle import Health, StopSignal, spare_garbage_collection, until_available
from hookstream.processors.metrics import Metrics
from hookstream.producers.registry import SchemaRegistry
from hookstream.subscriptions.secrets import SecretBox

from .composition import Composition, compose
from .failure import Failure
from .internal_errors import InternalErrors
from .watchdog import Watchdog
from .worker_config import WorkerConfig, WorkerDeps
from .worker_start import find_out
from .worker_tables import WorkerTables

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.spans import AttemptSpans
    from hookstream.processors.delivery.partitions.owned_partition import OwnedPartition

_CHECK_EVERY_S = 0.1
_JOIN_WITHIN_S = 10.0

log = structlog.get_logger("hookstream.deliver")


class DeliveryWorker:
    """One member of the workers' group."""

    def __init__(  # noqa: PLR0913 - what the process brings
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
        """Prepare; nothing is connected yet. Without `spans` no header of a record is read."""
        self._config = config
        self._deps = WorkerDeps(
            registry=registry,
            secrets=secrets,
            stop=stop,
            health=health,
            metrics=metrics,
            internal_errors=internal_errors or InternalErrors(metrics),
            resolver=resolver or SystemResolver(),
            spans=spans,
        )
        self._running: RunningWorker | None = None
        for component in ("table", "settings", "group"):
            health.down(component, "starting")

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more; where its poll thread hangs, it is a member of the group still."""
        return self._running is None or self._running.composition.poll.join(0)

    @property
    def running(self) -> RunningWorker | None:
        """What runs, once it was put together."""
        return self._running

    @property
    def partitions(self) -> Mapping[int, OwnedPartition]:
        """What it owns now."""
        return {} if self._running is None else self._running.composition.partitions.by_index

    def run(self) -> None:
        """Deliver until `stop` is asked; the calling thread becomes the loop's.

        Raises:
            StartRefusedError: a partition's commit, log and state do not fit: an operator has to decide.
            ProcessorError: anything else that ended it; start the process again.
            RegistryError: the registry says no.
        """
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except StoppedError:
            log.info("stopped while waiting")

    async def _main(self) -> None:
        loop, config, deps = asyncio.get_running_loop(), self._config, self._deps
        failure = Failure(loop, deps.internal_errors)
        loop.set_exception_handler(failure.take_uncaught)
        schemas = KnownSchemas(deps.registry.schema_text_by_id)
        tables = WorkerTables(
            config.kafka, config.topics, deps.registry.schema_text_by_id, loop, failure.fail_from_thread
        )
        try:
            found = await asyncio.to_thread(find_out, config, deps, schemas, tables)
            _tune_garbage_collection()
            self._running = RunningWorker(
                config,
                deps,
                compose(config, deps, tables=tables, schemas=schemas, failure=failure, found=found),
            )
            await self._running.run()
        finally:
            await asyncio.to_thread(tables.close)


class RunningWorker:
    """A worker that is put together, from reading the tables to leaving the group."""

    def __init__(self, config: WorkerConfig, deps: WorkerDeps, composition: Composition) -> None:
        """Nothing of it runs yet."""
        self.composition = composition
        self._config = config
        self._deps = deps
        self._watchdog = Watchdog(self._beats)

    async def run(self) -> None:
        """Run until `stop` is asked, or until it fails.

        Raises:
            Exception: the first error.
        """
        composition, deps, tables = self.composition, self._deps, self.composition.tables
        try:
            await asyncio.to_thread(
                until_available,
                "kafka",
                lambda: composition.writer.warm_up(self._config.topics.dead_letters),
                stop=deps.stop,
                health=deps.health,
            )
            tables.start()
            await self._until(lambda: tables.rows_loaded)
            await self._until(lambda: tables.settings_loaded)
            if not deps.stop.asked:
                composition.poll.start()
                self._watchdog.start()
                deps.health.up("settings")
                deps.health.up("group")
                await self._until(lambda: False)
                await self._finish()
        finally:
            self._watchdog.stop()
            composition.poll_requests.end()
            composition.loop.abandon_all()
            await asyncio.to_thread(composition.poll.join, _JOIN_WITHIN_S)
            await asyncio.to_thread(tables.close)
            await asyncio.to_thread(composition.reading.close)
            await composition.http.close()
            composition.attempts.close()
            composition.writer.close()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, for the request to stop, or for the worker to fail."""
        ended = self.composition.failure.ended
        while not (self._deps.stop.asked or condition()):
            self._report()
            done, _ = await asyncio.wait([ended], timeout=_CHECK_EVERY_S)
            if done:
                ended.result()

    async def _finish(self) -> None:
        """Deliver nothing more, and leave in order."""
        composition = self.composition
        self._deps.health.down("group", "stopping")
        composition.poll_requests.drain()
        commits = await composition.handover.give_away(list(composition.partitions.by_index))
        composition.poll_requests.finish(commits)

    def _report(self) -> None:
        composition, health, metrics = self.composition, self._deps.health, self._deps.metrics
        tables = composition.tables
        metrics.expired_of["deliver"] = composition.poll_requests.expired + composition.reading.expired
        metrics.table_offset_of["deliver"] = tables.rows.offset
        if not tables.rows_loaded:
            health.down("table", f"read up to {tables.rows.offset} of {tables.rows_reader.target_offset}")
        elif composition.handover.waiting_for_table:
            health.down("table", "not read far enough, or re-created without `hookstream subscriptions resync`")
        else:
            health.up("table")
        if composition.requests.braked:
            health.down("requests", "every request fails by an internal error: see the log")
        else:
            health.up("requests")

    def _beats(self) -> Mapping[str, float]:
        return {"loop": self.composition.turns.beat, "poll": self.composition.poll_requests.beat}


def _tune_garbage_collection() -> None:
    """Look for garbage seldom, and never in what is there from the start.

    What the engines hold forms no cycles that outlive it, but every 700 new objects would start a search, and every
    quarter of growth one through all of it: a sixth of the CPU of a delivery. A search among 20,000 new objects takes
    up to 30 ms, in which nothing is sent; among 2,000 it takes 3.
    """
    spare_garbage_collection()
    gc.set_threshold(2_000, 500, 100)
