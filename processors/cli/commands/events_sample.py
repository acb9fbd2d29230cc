"""Real records beside the events that they are: read, mapped and shown, never sent."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from hookstream.processors.cli.console import CommandError, shown_time
from hookstream.schemas.errors import UndecodableError, UnrenderableError
from hookstream.schemas.folder import JudgedFolder
from hookstream.schemas.rendering.json_tree import dump
from hookstream.schemas.sources.content import avro_reader
from hookstream.schemas.sources.envelope import EnvelopeMapping
from hookstream.schemas.sources.json_value import json_text
from hookstream.schemas.sources.mapping import SourceMapping
from hookstream.schemas.sources.record import Ignored, Mapped, Refused, SourceRecord
from hookstream.schemas.sources.source import ValueFormat
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.wire import WriterSchemas

_SHOWN_CHARS = 2000


class TopicReader(NamedTuple):
    """How the records of a topic are mapped, and how their values are shown."""

    map: Callable[[SourceRecord], Mapped]
    show: Callable[[bytes], bytes]


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


def topic_reader(topic: str, folder: JudgedFolder, topics: TopicNames, writer_schemas: WriterSchemas) -> TopicReader:
    """How a topic is read by a folder of schemas.

    Raises:
        CommandError: by none of them.
    """
    read_avro = avro_reader(writer_schemas)

    def show_avro(value: bytes) -> bytes:
        return dump(read_avro(value), "value")

    for source in folder.sources:
        if source.topic_in(topics) == topic:
            show = show_avro if source.value is ValueFormat.AVRO else json_text
            return TopicReader(SourceMapping(source, writer_schemas).map, show)
    for namespace in folder.envelopes:
        if topics.events(namespace) == topic:
            names = [name.partition(".") for name in folder.event_names]
            symbols = tuple(symbol for own, _, symbol in names if own == namespace)
            return TopicReader(EnvelopeMapping(namespace, symbols, writer_schemas).map, show_avro)
    known = [*(source.topic_in(topics) for source in folder.sources), *map(topics.events, folder.envelopes)]
    raise CommandError(f"nothing is read from {topic}; the topics are {', '.join(known)}")


def sampled(record: SourceRecord, reader: TopicReader) -> Sampled:
    """Map one record, and show it.

    Raises:
        Exception: what asking for a writer's schema raises, but for `UndecodableError`.
    """
    headers = record.headers
    named = headers.items() if isinstance(headers, dict) else headers or ()
    result, detail, body = _result(reader.map(record))
    return Sampled(
        position=f"{record.topic}:{record.partition}:{record.offset}",
        key=None if record.key is None else _text(record.key),
        headers=[f"{name}={'-' if value is None else _text(value)}" for name, value in named],
        value=None if record.value is None else _value(record.value, reader),
        result=result,
        detail=detail,
        body=body,
    )


def _result(mapped: Mapped) -> tuple[str, str, str | None]:
    if isinstance(mapped, Ignored):
        return "ignored", mapped.reason.value, None
    if isinstance(mapped, Refused):
        return "refused", mapped.detail, None
    try:
        body = mapped.body_json()
    except UnrenderableError as exc:
        return "refused", str(exc), None
    at = shown_time(mapped.occurred_at_ms)
    detail = f"{mapped.name}  client {mapped.client}  resource {mapped.resource}  id {mapped.id}  occurred {at}"
    return "event", detail, _text(body)


def _value(value: bytes, reader: TopicReader) -> str:
    """The value as JSON, or as base64 where it is none."""
    try:
        return _text(reader.show(value))
    except (UndecodableError, UnrenderableError):
        return _text(base64.b64encode(value))


def _text(shown: bytes | str) -> str:
    text = shown.decode(errors="replace") if isinstance(shown, bytes) else shown
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
