"""What a mapping reads and what it gives: a record of Kafka, and the event that it is, or why it is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import orjson

from hookstream.schemas.body import thin_tree
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.rendering.json_tree import JsonTree, dump
from hookstream.schemas.trace_context import Headers

from .source import BodyKind


class SourceRecord(NamedTuple):
    """One record, as a consumer has it. `timestamp_ms` is the broker's (append time) or the producer's."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    by_broker: bool = True
    """Whether the time is the broker's: `message.timestamp.type=LogAppendTime`."""

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.topic, self.partition


@dataclass(slots=True, kw_only=True)
class MappedEvent:
    """The event that a record is.

    `client` and `resource` are integers where the record has a number, and texts where it has a text; as ids they are
    the same. The body is written when it is asked for: most records are asked for by no hook.
    """

    namespace: str
    symbol: str
    id: str
    client: int | str
    resource: int | str
    sub_namespace: str | None
    occurred_at_ms: int
    body: BodyKind
    content: JsonTree | bytes
    """Of the body: its `data`, or all of it as a tree or as the very bytes, or nothing, as `body` says."""

    @property
    def name(self) -> EventName:
        """`<namespace>.<symbol>`."""
        return EventName(f"{self.namespace}.{self.symbol}")

    @property
    def client_id(self) -> ClientId:
        """The client as text."""
        return ClientId(str(self.client))

    @property
    def concept_id(self) -> str:
        """The resource as text."""
        return str(self.resource)

    def body_json(self) -> bytes:
        """The whole body.

        Raises:
            UnrenderableError: JSON cannot say it; with the path.
        """
        whole, data = self.record_json(), self.data_json()
        if whole is not None:
            return whole
        thin = thin_tree(self.name, self.client, self.resource, self.sub_namespace)
        return orjson.dumps(thin if data is None else {**thin, "data": orjson.Fragment(data)})

    def data_json(self) -> bytes | None:
        """The JSON of the body's `data`; None where the body has none.

        Raises:
            UnrenderableError: JSON cannot say it; with the path.
        """
        return dump(self.content, "data") if self.body is BodyKind.DATA else None

    def record_json(self) -> bytes | None:
        """The JSON of the whole body; None where it is the thin one, with `data` or without.

        Raises:
            UnrenderableError: JSON cannot say it; with the path.
        """
        if self.body is not BodyKind.RECORD:
            return None
        return self.content if isinstance(self.content, bytes) else dump(self.content, "value")


class IgnoredReason(StrEnum):
    """Why a record is passed over, and counted."""

    TOMBSTONE = "tombstone"
    UNMAPPED = "unmapped"


@dataclass(frozen=True, slots=True)
class Ignored:
    """A record that is no event, on purpose."""

    reason: IgnoredReason


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that the mapping cannot read: a dead letter. `detail` names the path, and repeats no value."""

    detail: str


Mapped: TypeAlias = MappedEvent | Ignored | Refused
