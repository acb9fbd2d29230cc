"""One table of `sources.toml`, judged: which topic a namespace's events are read from, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hookstream.schemas.event import EventName
from hookstream.schemas.topics import TopicNames

from .selectors import Selector


class ValueFormat(StrEnum):
    """What a record's value is."""

    AVRO = "avro"  # Confluent wire format
    JSON = "json"  # with or without the registry's header


class BodyKind(StrEnum):
    """What is sent of a record."""

    THIN = "thin"  # what happened to which resource
    DATA = "data"  # the same, and the value or some of its fields as `data`
    RECORD = "record"  # the value, and nothing else


class Unmapped(StrEnum):
    """What becomes of a record whose event is none of the mapped ones."""

    IGNORE = "ignore"
    DEAD_LETTER = "dead-letter"


class Preset(StrEnum):
    """A shape of records that other tools make."""

    CLOUDEVENTS = "cloudevents"
    DEBEZIUM_OUTBOX = "debezium-outbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How the records of a topic that another service writes are events of one namespace.

    `topic` is None where it is `events.<namespace>` of the deployment; see `topic_in`. `symbols` gives the event's
    symbol by what the record says. `id` and `occurred_at` are None where they are derived from the record's position
    and time; `fields` where all of them are sent.
    """

    namespace: str
    topic: str | None
    value: ValueFormat
    preset: Preset | None
    event: Selector
    symbols: Mapping[str, str]
    unmapped: Unmapped
    id: Selector | None
    client: Selector
    resource: Selector
    sub_namespace: Selector | None
    occurred_at: Selector | None
    body: BodyKind
    fields: tuple[str, ...] | None

    @property
    def event_names(self) -> tuple[EventName, ...]:
        """Every event that a record of it can be, in the order of the file, each once."""
        return tuple(EventName(f"{self.namespace}.{symbol}") for symbol in dict.fromkeys(self.symbols.values()))

    def topic_in(self, topics: TopicNames) -> str:
        """The topic that the records are read from. A name of `sources.toml` stands without the deployment's prefix."""
        return self.topic or topics.events(self.namespace)
