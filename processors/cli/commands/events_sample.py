"""Real records beside the events that they are: read as a router does and shown, never sent."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from hookstream.processors.cli.console import CommandError, shown_time
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.errors import UndecodableError, UnrenderableError
from hookstream.schemas.rendering.json_tree import dump
from hookstream.schemas.sources.content import avro_reader
from hookstream.schemas.sources.json_value import json_text
from hookstream.schemas.sources.readers import ReadEvent, body_of, topic_events
from hookstream.schemas.sources.record import Ignored, Refused, SourceRecord
from hookstream.schemas.sources.source import ValueFormat
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.wire import WriterSchemas

_SHOWN_CHARS = 2000


class TopicReader(NamedTuple):
    """How the records of a topic are read, and how their values are shown."""

    read: Callable[[SourceRecord], ReadEvent | Ignored | Refused]
    show: Callable[[bytes], bytes]
    undelivered: Sequence[str]
    """Fields of an envelope's writers that no event has, of what was read so far."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One record, and what it is."""

    position: str
    key: str | None
    headers: list[str]
    value: str | None
    result: str
    """`event`, `ignored` or `refused`."""
    detail: str
    """The event and whose it is; why it is ignored or refused."""
    body: str | None

    def lines(self) -> Iterator[str]:
        """The record, and beside it what it is."""
        yield f"{self.position}  key {'-' if self.key is None else self.key}"
        yield from (f"  header  {header}" for header in self.headers)
        yield f"  value   {'-' if self.value is None else self.value}"
        yield f"  {self.result:7} {self.detail}"
        if self.body is not None:
            yield f"  body    {self.body}"


class WhenAsked:
    """The registry's schemas; it is opened with the first question, since a topic of JSON asks none."""

    def __init__(self, url: Callable[[], str]) -> None:
        """`url` gives the registry's URL, and raises where none is set."""
        self._url = url
        self._registry: SchemaRegistry | None = None

    def __call__(self, schema_id: int, /) -> str:
        """Ask for a schema.

        Raises:
            SettingsError: no registry is set. Else as `SchemaRegistry.schema_text_by_id`.
        """
        if self._registry is None:
            self._registry = SchemaRegistry(self._url())
        return self._registry.schema_text_by_id(schema_id)

    def __enter__(self) -> Self:
        """Use as a context: closed at its end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the registry, if it was asked."""
        if self._registry is not None:
            self._registry.close()


def topic_reader(topic: str, catalogue: Catalogue, topics: TopicNames, writer_schemas: WriterSchemas) -> TopicReader:
    """How a router with this catalogue reads a topic.

    Raises:
        CommandError: it does not.
    """
    lost: list[str] = []
    events = topic_events(catalogue, topics, writer_schemas, undelivered=lambda _, fields: lost.extend(fields))
    if topic not in events:
        raise CommandError(f"nothing is read from {topic}; the topics are {', '.join(events)}")
    read_avro = avro_reader(writer_schemas)
    of_json = {source.topic_in(topics) for source in catalogue.sources if source.value is ValueFormat.JSON}
    show = json_text if topic in of_json else lambda value: dump(read_avro(value), "value")
    return TopicReader(events[topic].read, show, lost)


def sampled(record: SourceRecord, reader: TopicReader) -> Sampled:
    """Read one record, and show it.

    Raises:
        Exception: what asking for a writer's schema raises, but for `UndecodableError`.
    """
    headers = record.headers
    named = headers.items() if isinstance(headers, dict) else headers or ()
    result, detail, body = _result(reader.read(record))
    return Sampled(
        position=f"{record.topic}:{record.partition}:{record.offset}",
        key=None if record.key is None else _text(record.key),
        headers=[f"{name}={'-' if value is None else _text(value)}" for name, value in named],
        value=None if record.value is None else _value(record.value, reader),
        result=result,
        detail=detail,
        body=body,
    )


def _result(event: ReadEvent | Ignored | Refused) -> tuple[str, str, str | None]:
    if isinstance(event, Ignored):
        return "ignored", event.reason.value, None
    if isinstance(event, Refused):
        return "refused", event.detail, None
    try:
        body = body_of(event)
    except UnrenderableError as exc:
        return "refused", str(exc), None
    at = shown_time(event.occurred_at_ms)
    ids = f"client {event.client_id}  resource {event.concept_id}  id {event.id}"
    return "event", f"{event.name}  {ids}  occurred {at}", _text(body)


def _value(value: bytes, reader: TopicReader) -> str:
    """The value as JSON, or as base64 where it is none."""
    try:
        return _text(reader.show(value))
    except (UndecodableError, UnrenderableError):
        return _text(base64.b64encode(value))


def _text(shown: bytes | str) -> str:
    text = shown.decode(errors="replace") if isinstance(shown, bytes) else shown
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
