"""Deliveries under load, and the judge of what became of them: for tests that hurt something meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from confluent_kafka import TopicPartition

from hookstream.processors.delivery.checkpoints.commit_metadata import decode_metadata
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.engine.tracker import SettledSet
from hookstream.processors.kafka import group_consumer_config, make_consumer, reader_config
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.offsets import end_offset
from tests.support.delivery_process import WorkerSettings, build_worker
from tests.support.delivery_stage import DeliveryStage, RunningWorker
from tests.support.targets import Seen, Targets
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hookstream.processors.delivery.attempts.spans import AttemptSpans
    from hookstream.processors.delivery.checkpoints.commit_metadata import CommitMetadata, StatePointer
    from hookstream.processors.delivery.http.resolver import Resolver
    from hookstream.producers.registry import SchemaRegistry
    from hookstream.schemas.delivery import Delivery, DeliveryId
    from hookstream.schemas.hook import Hook
    from tests.support.processes import Process, Processes

# A quarantine that ends within a second of the healing, instead of within five.
QUICK_PROBES = {"probe_first_s": 0.4, "probe_steady_s": 0.4}
_LOAD_EVERY_S = 0.02


def most_requests(began_s: float, probe_every_s: float, *, workers: int = 1) -> int:
    """How many requests an endpoint may have got that has only failed since `began_s`, in monotonic seconds.

    Each worker that had it makes some until the breaker opens, and has some on their way then; the rest are probes, of
    which there are the more the longer a machine takes.
    """
    policy = EnginePolicy()
    probes = (time.monotonic() - began_s) / (probe_every_s * (1 - policy.jitter))
    return workers * (policy.breaker_in_a_row + policy.concurrency_start) + int(probes) + 1


class LocalWorker(RunningWorker):
    """A worker in a thread of this process, with its parts injected."""

    def __init__(
        self,
        settings: WorkerSettings,
        registry: SchemaRegistry,
        *,
        resolver: Resolver | None = None,
        spans: AttemptSpans | None = None,
    ) -> None:
        """Start it."""
        self.stop_signal, self.health, self.metrics = StopSignal(), Health(), Metrics()
        self.error: BaseException | None = None
        self.worker = build_worker(
            settings,
            registry,
            stop=self.stop_signal,
            health=self.health,
            metrics=self.metrics,
            resolver=resolver,
            spans=spans,
        )
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def standing(self) -> Iterator[str]:
        """Say where its partitions stand, for a failure's message."""
        yield f"not ready: {self.health.reasons}"
        running = self.worker.running
        if running is None:
            return
        yield f"fenced: {running.composition.loop.fenced}"
        for owned in list(self.worker.partitions.values()):
            engine = owned.engine
            for inbox, view in zip(owned.inboxes, engine.views, strict=True):
                yield (
                    f"partition {owned.index}: given {inbox.given}, taken {inbox.taken}, blocked {owned.blocked},"
                    f" position {view.position}, lowest unsettled {view.progress()[0]},"
                    f" in flight {len(engine.posts_in_flight)}, cursors {view.cursors()}"
                )
        silent_s = time.monotonic() - running.composition.poll_requests.beat
        yield f"paused {running.composition.poll.inboxes.paused}, silent {silent_s:.1f} s"


class DeliveryWorld(DeliveryStage):
    """A stage whose deliveries are remembered, with targets that are scripted."""

    def __init__(self, settings: WorkerSettings, targets: Targets) -> None:
        """Make topics and schemas."""
        super().__init__(settings)
        self.settings = settings
        self.targets = targets
        self.sent: list[Delivery] = []

    @property
    def encode(self) -> Callable[[Delivery], bytes]:
        """Writes deliveries."""
        return self._encode

    @encode.setter
    def encode(self, encode: Callable[[Delivery], bytes]) -> None:
        self._encode = encode

    # --- hooks and deliveries -----------------------------------------------------------------------------------------

    def hooks(self, *names: str, **fields: Any) -> list[Hook]:  # a field of Hook
        """Publish hooks, one client each, whose targets have these paths."""
        made = [self.hook(n, n, self.targets.url(name), **fields) for n, name in enumerate(names, 1)]
        self.publish(*made)
        return made

    def send(self, hook: Hook, concepts: Iterable[int], *, partition: int | None = None) -> list[Delivery]:
        """Produce one delivery per resource, and wait until Kafka has them."""
        made = [self.delivery(hook, concept) for concept in concepts]
        self.sent += made
        self.produce(made, partition=partition)
        return made

    @contextmanager
    def under_load(self, hooks: list[Hook], *, rate: int = 300, resources: int = 7) -> Iterator[Callable[[], int]]:
        """Produce in the background at this rate; gives how many so far. All are in Kafka at the end."""
        ended = threading.Event()
        failures: list[BaseException] = []

        def produce() -> None:
            began, number = time.monotonic(), 0
            try:
                while not ended.wait(_LOAD_EVERY_S):
                    while number < (time.monotonic() - began) * rate:
                        hook = hooks[number % len(hooks)]
                        delivery = self.delivery(hook, number // len(hooks) % resources)
                        self.sent.append(delivery)
                        self.produce_bytes(delivery.key, self.encode(delivery))
                        number += 1
            except BaseException as error:  # noqa: BLE001 - shown at the end
                failures.append(error)

        thread = threading.Thread(target=produce, name="load", daemon=True)
        thread.start()
        try:
            yield lambda: len(self.sent)
        finally:
            ended.set()
            thread.join()
        assert not failures, failures
        assert not self.producer.flush(60), "Kafka has not acknowledged everything"

    # --- workers ------------------------------------------------------------------------------------------------------

    def spawn(
        self, processes: Processes, *, ready: bool = True, **changes: Any
    ) -> Process:  # a field of WorkerSettings
        """Start a worker in a process of its own."""
        settings = json.dumps(asdict(replace(self.settings, **changes)))
        process = processes.python("-m", "tests.support.delivery_process", settings, name="worker")
        if ready:
            process.wait_until(lambda: "worker is ready" in process.log_text(), what="ready")
        return process

    def start(
        self,
        *,
        ready: bool = True,
        registry: SchemaRegistry | None = None,
        resolver: Resolver | None = None,
        spans: AttemptSpans | None = None,
        **changes: Any,  # a field of WorkerSettings
    ) -> LocalWorker:
        """Start a worker in this process."""
        settings = replace(self.settings, **changes)
        worker = LocalWorker(settings, registry or self.registry, resolver=resolver, spans=spans)
        self._workers.append(worker)
        if ready:
            worker.wait_ready()
        return worker

    def wait_known(self) -> None:
        """Wait until the workers of this process know every hook as Kafka has it."""
        consumer = make_consumer(reader_config(self.config.kafka))
        try:
            end = end_offset(consumer, self.topics.subscriptions, 0)
        finally:
            consumer.close()
        known = [worker.metrics.table_offset_of for worker in self._workers]
        eventually(lambda: all(at.get("deliver", 0) >= end for at in known), describe="every row is known")

    # --- what became of them ------------------------------------------------------------------------------------------

    def accepted(self, since: int = 0) -> list[Seen]:
        """What targets have accepted, in order."""
        return list(self.targets.accepted)[since:]

    def wait_accepted(self, more: int, deadline_s: float = WITHIN_S) -> None:
        """Wait until so many more requests were accepted."""
        wanted = len(self.targets.accepted) + more
        eventually(lambda: len(self.targets.accepted) >= wanted, deadline_s, describe=f"{more} more deliveries")

    def wait_all(self, deadline_s: float = WITHIN_S, *, of: Iterable[Delivery] | None = None) -> None:
        """Wait until everything that was sent has been accepted."""
        wanted: set[str] = {delivery.id for delivery in (self.sent if of is None else of)}

        def missing() -> set[str]:
            return wanted - {seen.id for seen in self.accepted()}

        try:
            eventually(lambda: not missing(), deadline_s, every_s=0.05)
        except AssertionError:
            lost = sorted(missing())
            by_hook = Counter(d.hook_id for d in self.sent if d.id in set(lost))
            where = [line for worker in self._workers if isinstance(worker, LocalWorker) for line in worker.standing()]
            raise AssertionError(
                "\n".join((f"{len(lost)} of {len(wanted)} have not arrived, by hook: {by_hook}", *where))
            ) from None

    def check_order(self, hooks: Iterable[Hook] | None = None) -> None:
        """Every lane's first deliveries came in the order of the log."""
        only = None if hooks is None else {hook.id for hook in hooks}
        place: dict[str, int] = {}
        for index, seen in enumerate(self.accepted()):
            place.setdefault(seen.id, index)
        lanes: dict[tuple[int, str], list[DeliveryId]] = defaultdict(list)
        for delivery in self.sent:
            if delivery.id in place and (only is None or delivery.hook_id in only):
                lanes[delivery.hook_id, delivery.concept_id].append(delivery.id)
        for lane, ids in lanes.items():
            places = [place[id_] for id_ in ids]
            assert places == sorted(places), f"lane {lane} is out of order"

    def duplicates(self) -> int:
        """How many accepted requests repeated an accepted one."""
        ids = [seen.id for seen in self.accepted()]
        return len(ids) - len(set(ids))

    def check_promises(self, deadline_s: float = WITHIN_S) -> int:
        """Everything arrives, in order; gives the number of duplicates."""
        self.wait_all(deadline_s)
        self.check_order()
        return self.duplicates()

    # --- what Kafka has -----------------------------------------------------------------------------------------------

    def commit_of(self, partition: int = 0) -> tuple[int, CommitMetadata | None]:
        """Offset and metadata that the group has of one partition of `deliveries`."""
        tp = self.committed()[self.topics.deliveries, partition]
        return tp.offset, decode_metadata(tp.metadata)

    def pointer_of(self, partition: int = 0) -> StatePointer | None:
        """The state that the commit of one partition of `deliveries` points to."""
        metadata = self.commit_of(partition)[1]
        return None if metadata is None else metadata.pointer

    def end_of(self, partition: int) -> int:
        """Where the log of one partition of `deliveries` ends."""
        consumer = make_consumer(reader_config(self.config.kafka))
        try:
            return end_offset(consumer, self.topics.deliveries, partition)
        finally:
            consumer.close()

    def settled_above(self, partition: int = 0) -> set[int]:
        """Offsets that the commit calls settled: all below it, and those of its set."""
        offset, metadata = self.commit_of(partition)
        settled = SettledSet(offset, b"" if metadata is None else metadata.settled)
        return {n for n in range(settled.end) if n < offset or n in settled}

    def alter_offset(self, tp: TopicPartition) -> None:
        """Commit as an operator's tool would, while no worker lives."""
        consumer = make_consumer(group_consumer_config(self.config.kafka, group=self.topics.deliver_group))
        try:
            consumer.commit(offsets=[tp], asynchronous=False)
        finally:
            consumer.close()
