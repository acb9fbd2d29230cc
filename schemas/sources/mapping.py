"""`SourceMapping(source, writer_schemas).map(record)`: the event that a record of a topic of another service is.

The answer is a `MappedEvent`, `Ignored` (a tombstone, an event that the source does not map) or `Refused` (a record
that cannot be read, with the path in its detail). Nothing that a record holds raises anything. What `writer_schemas`
raises for other reasons than the record (the registry does not answer) goes through: the record may be read later.

Everything about a source is looked up once, when its mapping is made. Pure, and usable from one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from hookstream.schemas.bounded import MAX_LONG
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.ids import WHAT_A_TEXT_IS, is_id
from hookstream.schemas.rendering.json_tree import JsonTree
from hookstream.schemas.wire import WriterSchemas

from .content import Content, avro_reader, content_reader, header_of, unwrapped
from .occurred_at import WANTED, instant_ms
from .record import Ignored, IgnoredReason, Mapped, MappedEvent, Refused, SourceRecord
from .selectors import Constant, Field, Header, Selector
from .source import BodyKind, Preset, Source, Unmapped, ValueFormat

_Select: TypeAlias = Callable[[SourceRecord, Content], JsonTree]
"""Finds a value. Raises `_RefusedError` where the way to it ends before."""

# What a text or an object begins with, where Connect's JsonConverter has written a key.
_JSON_BEGINS = (b'"', b"{")
_TOMBSTONE = Ignored(IgnoredReason.TOMBSTONE)
_UNMAPPED = Ignored(IgnoredReason.UNMAPPED)


class _RefusedError(Exception):
    """The record cannot be read; the message is for the dead letter."""


class SourceMapping:
    """The mapping of one source."""

    def __init__(self, source: Source, writer_schemas: WriterSchemas) -> None:
        """Compile it; nothing is asked yet."""
        self.source = source
        self._read = content_reader(source, writer_schemas)
        self._read_avro = avro_reader(writer_schemas) if source.value is ValueFormat.AVRO else None
        self._event = self._id("event", source.event)
        self._client = self._id("client", source.client)
        self._resource = self._id("resource", source.resource)
        self._own_id = None if source.id is None else self._id("id", source.id)
        self._sub_namespace = (
            None if source.sub_namespace is None else self._optional_id("sub_namespace", source.sub_namespace)
        )
        self._time = None if source.occurred_at is None else self._select(source.occurred_at)
        # An attribute that CloudEvents need not have.
        self._time_may_be_missing = source.preset is Preset.CLOUDEVENTS
        self._unwrap_keys = source.preset is Preset.DEBEZIUM_OUTBOX
        self._namespace, self._symbols = source.namespace, source.symbols
        self._unmapped = (
            _UNMAPPED
            if source.unmapped is Unmapped.IGNORE
            else Refused(f"event = {source.event}: says an event that [{source.namespace}] does not name")
        )
        self._body, self._fields = source.body, source.fields

    def map(self, record: SourceRecord) -> Mapped:
        """The event that a record is, or why it is none.

        Raises:
            Exception: what asking for a writer's schema raises, but for `UndecodableError`.
        """
        if record.value is None:
            return _TOMBSTONE
        try:
            content = self._read(record.value, record.headers)
            symbol = self._symbols.get(str(self._event(record, content)))
            if symbol is None:
                return self._unmapped
            return MappedEvent(
                namespace=self._namespace,
                symbol=symbol,
                id=self._event_id(record, content),
                client=self._client(record, content),
                resource=self._resource(record, content),
                sub_namespace=None if self._sub_namespace is None else self._sub_namespace(record, content),
                occurred_at_ms=self._occurred_at(record, content),
                body=self._body,
                content=self._content(content),
            )
        except (_RefusedError, UndecodableError) as exc:
            return Refused(str(exc))

    def _event_id(self, record: SourceRecord, content: Content) -> str:
        if self._own_id is None:
            return f"{record.topic}:{record.partition}:{record.offset}"
        return str(self._own_id(record, content))

    def _occurred_at(self, record: SourceRecord, content: Content) -> int:
        at = f"occurred_at = {self.source.occurred_at or 'the time of the record'}"
        value: JsonTree = record.timestamp_ms
        if self._time is not None:
            try:
                value = self._time(record, content)
            except _RefusedError as exc:
                if not self._time_may_be_missing:
                    raise _RefusedError(f"{at}: {exc}") from None
        ms = instant_ms(value)
        if ms is None:
            raise _RefusedError(f"{at}: {WANTED}")
        return ms

    def _content(self, content: Content) -> JsonTree | bytes:
        """What the body needs of a value."""
        if self._body is BodyKind.THIN:
            return None
        tree, fields = content.tree, self._fields
        if self._body is BodyKind.RECORD:
            return tree if content.raw is None else content.raw
        if fields is None:
            return tree
        if not isinstance(tree, dict):
            raise _RefusedError("fields: the value is no object")
        return {name: tree[name] for name in fields if name in tree}

    # --- made once ----------------------------------------------------------------------------------------------------

    def _id(self, key: str, selector: Selector) -> Callable[[SourceRecord, Content], int | str]:
        select, at = self._select(selector), f"{key} = {selector}"

        def find(record: SourceRecord, content: Content) -> int | str:
            try:
                return _checked_id(select(record, content))
            except (_RefusedError, UndecodableError) as exc:
                raise _RefusedError(f"{at}: {exc}") from None

        return find

    def _optional_id(self, key: str, selector: Selector) -> Callable[[SourceRecord, Content], str | None]:
        select, at = self._select(selector), f"{key} = {selector}"

        def find(record: SourceRecord, content: Content) -> str | None:
            try:
                value = select(record, content)
            except _RefusedError:
                return None
            try:
                return None if value is None else str(_checked_id(value))
            except _RefusedError as exc:
                raise _RefusedError(f"{at}: {exc}") from None

        return find

    def _select(self, selector: Selector) -> _Select:
        if isinstance(selector, Constant):
            text = selector.text
            return lambda _record, _content: text
        if isinstance(selector, Header):
            return _header(selector.name)
        return _field(selector.path) if isinstance(selector, Field) else self._key

    def _key(self, record: SourceRecord, _content: Content) -> JsonTree:
        """The key as text, or what it is in the registry's Avro; Java's keys of numbers are neither."""
        key = record.key
        if key is None:
            raise _RefusedError("the record has no key")
        if key[:1] == b"\0" and self._read_avro is not None:
            try:
                return self._read_avro(key)
            except UndecodableError as exc:
                raise _RefusedError(f"the key: {exc}") from None
        return unwrapped(key) if self._unwrap_keys and key[:1] in _JSON_BEGINS else _decoded(key)


def _header(name: str) -> _Select:
    def find(record: SourceRecord, content: Content) -> JsonTree:
        if name in content.attributes:
            return content.attributes[name]
        value = header_of(record.headers, name)
        if value is None:
            raise _RefusedError("the record has no such header")
        return _decoded(value) if isinstance(value, bytes) else value

    return find


def _field(path: tuple[str, ...]) -> _Select:
    def find(_record: SourceRecord, content: Content) -> JsonTree:
        node = content.tree
        for depth, name in enumerate(path):
            if not isinstance(node, dict):
                said = "is null" if node is None else "is no object"
                raise _RefusedError(f"{'.'.join(path[:depth]) or 'the value'} {said}")
            if name not in node:
                raise _RefusedError(f"{'.'.join(path[: depth + 1])} is missing")
            node = node[name]
        return node

    return find


def _checked_id(value: JsonTree) -> int | str:
    kind = type(value)
    if kind is str:
        if is_id(value):
            text: str = value
            return text
        raise _RefusedError(f"is not {WHAT_A_TEXT_IS}")
    if kind is int:
        if 0 <= value <= MAX_LONG:
            number: int = value
            return number
        raise _RefusedError(f"is no number from 0 to {MAX_LONG}")
    raise _RefusedError("is null" if value is None else "is no text and no whole number")


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _RefusedError("is no text: not UTF-8") from None
