"""`SourceMapping(source, writer_schemas).map(record)`: the event that a record of a topic of another service is.

The answer is a `MappedEvent`, `Ignored` (a tombstone, an event that the source does not map) or `Refused` (a record
that cannot be read, with the path in its detail). Nothing that a record holds raises anything. What `writer_schemas`
raises for other reasons than the record (the registry does not answer) goes through: the record may be read later.

Everything about a source is looked up once, when its mapping is made. Pure, and usable from one thread at a time.
"""

from __future__ import annotations

from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.wire import WriterSchemas

from .content import content_reader
from .finders import Finders, RecordRefusedError, body_content
from .record import Ignored, IgnoredReason, Mapped, MappedEvent, Refused, SourceRecord
from .source import Source, Unmapped

_TOMBSTONE = Ignored(IgnoredReason.TOMBSTONE)
_UNMAPPED = Ignored(IgnoredReason.UNMAPPED)


class SourceMapping:
    """The mapping of one source."""

    def __init__(self, source: Source, writer_schemas: WriterSchemas) -> None:
        """Compile it; nothing is asked yet."""
        finders = Finders(source, writer_schemas)
        self._source = source
        self._read = content_reader(source, writer_schemas)
        self._event = finders.id("event", source.event)
        self._client = finders.id("client", source.client)
        self._resource = finders.id("resource", source.resource)
        self._event_id = finders.event_id()
        self._sub_namespace = finders.sub_namespace()
        self._occurred_at_ms = finders.occurred_at_ms()
        self._content = body_content(source)
        self._unmapped = (
            _UNMAPPED
            if source.unmapped is Unmapped.IGNORE
            else Refused(f"event = {source.event}: says an event that [{source.namespace}] does not name")
        )

    def map(self, record: SourceRecord) -> Mapped:
        """The event that a record is, or why it is none.

        Raises:
            Exception: what asking for a writer's schema raises, but for `UndecodableError`.
        """
        if record.value is None:
            return _TOMBSTONE
        source = self._source
        try:
            content = self._read(record.value, record.headers)
            symbol = source.symbols.get(str(self._event(record, content)))
            if symbol is None:
                return self._unmapped
            return MappedEvent(
                namespace=source.namespace,
                symbol=symbol,
                id=self._event_id(record, content),
                client=self._client(record, content),
                resource=self._resource(record, content),
                sub_namespace=self._sub_namespace(record, content),
                occurred_at_ms=self._occurred_at_ms(record, content),
                body=source.body,
                content=self._content(content),
            )
        except (RecordRefusedError, UndecodableError) as exc:
            return Refused(str(exc))
