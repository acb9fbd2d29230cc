"""How this package talks to Kafka: client configurations, and the one module where its errors are translated.

Every number here is explained by a measurement; none is a taste.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from hookstream.producers.config import SAFETY

from .errors import KafkaRefusedError, KafkaUnavailableError, ProcessorError

ClientConfig: TypeAlias = dict[str, Any]
"""librdkafka's own keys, and the callbacks that confluent_kafka puts among them."""
TopicPartitionKey: TypeAlias = tuple[str, int]
"""One partition of one topic."""
_T = TypeVar("_T")

REQUEST_TIMEOUT_S = 10.0

# `consume(500, t)` waits for 500 records or the whole of t; so one record is waited for, and the rest is taken.
BATCH_RECORDS = 500

# librdkafka stops fetching when its queue holds queued.min.messages, and then sleeps this long. At its default of 1 s
# a worker stalls for up to a second: 12,000/s instead of 33,000/s.
_FETCH_QUEUE_BACKOFF_MS = 5
# With the backoff that short the queue grows as long as it may, so it is bounded in bytes. Per partition.
_QUEUED_MAX_KBYTES = 16 * 1024
# The mock cluster answers an idle fetch only after this long, whatever arrives in between.
_MOCK_FETCH_WAIT_MS = 10

# librdkafka complains about an unreachable broker several times a second.
_COMPLAIN_EVERY_S = 10.0

# Errors that librdkafka reports for what it goes on trying by itself, or that a later attempt may not get.
_RETRIABLE = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._DESTROY_BROKER,  # a broker that stopped left the metadata; requests to it are dropped
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._RESOLVE,
        KafkaError._WAIT_COORD,
        KafkaError._NODE_UPDATE,
        KafkaError._PARTIAL,  # a broker that has just come back names no broker, not even itself
        KafkaError.DUPLICATE_SEQUENCE_NUMBER,  # perhaps written, perhaps not: see `delivery_report`
        # Those that Kafka's own clients try again after, and that can come to ours.
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.LISTENER_NOT_FOUND,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.INCONSISTENT_TOPIC_ID,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)


# There is no such topic or partition, or not yet.
UNKNOWN = frozenset({KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART})


class GroupProtocol(StrEnum):
    """How consumers of a group share partitions (`group.protocol`)."""

    CONSUMER = "consumer"  # KIP-848, needs Kafka 4; a join takes 0.1 s
    CLASSIC = "classic"  # for older brokers and proxies; a join takes 3 s


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConfig:
    """Where Kafka is. `options` are librdkafka's own keys (TLS, SASL); they win over everything set here."""

    bootstrap_servers: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    group_protocol: GroupProtocol = GroupProtocol.CONSUMER
    embedded: bool = False
    """The mock cluster inside librdkafka: no admin API, no topic ids."""


def producer_config(
    kafka: KafkaConfig,
    *,
    linger_ms: float = 0.0,
    message_timeout_ms: int = 0,
    max_message_bytes: int = 1_000_000,
    own: ClientConfig | None = None,
) -> ClientConfig:
    """Build the configuration of a producer that neither loses nor reorders, and agrees with Java on partitions.

    `message_timeout_ms=0` is for ever: a record that times out lets those behind it succeed, so where order matters
    there is no time-out. `linger_ms` trades latency for larger batches: at 0, two hops take 2 ms at the median.
    `own` is what this client alone needs; the deployment's options win over it too.
    """
    return {
        **_common(kafka),
        **SAFETY,
        "message.timeout.ms": message_timeout_ms,
        "linger.ms": linger_ms,
        "message.max.bytes": max_message_bytes,
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 64 * 1024,
        **(own or {}),
        **kafka.options,
    }


def group_consumer_config(
    kafka: KafkaConfig, *, group: str, co_partitioned: bool = False, own: ClientConfig | None = None
) -> ClientConfig:
    """Build the configuration of a consumer of a group, which commits explicitly and starts at given offsets.

    `auto.offset.reset=error`: a member that finds no offset, or one below the retention, has to decide, and not to be
    moved to an end of the log with one line of log. `co_partitioned`: partition p of every topic has the same owner.
    `own` is what this client alone needs; the deployment's options win over it too.
    """
    config: ClientConfig = {
        **_consumer(kafka),
        "group.id": group,
        "group.protocol": kafka.group_protocol.value,
        "auto.offset.reset": "error",
    }
    if kafka.group_protocol is GroupProtocol.CONSUMER:
        config["group.remote.assignor"] = "range" if co_partitioned else "uniform"
    else:
        config["partition.assignment.strategy"] = "range" if co_partitioned else "cooperative-sticky"
    return {**config, **(own or {}), **kafka.options}


def reader_config(kafka: KafkaConfig, *, own: ClientConfig | None = None) -> ClientConfig:
    """Build the configuration of an `assign()`-based reader: no group, no commits, and ends of partitions are reported.

    `own` is what this client alone needs; the deployment's options win over it too.
    """
    return {
        **_consumer(kafka),
        "group.id": "hookstream-reader-without-a-group",  # librdkafka wants one; nothing is ever committed to it
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        **(own or {}),
        **kafka.options,
    }


def consume_batch(consumer: Consumer, timeout_s: float, *, limit: int = BATCH_RECORDS) -> list[Message]:
    """Wait at most `timeout_s` for the first record, then take what is there already, at most `limit` in all.

    Raises:
        KafkaException: as the client raises it; call it inside `translated`.
    """
    messages: list[Message] = consumer.consume(1, timeout_s)
    return messages + consumer.consume(limit - 1, 0) if messages else messages


def make_producer(config: ClientConfig) -> Producer:
    """Open a producer.

    Raises:
        KafkaRefusedError: a configuration that librdkafka refuses.
    """
    with translated("cannot open a Kafka producer"):
        return Producer({"error_cb": _Complaints(), **config})


def make_consumer(config: ClientConfig) -> Consumer:
    """Open a consumer.

    Raises:
        KafkaRefusedError: a configuration that librdkafka refuses.
    """
    with translated("cannot open a Kafka consumer"):
        return Consumer({"error_cb": _Complaints(), **config})


def make_admin(kafka: KafkaConfig, *, own: ClientConfig | None = None) -> AdminClient:
    """Open an admin client; `own` as for the others.

    Raises:
        KafkaRefusedError: a configuration that librdkafka refuses.
    """
    with translated("cannot open a Kafka admin client"):
        config: ClientConfig = {"error_cb": _Complaints(), **_common(kafka), **(own or {}), **kafka.options}
        return AdminClient(config)


# For an admin client that only looks: by default its question about a topic makes the topic, where brokers let it.
LOOKS_ONLY: ClientConfig = {"allow.auto.create.topics": False}


def cluster_of(admin: AdminClient, topic: str, *, timeout_s: float = REQUEST_TIMEOUT_S) -> str | None:
    """Ask any broker for the id of its cluster, with the metadata of a topic of the deployment.

    Not `describe_cluster`: where a broker names no broker, librdkafka (2.16) aborts the process.

    Raises:
        KafkaUnavailableError: no answer in time.
    """
    with translated("cannot look the cluster up"):
        found: str | None = admin.list_topics(topic, timeout=timeout_s).cluster_id
    return found


def result_of(future: Future[_T], doing: str) -> _T:
    """Wait for an admin call and translate its error; `doing` starts the message."""
    with translated(doing):
        try:
            return future.result(timeout=2 * REQUEST_TIMEOUT_S)
        except TimeoutError as exc:
            message = f"{doing}: no answer within {2 * REQUEST_TIMEOUT_S:.0f} s"
            raise KafkaUnavailableError(message) from exc


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate what confluent_kafka raises inside; `doing` starts the message."""
    try:
        yield
    except KafkaException as exc:
        error = exc.args[0] if exc.args else None
        if isinstance(error, KafkaError):
            raise kafka_error(error, doing) from exc
        message = f"{doing}: {exc}"
        raise KafkaRefusedError(message) from exc


def kafka_error(error: KafkaError, doing: str) -> ProcessorError:
    """Turn an error that Kafka reported into ours: unavailable, or refused."""
    message = f"{doing}: {error.str()} ({error.name()})"
    if is_retriable(error):
        return KafkaUnavailableError(message)
    return KafkaRefusedError(message)


def is_retriable(error: KafkaError) -> bool:
    """Whether a later attempt may succeed."""
    return not error.fatal() and (error.retriable() or error.code() in _RETRIABLE)


def partition_count(consumer: Consumer, topic: str, *, timeout_s: float = REQUEST_TIMEOUT_S) -> int:
    """Ask how many partitions a topic has; 0 where there is no such topic.

    Raises:
        KafkaUnavailableError: no answer.
        KafkaRefusedError: no right to see it.
    """
    doing = f"cannot look {topic} up"
    with translated(doing):
        found = consumer.list_topics(topic, timeout=timeout_s).topics.get(topic)
    if found is None or (found.error is not None and found.error.code() in UNKNOWN):
        return 0
    if found.error is not None:
        raise kafka_error(found.error, doing)
    return len(found.partitions)


def partitions_of(consumer: Consumer, topic: str, *, timeout_s: float = REQUEST_TIMEOUT_S) -> range:
    """Ask for the numbers of a topic's partitions.

    Raises:
        KafkaUnavailableError: no answer, or there is no such topic (yet).
        KafkaRefusedError: no right to see it.
    """
    count = partition_count(consumer, topic, timeout_s=timeout_s)
    if not count:
        message = f"there is no topic {topic}"
        raise KafkaUnavailableError(message)
    return range(count)


def _common(kafka: KafkaConfig) -> ClientConfig:
    return {
        "bootstrap.servers": kafka.bootstrap_servers,
        "client.id": "hookstream",
        "logger": _quiet_logger(),
        "socket.keepalive.enable": True,
        # A broker that comes back is found again within a second, not after librdkafka's ten.
        "reconnect.backoff.max.ms": 1000,
    }


def _consumer(kafka: KafkaConfig) -> ClientConfig:
    config: ClientConfig = {
        **_common(kafka),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "fetch.queue.backoff.ms": _FETCH_QUEUE_BACKOFF_MS,
        "queued.max.messages.kbytes": _QUEUED_MAX_KBYTES,
    }
    if kafka.embedded:
        config["fetch.wait.max.ms"] = _MOCK_FETCH_WAIT_MS
    return config


def _quiet_logger() -> logging.Logger:
    """Silence its own lines: what matters of them comes through `error_cb` too."""
    logger = logging.getLogger("hookstream.librdkafka")
    logger.setLevel(logging.CRITICAL)
    return logger


class _Complaints:
    """Logs what librdkafka complains about outside any call, each kind now and then: it goes on trying by itself."""

    def __init__(self) -> None:
        self._said_at: dict[str, float] = {}

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        if now - self._said_at.get(error.name(), -_COMPLAIN_EVERY_S) >= _COMPLAIN_EVERY_S:
            self._said_at[error.name()] = now
            structlog.get_logger("hookstream.kafka").warning("kafka complains", error=error.name(), detail=error.str())
