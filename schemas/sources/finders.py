"""Finding values in a record of another service's topic, as the selectors of its source say. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from hookstream.schemas.bounded import MAX_LONG
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.ids import WHAT_A_TEXT_IS, is_id
from hookstream.schemas.rendering.json_tree import JsonTree
from hookstream.schemas.wire import WriterSchemas

from .content import Content, avro_reader, header_of, unwrapped
from .occurred_at import WANTED, instant_ms
from .record import SourceRecord
from .selectors import Constant, Field, Header, Selector
from .source import BodyKind, Preset, Source, ValueFormat

_T = TypeVar("_T")

Find: TypeAlias = Callable[[SourceRecord, Content], _T]
"""Finds a value. Raises `RecordRefusedError` where it is not there, or not what it has to be."""

# What a text or an object begins with, where Connect's JsonConverter has written a key.
_JSON_BEGINS = (b'"', b"{")


class RecordRefusedError(Exception):
    """The record cannot be read; the message is for the dead letter."""


class Finders:
    """Makes what finds the values of one source; each is looked up once, when the mapping is made."""

    def __init__(self, source: Source, writer_schemas: WriterSchemas) -> None:
        """Nothing is asked of `writer_schemas` yet."""
        self._source = source
        self._read_avro = avro_reader(writer_schemas) if source.value is ValueFormat.AVRO else None
        self._unwrap_keys = source.preset is Preset.DEBEZIUM_OUTBOX

    def id(self, name: str, selector: Selector) -> Find[int | str]:
        """What finds an id that every record has to have; `name` is the selector's in the file."""
        select, at = self._select(selector), f"{name} = {selector}"

        def find(record: SourceRecord, content: Content) -> int | str:
            try:
                return _checked_id(select(record, content))
            except (RecordRefusedError, UndecodableError) as exc:
                raise RecordRefusedError(f"{at}: {exc}") from None

        return find

    def event_id(self) -> Find[str]:
        """What finds the event's id: by default the record's position."""
        if self._source.id is None:
            return lambda record, _content: f"{record.topic}:{record.partition}:{record.offset}"
        find = self.id("id", self._source.id)
        return lambda record, content: str(find(record, content))

    def sub_namespace(self) -> Find[str | None]:
        """What finds the sub-namespace, which need not be there."""
        selector = self._source.sub_namespace
        if selector is None:
            return lambda _record, _content: None
        select, at = self._select(selector), f"sub_namespace = {selector}"

        def find(record: SourceRecord, content: Content) -> str | None:
            try:
                value = select(record, content)
            except RecordRefusedError:
                return None
            try:
                return None if value is None else str(_checked_id(value))
            except RecordRefusedError as exc:
                raise RecordRefusedError(f"{at}: {exc}") from None

        return find

    def occurred_at_ms(self) -> Find[int]:
        """What finds when it happened, Unix ms: by default the time of the record."""
        selector = self._source.occurred_at
        select = None if selector is None else self._select(selector)
        at = f"occurred_at = {selector or 'the time of the record'}"
        may_be_missing = self._source.preset is Preset.CLOUDEVENTS  # an attribute that CloudEvents need not have

        def find(record: SourceRecord, content: Content) -> int:
            value: JsonTree = record.timestamp_ms
            if select is not None:
                try:
                    value = select(record, content)
                except RecordRefusedError as exc:
                    if not may_be_missing:
                        raise RecordRefusedError(f"{at}: {exc}") from None
            ms = instant_ms(value)
            if ms is None:
                raise RecordRefusedError(f"{at}: {WANTED}")
            return ms

        return find

    def _select(self, selector: Selector) -> Find[JsonTree]:
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
            raise RecordRefusedError("the record has no key")
        if key[:1] == b"\0" and self._read_avro is not None:
            try:
                return self._read_avro(key)
            except UndecodableError as exc:
                raise RecordRefusedError(f"the key: {exc}") from None
        return unwrapped(key) if self._unwrap_keys and key[:1] in _JSON_BEGINS else _decoded(key)


def body_content(source: Source) -> Callable[[Content], JsonTree | bytes]:
    """What finds that of a value which the body of its event needs."""
    kind, fields = source.body, source.fields

    def find(content: Content) -> JsonTree | bytes:
        if kind is BodyKind.THIN:
            return None
        tree = content.tree
        if kind is BodyKind.RECORD:
            return tree if content.raw is None else content.raw
        if fields is None:
            return tree
        if not isinstance(tree, dict):
            raise RecordRefusedError("fields: the value is no object")
        return {name: tree[name] for name in fields if name in tree}

    return find


def _header(name: str) -> Find[JsonTree]:
    def find(record: SourceRecord, content: Content) -> JsonTree:
        if name in content.attributes:
            return content.attributes[name]
        value = header_of(record.headers, name)
        if value is None:
            raise RecordRefusedError("the record has no such header")
        return _decoded(value) if isinstance(value, bytes) else value

    return find


def _field(path: tuple[str, ...]) -> Find[JsonTree]:
    def find(_record: SourceRecord, content: Content) -> JsonTree:
        node = content.tree
        for depth, name in enumerate(path):
            if not isinstance(node, dict):
                said = "is null" if node is None else "is no object"
                raise RecordRefusedError(f"{'.'.join(path[:depth]) or 'the value'} {said}")
            if name not in node:
                raise RecordRefusedError(f"{'.'.join(path[: depth + 1])} is missing")
            node = node[name]
        return node

    return find


def _checked_id(value: JsonTree) -> int | str:
    kind = type(value)
    if kind is str:
        if is_id(value):
            text: str = value
            return text
        raise RecordRefusedError(f"is not {WHAT_A_TEXT_IS}")
    if kind is int:
        if 0 <= value <= MAX_LONG:
            number: int = value
            return number
        raise RecordRefusedError(f"is no number from 0 to {MAX_LONG}")
    raise RecordRefusedError("is null" if value is None else "is no text and no whole number")


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise RecordRefusedError("is no text: not UTF-8") from None
