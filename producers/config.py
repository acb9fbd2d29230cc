"""What a producing service has to say: where Kafka and the registry are, and how long it would wait."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from hookstream.schemas.topics import TopicNames

from .errors import ProducerConfigError

SafetyOptions = Mapping[str, str | int | float | bool]

SAFETY: SafetyOptions = {
    "enable.idempotence": True,  # without it, 802 of 20,000 records on a fresh topic came out of order
    "acks": "all",
    # A broker that is about to lead a partition may refuse one request and take the one behind it, as the first of its
    # producer. The repeated one is then a duplicate to it, which the client reports as written: with 5 requests under
    # way, 12 records of 17,400 on fresh topics of a busy machine were never written; none with 1.
    "max.in.flight.requests.per.connection": 1,
    "partitioner": "murmur2_random",  # Java's, so that a Java service and this one meet on one partition
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerConfig:
    """Settings of an `EventProducer`.

    - `kafka_options`: more keys of librdkafka (TLS, SASL); the promises' own keys (`SAFETY`) are refused.
    - `registry_options`: more keys of confluent-kafka's registry client (`basic.auth.user.info`, `ssl.ca.location`).
    - `source`: CloudEvents `source`, a URI reference that names the producing service.
    - `linger_ms`: how long a record may wait for company (`linger.ms`). Batches form without it under load, and a
      caller that waits for a receipt waits for this too: 1.5 ms in all at 0.5 ms, 0.3 ms at 0.
    - `message_timeout_s`: after that long without acknowledgement a record has failed (`message.timeout.ms`); 0 never
      gives up.
    - `queue_messages`, `queue_kib`: records that wait for acknowledgement, at most (`queue.buffering.max.*`).
    - `queue_deadline_s`: how long `produce` waits for room in a full queue.
    - `registry_deadline_s`: how long the first use of a namespace waits for the registry.
    - `close_deadline_s`: how long leaving the context waits for acknowledgements.
    """

    bootstrap_servers: str
    schema_registry_url: str = field(repr=False)  # may hold a password
    kafka_options: Mapping[str, str | int | float | bool] = field(default_factory=dict, repr=False)
    registry_options: Mapping[str, str | int | float | bool] = field(default_factory=dict, repr=False)
    topics: TopicNames = field(default_factory=TopicNames)
    source: str = "/hookstream"
    linger_ms: float = 0.0
    message_timeout_s: float = 120.0
    queue_messages: int = 100_000
    queue_kib: int = 65_536
    queue_deadline_s: float = 30.0
    registry_deadline_s: float = 30.0
    close_deadline_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse an option that would undo a promise."""
        for key in SAFETY:
            if key in self.kafka_options:
                msg = f"{key} is fixed to {SAFETY[key]}: order and durability of events rest on it"
                raise ProducerConfigError(msg)

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Settings from the environment, under the names that hookstream's own processes use.

        `HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS` and `HOOKSTREAM_SCHEMA_REGISTRY_URL` are needed; `HOOKSTREAM_KAFKA_OPTIONS`
        is a JSON object of librdkafka's keys, `HOOKSTREAM_TOPIC_PREFIX` the deployment's.

        Raises:
            ProducerConfigError: a needed one is missing, or the options are no JSON object; no value is repeated.
        """
        found = os.environ if environment is None else environment
        names = ("KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL")
        missing = [f"HOOKSTREAM_{name}" for name in names if not found.get(f"HOOKSTREAM_{name}")]
        if missing:
            msg = f"not set: {', '.join(missing)}"
            raise ProducerConfigError(msg)
        return cls(
            bootstrap_servers=found["HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS"],
            schema_registry_url=found["HOOKSTREAM_SCHEMA_REGISTRY_URL"],
            kafka_options=_options(found.get("HOOKSTREAM_KAFKA_OPTIONS") or "{}"),
            topics=TopicNames(found.get("HOOKSTREAM_TOPIC_PREFIX", "")),
        )

    def librdkafka(self) -> dict[str, str | int | float | bool]:
        """Give the configuration of the Kafka client."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "linger.ms": self.linger_ms,
            "message.timeout.ms": round(self.message_timeout_s * 1000),
            "queue.buffering.max.messages": self.queue_messages,
            "queue.buffering.max.kbytes": self.queue_kib,
            **self.kafka_options,
            **SAFETY,
        }


def _options(text: str) -> Mapping[str, str | int | float | bool]:
    try:
        options = json.loads(text)
    except ValueError:
        options = None
    if not isinstance(options, dict) or not all(isinstance(value, str | int | float) for value in options.values()):
        msg = "HOOKSTREAM_KAFKA_OPTIONS is no JSON object of texts, numbers and booleans"
        raise ProducerConfigError(msg)
    return options
