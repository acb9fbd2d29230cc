"""What a worker finds out before it joins its group; it waits for what is unavailable, so not in the loop's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hookstream.processors.delivery.checkpoints.commit_metadata import log_digest, table_digest
from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity
from hookstream.processors.delivery.partitions.known_schemas import KnownSchemas
from hookstream.processors.lifecycle import RETRIABLE, until_available
from hookstream.processors.topics import cluster_id, topic_ids
from hookstream.producers.errors import NotRegisteredError
from hookstream.schemas.catalogue import subject
from hookstream.schemas.event_schema import NOTICES

from .worker_config import WorkerConfig, WorkerDeps
from .worker_tables import WorkerTables


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAtStart:
    """The ids of the schemas that a worker writes, by topic, and which logs it reads: live, replay."""

    schema_ids: Mapping[str, int]
    identities: tuple[LogIdentity, LogIdentity]


def find_out(config: WorkerConfig, deps: WorkerDeps, schemas: KnownSchemas, tables: WorkerTables) -> FoundAtStart:
    """Look up schemas, open the tables' readers, identify the logs.

    Raises:
        StoppedError: asked to stop while waiting.
        KafkaRefusedError: Kafka says no.
        RegistryError: the registry says no.
    """
    topics = config.topics
    subjects = config.catalogue.subjects(topics)

    def wait(what: str, attempt: Callable[[], object]) -> None:
        until_available(what, attempt, stop=deps.stop, health=deps.health, retriable=(*RETRIABLE, NotRegisteredError))

    schema_ids: dict[str, int] = {}

    def look_up_schemas() -> None:
        for name in (
            topics.deliveries,
            topics.dead_letters,
            topics.attempts,
            topics.hook_notices,
            topics.events(NOTICES),
        ):
            schema_ids[name] = deps.registry.id_for(subject(name), subjects[subject(name)])
        schemas.fetch(schema_ids[topics.deliveries])

    def identify() -> tuple[LogIdentity, LogIdentity]:
        cluster = cluster_id(config.kafka, topics.deliveries)
        ids = topic_ids(config.kafka, [topics.deliveries, topics.replays])
        table = table_digest(tables.rows_reader.topic_id)
        live, replay = (
            LogIdentity(log_digest(cluster, ids[name]), table) for name in (topics.deliveries, topics.replays)
        )
        return live, replay

    wait("schema registry", look_up_schemas)
    wait("kafka", tables.rows_reader.open)
    wait("kafka", tables.settings_reader.open)
    identities = until_available("kafka", identify, stop=deps.stop, health=deps.health)
    return FoundAtStart(schema_ids=schema_ids, identities=identities)
