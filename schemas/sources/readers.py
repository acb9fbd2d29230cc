"""How the records of each topic are read as events: by the envelope of its namespace, or as `sources.toml` says."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from hookstream.schemas.body import thin_body
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codec import event_decoder
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.event import Event
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.wire import WriterSchemas

from .mapping import SourceMapping
from .record import Ignored, MappedEvent, Refused, SourceRecord

ReadEvent: TypeAlias = Event | MappedEvent


class TopicEvents(NamedTuple):
    """How the records of one topic are read.

    `read` gives the event that a record is, or why it is none. It raises what asking for a writer's schema raises, but
    for `UndecodableError`: such a record may be read later.
    """

    read: Callable[[SourceRecord], ReadEvent | Ignored | Refused]
    foreign: bool
    """Whether another service writes the topic: its keys, its order and its clock are that service's own."""


def topic_events(catalogue: Catalogue, topics: TopicNames, writer_schemas: WriterSchemas) -> dict[str, TopicEvents]:
    """How the events of a catalogue are read, by topic; each is for one thread."""
    readers = {
        topics.events(namespace): TopicEvents(_envelope(catalogue, namespace, writer_schemas), foreign=False)
        for namespace in catalogue.envelopes
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
    catalogue: Catalogue, namespace: str, writer_schemas: WriterSchemas
) -> Callable[[SourceRecord], Event | Refused]:
    decode = event_decoder(catalogue, namespace, writer_schemas)

    def read(record: SourceRecord) -> Event | Refused:
        try:
            return decode(record.value)
        except UndecodableError as exc:
            return Refused(str(exc))

    return read
