"""What a delivery worker needs around it: topics, schemas, hooks with secrets, deliveries, and workers to start.

Run as a script it is one worker in a process of its own: `python delivery_stage.py '<JSON of a stage>'`.
"""

from __future__ import annotations

import cProfile
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from hookstream.processors.delivery.checkpoints.commit_metadata import decode_metadata
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.engine.tracker import SettledSet
from hookstream.processors.delivery.http.client import HttpClientConfig
from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.delivery.worker.worker import DeliveryWorker
from hookstream.processors.delivery.worker.worker_config import POOL, WorkerConfig
from hookstream.processors.kafka import (
    GroupProtocol,
    KafkaConfig,
    group_consumer_config,
    make_consumer,
    make_producer,
    producer_config,
    reader_config,
)
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.offsets import committed_offsets, end_offset, watermarks
from hookstream.processors.operations.embedded import embedded_registry
from hookstream.processors.operations.relays.endpoint_settings_writer import EndpointSettingsWriter
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from hookstream.schemas.body import thin_body
from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.codecs.attempts import attempt_decoder
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder
from hookstream.schemas.codecs.deliveries import delivery_encoder
from hookstream.schemas.codecs.endpoint_settings import endpoint_settings_encoder
from hookstream.schemas.codecs.hooks import notice_decoder, subscription_encoder
from hookstream.schemas.control import EndpointSettings, target_digest
from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.event import ClientId, Concept, Event, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, Revision
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.secrets import MasterKey, SecretBox, SigningSecret, hook_context
from tests.support.kafka_broker import let_sessions_last
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from hookstream.producers.registry import SchemaRegistry
    from tests.support.processes import Process, Processes

LOOPBACK = (ip_network("127.0.0.0/8"),)
SECRET = SigningSecret(b"0123456789abcdef0123456789abcdef")
EVENT = EventName("property.updated")


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What two processes have to agree on; `policy` and `worker` override defaults."""

    bootstrap_servers: str
    prefix: str = ""
    partitions: int = 12
    embedded: bool = False
    group_protocol: str = "consumer"
    policy: dict[str, Any] = field(default_factory=dict)
    master_key: str = "41" * 32
    drain_timeout_s: float = 10.0
    attempt_timeout_s: float = 15.0

    @property
    def kafka(self) -> KafkaConfig:
        return KafkaConfig(
            bootstrap_servers=self.bootstrap_servers,
            embedded=self.embedded,
            group_protocol=GroupProtocol(self.group_protocol),
        )

    @property
    def topics(self) -> TopicNames:
        return TopicNames(self.prefix)

    @property
    def secrets(self) -> SecretBox:
        return SecretBox((MasterKey(bytes.fromhex(self.master_key)),))


class RunningWorker:
    """A worker in a thread of this process."""

    def __init__(self, config: StageConfig, registry: SchemaRegistry, catalogue: Catalogue) -> None:
        self.stop_signal, self.health, self.metrics = StopSignal(), Health(), Metrics()
        self.error: BaseException | None = None
        self.worker = make_worker(config, registry, catalogue, self.stop_signal, self.health, self.metrics)
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def wait_ready(self, deadline_s: float = WITHIN_S) -> None:
        def ready() -> bool:
            if self.error is not None:
                raise self.error
            return self.health.ready

        eventually(ready, deadline_s, describe="the worker is ready")

    def wait_ended(self, deadline_s: float = WITHIN_S) -> BaseException | None:
        self._thread.join(deadline_s)
        assert not self._thread.is_alive(), "the worker has not ended"
        return self.error

    def stop(self) -> None:
        self.stop_signal.ask()
        error = self.wait_ended()
        if error is not None:
            raise error


def policy_of(numbers: dict[str, Any]) -> EnginePolicy:
    """Policy numbers as JSON has them."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()}
    return EnginePolicy(**fields)


def make_worker(
    config: StageConfig,
    registry: SchemaRegistry,
    catalogue: Catalogue,
    stop: StopSignal,
    health: Health,
    metrics: Metrics,
) -> DeliveryWorker:
    worker_config = WorkerConfig(
        kafka=config.kafka,
        topics=config.topics,
        catalogue=catalogue,
        policy=policy_of(config.policy),
        http=HttpClientConfig(pool=POOL, total_timeout_s=config.attempt_timeout_s),
        targets=TargetRules(allowed_networks=LOOPBACK),
        drain_timeout_s=config.drain_timeout_s,
    )
    return DeliveryWorker(worker_config, registry, config.secrets, stop=stop, health=health, metrics=metrics)


class DeliveryStage:
    """Topics, schemas, hooks and deliveries of one test."""

    def __init__(self, config: StageConfig) -> None:
        self.config, self.topics = config, config.topics
        self.catalogue = Catalogue.shipped()
        self.registry = embedded_registry(self.catalogue, self.topics)
        specs = topic_specs(self.topics, self.catalogue, TopicLimits(partitions=config.partitions))
        create_topics(config.kafka, specs)
        self._rows = SubscriptionWriter(
            config.kafka,
            self.topics.subscriptions,
            encode=subscription_encoder(self._schema_id(self.topics.subscriptions)),
        )
        self._settings_writer = EndpointSettingsWriter(
            config.kafka, self.topics.control, encode=endpoint_settings_encoder(self._schema_id(self.topics.control))
        )
        self._settings: dict[bytes, EndpointSettings] = {}
        self._encode = delivery_encoder(self._schema_id(self.topics.deliveries))
        self.producer: Producer = make_producer(producer_config(config.kafka, linger_ms=5))
        self._workers: list[RunningWorker] = []
        self._next_event = 0

    def _schema_id(self, topic: str) -> int:
        name = subject(topic)
        return self.registry.id_for(name, self.catalogue.subjects(self.topics)[name])

    def close(self) -> None:
        for worker in self._workers:
            worker.stop_signal.ask()
        for worker in self._workers:
            worker.wait_ended()

    def let_sessions_last(self) -> None:
        """Let no session of the workers' group end in a test that kills none of them."""
        let_sessions_last(self.config.bootstrap_servers, self.topics.deliver_group)

    # -- hooks and deliveries ------------------------------------------------------------------------------------

    def hook(self, hook_id: int, client: int | str, target: str, *, event: str = EVENT, **fields: Any) -> Hook:
        sealed = self.config.secrets.seal(SECRET.key, context=hook_context(str(client), event, hook_id))
        return Hook(
            id=HookId(hook_id),
            client=ClientId(str(client)),
            event=EventName(event),
            target=target,
            state=fields.pop("state", HookState.ENABLED),
            revision=Revision(fields.pop("revision", 1)),
            secrets=fields.pop("secrets", (sealed,)),
            **fields,
        )

    def publish(self, *hooks: Hook) -> None:
        self._rows.publish(hooks)

    def wanted(self, hook: Hook, **changes: Any) -> EndpointSettings:
        """Change what operators want of a hook's endpoint, and wait until Kafka has it."""
        first = EndpointSettings(
            client=hook.client, target_digest=target_digest(hook.target), asked_by="operator", reason="a test"
        )
        known = self._settings.get(first.key, first)
        wanted = self._settings[first.key] = replace(known, **{"revision": known.revision + 1, **changes})
        self._settings_writer.publish([wanted])
        return wanted

    def delivery(self, hook: Hook, concept: int, *, sub_namespace: str | None = None, **fields: Any) -> Delivery:
        self._next_event += 1
        now_ms = time.time_ns() // 1_000_000
        namespace = hook.event.partition(".")[0]
        about = Concept(id=concept, namespace=namespace, sub_namespace=sub_namespace)
        event = Event(name=hook.event, client=int(hook.client), concept=about, occurred_at_ms=now_ms)
        values: dict[str, Any] = {
            "id": DeliveryId(f"msg_{self._next_event:032x}"),
            "event": hook.event,
            "client": hook.client,
            "concept_id": str(concept),
            "namespace": namespace,
            "body": thin_body(event),
            "occurred_at_ms": now_ms,
            "hook_id": hook.id,
            "hook_revision": hook.revision,
            "source_topic": self.topics.events("property"),
            "source_partition": 0,
            "source_offset": self._next_event,
            "arrived_ms": now_ms,
        }
        return Delivery(**(values | fields))

    def produce(
        self, deliveries: Iterable[Delivery], *, partition: int | None = None, topic: str | None = None
    ) -> None:
        """Write deliveries, and wait until Kafka has them."""
        for delivery in deliveries:
            self.produce_bytes(delivery.key, self._encode(delivery), partition=partition, topic=topic)
        assert not self.producer.flush(WITHIN_S), "Kafka has not acknowledged everything"

    def produce_bytes(
        self, key: bytes, value: bytes | None, *, partition: int | None = None, topic: str | None = None
    ) -> None:
        where: dict[str, Any] = {} if partition is None else {"partition": partition}
        while True:
            try:
                self.producer.produce(topic or self.topics.deliveries, value, key, **where)
            except BufferError:
                self.producer.poll(0.1)
            else:
                self.producer.poll(0)
                return

    # -- workers -------------------------------------------------------------------------------------------------

    def start_worker(self, *, ready: bool = True, **changes: Any) -> RunningWorker:
        worker = RunningWorker(replace(self.config, **changes), self.registry, self.catalogue)
        self._workers.append(worker)
        if ready:
            worker.wait_ready()
        return worker

    def spawn_worker(self, processes: Processes, **changes: Any) -> Process:
        """Start a worker in a process of its own; its log says `ready` when it is."""
        settings = json.dumps(asdict(replace(self.config, **changes)))
        process = processes.python("-m", "tests.support.delivery_stage", settings, name="worker")
        process.wait_until(lambda: "worker is ready" in process.log_text(), what="ready")
        return process

    # -- what Kafka has ------------------------------------------------------------------------------------------

    def committed(self) -> dict[tuple[str, int], TopicPartition]:
        """The group's offsets and metadata of both topics."""
        config = {**group_consumer_config(self.config.kafka, group=self.topics.deliver_group)}
        consumer = Consumer(config)
        try:
            wanted = [
                TopicPartition(topic, partition)
                for topic in (self.topics.deliveries, self.topics.replays)
                for partition in range(self.config.partitions)
            ]
            found = committed_offsets(consumer, wanted, "cannot read the committed offsets")
            return {(tp.topic, tp.partition): tp for tp in found}
        finally:
            consumer.close()

    def committed_total(self, topic: str | None = None) -> int:
        name = topic or self.topics.deliveries
        return sum(max(0, tp.offset) for (t, _), tp in self.committed().items() if t == name)

    def unsettled(self, but: Collection[int] = ()) -> int:
        """How many records of all partitions but some no commit calls settled.

        So many a kill may repeat where it comes in the midst of a burst, as after a stall of the machine.
        """
        consumer = make_consumer(reader_config(self.config.kafka))
        try:
            return sum(
                end_offset(consumer, topic, partition) - _settled(tp)
                for (topic, partition), tp in self.committed().items()
                if topic == self.topics.deliveries and partition not in but
            )
        finally:
            consumer.close()

    def read_all(self, topic: str) -> list[Message]:
        """Every record that a topic holds."""
        consumer = make_consumer(reader_config(self.config.kafka))
        try:
            partitions = consumer.list_topics(topic, timeout=WITHIN_S).topics[topic].partitions
            found: list[Message] = []
            for partition in partitions:
                low, high = watermarks(consumer, topic, partition)
                consumer.assign([TopicPartition(topic, partition, low)])
                position = low
                while position < high:
                    for message in consumer.consume(500, 0.2):
                        position = max(position, (message.offset() or 0) + (message.error() is None))
                        if message.error() is None:
                            found.append(message)
            return found
        finally:
            consumer.close()

    def dead_letters(self) -> list[Any]:
        decode = dead_letter_decoder(self.registry.schema_text_by_id)
        return [decode(m.value()) for m in self.read_all(self.topics.dead_letters)]

    def attempts(self) -> list[Any]:
        decode = attempt_decoder(self.registry.schema_text_by_id)
        return [decode(m.value()) for m in self.read_all(self.topics.attempts)]

    def notices(self) -> list[Any]:
        decode = notice_decoder(self.registry.schema_text_by_id)
        return [decode(m.value()) for m in self.read_all(self.topics.hook_notices)]


def _settled(tp: TopicPartition) -> int:
    offset, metadata = max(0, tp.offset), decode_metadata(tp.metadata)
    above = SettledSet(offset, b"" if metadata is None else metadata.settled)
    return offset + sum(number in above for number in range(offset, above.end))


def main() -> None:
    """One worker, until SIGTERM."""
    config = StageConfig(**json.loads(sys.argv[1]))
    catalogue = Catalogue.shipped()
    registry = embedded_registry(catalogue, config.topics)  # the same schemas in the same order: the same ids
    stop, health, metrics = StopSignal(), Health(), Metrics()
    stop.catch_signals()

    def announce() -> None:
        while not health.ready:
            time.sleep(0.01)
        sys.stdout.write("worker is ready\n")
        sys.stdout.flush()

    worker = make_worker(config, registry, catalogue, stop, health, metrics)
    threading.Thread(target=announce, daemon=True).start()
    if "--profile" in sys.argv:
        _profiled(worker.run, Path(sys.argv[sys.argv.index("--profile") + 1]))
    else:
        worker.run()


def _profiled(run: Callable[[], None], path: Path) -> None:
    profile = cProfile.Profile()
    try:
        profile.runcall(run)
    finally:
        profile.dump_stats(path)


if __name__ == "__main__":
    main()
