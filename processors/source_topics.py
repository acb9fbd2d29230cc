"""The topics of other services that events are read from: whether they are there, and hold what `sources.toml` wants.

Nothing here creates or changes one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation

from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import subject
from hookstream.schemas.errors import SchemaError, UndecodableError
from hookstream.schemas.sources.source import Source, ValueFormat
from hookstream.schemas.sources.source_bodies import SourceBodies
from hookstream.schemas.topics import TopicNames

from .errors import KafkaUnavailableError
from .kafka import LOOKS_ONLY, REQUEST_TIMEOUT_S, KafkaConfig, kafka_error, make_admin, translated

DESCRIBE, READ = "Describe", "Read"


def existing_topics(kafka: KafkaConfig, names: Collection[str]) -> set[str]:
    """Those of the names that there is a topic of, whoever made it.

    Raises:
        KafkaUnavailableError: no answer.
        KafkaRefusedError: no right to look.
    """
    admin = make_admin(kafka)
    with translated("cannot list topics"):  # all of them: some brokers create a topic that is asked for by its name
        listed = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    return {name for name in names if name in listed and listed[name].error is None}


def missing_topics(kafka: KafkaConfig, sources: Iterable[Source], names: TopicNames) -> list[str]:
    """One sentence for each source whose topic this user does not see; none on the embedded mock, where topics appear.

    Raises:
        KafkaUnavailableError, KafkaRefusedError: as above.
    """
    topics = {source.namespace: source.topic_in(names) for source in sources}
    if kafka.embedded or not topics:
        return []
    there = existing_topics(kafka, topics.values())
    unseen = missing_rights(kafka, [topic for topic in topics.values() if topic not in there])
    return [
        f"[{namespace}]: this user lacks the right {unseen[topic]} on the topic {topic}"
        if topic in unseen
        else f"[{namespace}]: there is no topic {topic}; hookstream does not create it"
        for namespace, topic in topics.items()
        if topic not in there
    ]


def missing_rights(kafka: KafkaConfig, names: Collection[str]) -> dict[str, str]:
    """The right that this user lacks to read each topic, `Describe` or `Read`; a topic that does not exist lacks none.

    Raises:
        KafkaUnavailableError, KafkaRefusedError: as above.
    """
    if kafka.embedded or not names:
        return {}
    admin = make_admin(kafka, own=LOOKS_ONLY)
    with translated("cannot look at rights on topics"):
        futures = admin.describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True, request_timeout=REQUEST_TIMEOUT_S
        )
    missing: dict[str, str] = {}
    for name, future in futures.items():
        try:
            allowed = future.result(timeout=2 * REQUEST_TIMEOUT_S).authorized_operations
        except TimeoutError as exc:
            message = f"cannot look at rights on {name}: no answer"
            raise KafkaUnavailableError(message) from exc
        except KafkaException as exc:
            error = exc.args[0]
            if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                missing[name] = DESCRIBE
            elif error.code() not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                raise kafka_error(error, f"cannot look at rights on {name}") from exc
        else:
            if allowed is not None and AclOperation.READ not in allowed:
                missing[name] = READ
    return missing


def latest_schema(registry: SchemaRegistry, source: Source, names: TopicNames) -> str | None:
    """The latest schema of an Avro source; None where the registry has no subject of its topic.

    Raises:
        UndecodableError: it refers to more than may be, or to what does not fit.
        RegistryUnavailableError: the registry could not be asked.
    """
    return registry.latest_text(subject(source.topic_in(names)))


class LatestSchemas(NamedTuple):
    """The latest schemas of Avro sources, by namespace; None where the registry has no subject of the topic."""

    texts: dict[str, str | None]
    faults: list[str]
    """Of those that cannot be made whole, one sentence each."""


def latest_schemas(registry: SchemaRegistry, sources: Iterable[Source], names: TopicNames) -> LatestSchemas:
    """Ask for the latest schema of each Avro source; one that is of no use keeps no other from being told.

    Raises:
        RegistryUnavailableError: the registry could not be asked.
    """
    found = LatestSchemas({}, [])
    for source in sources:
        if source.value is ValueFormat.AVRO:
            try:
                found.texts[source.namespace] = latest_schema(registry, source, names)
            except UndecodableError as exc:
                found.faults.append(f"[{source.namespace}]: the topic's schema cannot be read: {exc}")
    return found


def unfit_schemas(sources: Iterable[Source], texts: Mapping[str, str | None]) -> list[str]:
    """What `sources.toml` wants of records and their latest schema does not have, one sentence each."""
    complaints: list[str] = []
    for source in sources:
        try:
            complaints += SourceBodies(source, texts.get(source.namespace)).faults()
        except SchemaError as exc:
            complaints.append(f"[{source.namespace}]: the topic's schema cannot be read: {exc}")
    return complaints
