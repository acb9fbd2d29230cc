"""The topics of other services that events are read from: whether they are there, and hold what `sources.toml` wants.

Nothing here creates or changes one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import subject
from hookstream.schemas.errors import SchemaError
from hookstream.schemas.sources.source import Source, ValueFormat
from hookstream.schemas.sources.source_bodies import SourceBodies
from hookstream.schemas.topics import TopicNames

from .kafka import REQUEST_TIMEOUT_S, KafkaConfig, make_admin, translated


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
    """One sentence for each source whose topic does not exist; none on the embedded mock, where topics appear.

    Raises:
        KafkaUnavailableError, KafkaRefusedError: as above.
    """
    topics = {source.namespace: source.topic_in(names) for source in sources}
    if kafka.embedded or not topics:
        return []
    there = existing_topics(kafka, topics.values())
    return [
        f"[{namespace}]: there is no topic {topic}; hookstream does not create it"
        for namespace, topic in topics.items()
        if topic not in there
    ]


def latest_schemas(registry: SchemaRegistry, sources: Iterable[Source], names: TopicNames) -> dict[str, str | None]:
    """The latest schema of each Avro source, by namespace; None where the registry has no subject of its topic.

    Raises:
        UndecodableError: it refers to more than may be, or to what does not fit.
        RegistryUnavailableError: the registry could not be asked.
    """
    return {
        source.namespace: registry.latest_text(subject(source.topic_in(names)))
        for source in sources
        if source.value is ValueFormat.AVRO
    }


def unfit_schemas(sources: Iterable[Source], texts: Mapping[str, str | None]) -> list[str]:
    """What `sources.toml` wants of records and their latest schema does not have, one sentence each."""
    complaints: list[str] = []
    for source in sources:
        try:
            complaints += SourceBodies(source, texts.get(source.namespace)).faults()
        except SchemaError as exc:
            complaints.append(f"[{source.namespace}]: the topic's schema cannot be read: {exc}")
    return complaints
