"""How the records of each topic are read as events: by the envelope of its namespace, or as `sources.toml` says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

from hookstream.schemas.body import thin_body
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.events import NO_DATA, event_reader
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.event import Event, EventSubject
from hookstream.schemas.rendering.json_tree import JsonTree
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.wire import WriterSchemas

from .mapping import SourceMapping
from .record import Ignored, MappedEvent, Refused, SourceRecord
from .source import BodyKind

ReadEvent: TypeAlias = Event | MappedEvent


class TopicEvents(NamedTuple):
    """How the records of one topic are read.

    `read` gives the event that a record is, or why it is none. It raises what asking for a writer's schema raises, but
    for `UndecodableError`: such a record may be read later.
    """

    read: Callable[[SourceRecord], ReadEvent | Ignored | Refused]
    foreign: bool
    """Whether another service writes the topic: its keys, its order and its clock are that service's own."""
    subject: Callable[[bytes | None], EventSubject | None] | None = None
    """What the event of a record's value is about, where that can be told without reading all of it; else None."""


Undelivered: TypeAlias = Callable[[str, tuple[str, ...]], None]
"""Is told a namespace and the fields of a schema of its writers that no event has."""


def topic_events(
    catalogue: Catalogue,
    topics: TopicNames,
    writer_schemas: WriterSchemas,
    *,
    undelivered: Undelivered = lambda _namespace, _fields: None,
) -> dict[str, TopicEvents]:
    """How the events of a catalogue are read, by topic; each is for one thread.

    `undelivered` is called once for each writer's schema of an envelope that has such fields.
    """
    readers = {
        topics.events(namespace): _envelope(catalogue, namespace, writer_schemas, partial(undelivered, namespace))
        for namespace in catalogue.all_envelopes
    }
    return readers | {
        source.topic_in(topics): TopicEvents(SourceMapping(source, writer_schemas).map, foreign=True)
        for source in catalogue.sources
    }


def body_of(event: ReadEvent) -> bytes:
    """The body that is sent of an event.

    Raises:
        UnrenderableError: JSON cannot say it; with the path.
    """
    return event.body_json() if isinstance(event, MappedEvent) else thin_body(event)


def _envelope(
    catalogue: Catalogue,
    namespace: str,
    writer_schemas: WriterSchemas,
    undelivered: Callable[[tuple[str, ...]], None],
) -> TopicEvents:
    decode, subject = event_reader(catalogue, namespace, writer_schemas, undelivered=undelivered)

    def read(record: SourceRecord) -> ReadEvent | Refused:
        try:
            event, data = decode(record.value)
        except UndecodableError as exc:
            return Refused(str(exc))
        return event if data is NO_DATA else _with_data(event, data)

    return TopicEvents(read, foreign=False, subject=subject)


def _with_data(event: Event, data: JsonTree) -> MappedEvent:
    return MappedEvent(
        namespace=event.concept.namespace,
        symbol=event.symbol,
        id=str(event.id),
        client=event.client,
        resource=event.concept.id,
        sub_namespace=event.concept.sub_namespace,
        occurred_at_ms=event.occurred_at_ms,
        body=BodyKind.DATA,
        content=data,
    )
