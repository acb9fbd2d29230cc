"""An envelope as a source: hookstream's own topics read by the mapping that reads everybody else's."""

from __future__ import annotations

from dataclasses import replace

from hookstream.schemas.event_schema import DATA_FIELD
from hookstream.schemas.rendering.json_tree import JsonTree
from hookstream.schemas.wire import WriterSchemas

from .mapping import SourceMapping
from .record import Mapped, MappedEvent, SourceRecord
from .selectors import Field
from .source import BodyKind, Source, Unmapped, ValueFormat


class EnvelopeMapping:
    """The mapping of one namespace that has an envelope."""

    def __init__(self, namespace: str, symbols: tuple[str, ...], writer_schemas: WriterSchemas) -> None:
        """`symbols` are those of the envelope; a record with another one is passed over."""
        self._mapping = SourceMapping(
            Source(
                namespace=namespace,
                topic=None,
                value=ValueFormat.AVRO,
                preset=None,
                event=Field(("event",)),
                symbols={symbol: symbol for symbol in symbols},
                unmapped=Unmapped.IGNORE,
                id=Field(("id",)),
                client=Field(("client",)),
                resource=Field(("concept", "id")),
                sub_namespace=Field(("concept", "sub_namespace")),
                occurred_at=Field(("occurred_at",)),
                body=BodyKind.DATA,
                fields=(DATA_FIELD,),
            ),
            writer_schemas,
        )

    def map(self, record: SourceRecord) -> Mapped:
        """The event that a record is, or why it is none.

        Raises:
            Exception: what asking for a writer's schema raises, but for `UndecodableError`.
        """
        event = self._mapping.map(record)
        if not isinstance(event, MappedEvent):
            return event
        chosen: JsonTree = event.content
        if DATA_FIELD not in chosen:
            return replace(event, body=BodyKind.THIN, content=None)
        return replace(event, content=chosen[DATA_FIELD])
