"""A folder of schemas, judged by itself and beside the registry and the topics, where these can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from hookstream.processors.errors import KafkaUnavailableError
from hookstream.processors.settings import Settings
from hookstream.processors.source_topics import existing_topics, latest_schemas, missing_topics
from hookstream.processors.topic_specs import event_topic_specs
from hookstream.processors.topics import judge_topics
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.avro_schema import compact_json
from hookstream.schemas.catalogue import subject
from hookstream.schemas.errors import SchemaError
from hookstream.schemas.event import EventName
from hookstream.schemas.event_types import EventType, described
from hookstream.schemas.folder import JudgedFolder, judge_folder
from hookstream.schemas.rendering.body_schema import EnvelopeBodies
from hookstream.schemas.sources.source import Source
from hookstream.schemas.sources.source_bodies import SourceBodies
from hookstream.schemas.topics import TopicNames


class Checked(NamedTuple):
    """What a folder describes, each event with its topic, and everything that is wrong with it."""

    events: tuple[tuple[str, EventType], ...]
    faults: tuple[str, ...]


def check_folder(files: dict[str, bytes], settings: Settings, note: Callable[[str], None]) -> Checked:
    """Judge a folder; what could not be compared is told to `note`.

    Raises:
        ProcessorError, ProducerError: Kafka or the registry says no.
    """
    topics = settings.topics()
    folder = judge_folder(files, topics)
    faults = list(folder.faults)
    texts: dict[str, str] = {}
    if settings.schema_registry_url is not None:
        with SchemaRegistry(settings.registry_url()) as registry:
            try:
                latest = latest_schemas(registry, folder.sources, topics)
                texts = _known_texts(folder.sources, topics, latest.texts, note)
                faults += latest.faults
                faults += _incompatible(folder, topics, registry)
            except RegistryUnavailableError as exc:
                note(f"not compared with the registry: {exc}")
    if settings.kafka_bootstrap_servers is not None:
        try:
            faults += missing_topics(settings.kafka(), folder.sources, topics)
            faults += _different_topics(folder.envelopes, settings)
        except KafkaUnavailableError as exc:
            note(f"not compared with the topics: {exc}")
    found = _Described(faults)
    for namespace, text in folder.envelopes.items():
        names = [name for name in folder.event_names if name.partition(".")[0] == namespace]
        found.add(namespace, names, topics.events(namespace), partial(EnvelopeBodies, namespace, text))
    for source in folder.sources:
        bodies = partial(SourceBodies, source, texts.get(source.namespace))
        found.add(source.namespace, source.event_names, source.topic_in(topics), bodies)
    return Checked(tuple(found.events), tuple(faults))


@dataclass(slots=True)
class _Described:
    """Events that can be described, and the faults of the others."""

    faults: list[str]
    events: list[tuple[str, EventType]] = field(default_factory=list)

    def add(
        self,
        namespace: str,
        names: Iterable[EventName],
        topic: str,
        open_bodies: Callable[[], EnvelopeBodies | SourceBodies],
    ) -> None:
        """Add the events of one namespace."""
        try:
            bodies = open_bodies()
            if isinstance(bodies, SourceBodies):
                self.faults += bodies.faults()
            self.events += [(topic, described(namespace, name, bodies)) for name in names]
        except SchemaError as exc:
            self.faults.append(f"{topic}: {exc}")


def _known_texts(
    sources: Iterable[Source], topics: TopicNames, found: Mapping[str, str | None], note: Callable[[str], None]
) -> dict[str, str]:
    """The latest schemas of Avro sources, by namespace, of those that the registry knows."""
    for source in sources:
        if source.namespace in found and found[source.namespace] is None:
            name = subject(source.topic_in(topics))
            note(f"[{source.namespace}]: the registry has no subject {name}, so its examples say little")
    return {namespace: text for namespace, text in found.items() if text is not None}


def _incompatible(folder: JudgedFolder, topics: TopicNames, registry: SchemaRegistry) -> list[str]:
    return [
        f"{namespace}.avsc: the registry would refuse it: what was written to {topics.events(namespace)} before could"
        " not be read by it"
        for namespace, content in folder.envelopes.items()
        if not registry.takes(subject(topics.events(namespace)), compact_json(content))
    ]


def _different_topics(namespaces: Iterable[str], settings: Settings) -> list[str]:
    """What differs in hookstream's own topics; one that is missing is made by `hookstream topics create`."""
    kafka = settings.kafka()
    specs = event_topic_specs(settings.topics(), namespaces, settings.topic_limits())
    there = existing_topics(kafka, [spec.name for spec in specs])
    return [complaint.text for complaint in judge_topics(kafka, [spec for spec in specs if spec.name in there])]
