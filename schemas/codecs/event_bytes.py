"""The bytes of an event without data, read field by field where its writer's schema has the five fields of an event.

It says nothing of what is no such event: that is for the codec, which knows every schema and says what is wrong. The
tests compare events, and bytes changed at random, with the codec's.

Source: Apache Avro 1.12 specification, "Binary Encoding" (enum and union by index).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from hookstream.schemas.bounded import YEAR_10000_MS
from hookstream.schemas.event import ClientId, Concept, Event, EventName, EventSubject
from hookstream.schemas.ids import is_id

from .avro_bytes import ByteReader, UnknownBytesError

_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # as nearly all are written


class EventReader:
    """Reads the events of one writer's schema, whose fields are those of an event in the order in which it has them."""

    __slots__ = ("_client_is_text", "_concept_is_text", "_names", "_namespace", "_per_ms", "_text_index")

    def __init__(
        self,
        namespace: str,
        names: Sequence[EventName],
        *,
        per_ms: int,
        client_is_text: bool,
        concept_is_text: bool,
        text_index: int,
    ) -> None:
        """Read events of a namespace; `names` and `per_ms` as in `EventMeaning`.

        `text_index` is that of the string in the union of `sub_namespace`.
        """
        self._namespace = namespace
        self._names = list(names)
        self._per_ms = per_ms
        self._client_is_text = client_is_text
        self._concept_is_text = concept_is_text
        self._text_index = text_index

    def read(self, data: bytes) -> Event | None:
        """The event in these bytes, whose first five are a header; None where the codec has to be asked."""
        found = self._read(data)
        if found is None:
            return None
        event_id, name, client, concept_id, sub_namespace, occurred_at = found
        try:
            identity = UUID(event_id)
        except ValueError:
            return None
        return Event(
            name=name,
            client=client,
            concept=Concept(id=concept_id, namespace=self._namespace, sub_namespace=sub_namespace),
            occurred_at_ms=occurred_at,
            id=identity,
        )

    def subject(self, data: bytes) -> EventSubject | None:
        """What the event in these bytes is about; None where `read` has to be asked, or gives none."""
        found = self._read(data)
        if found is None or _UUID.fullmatch(found[0]) is None:
            return None
        return EventSubject(found[1], ClientId(str(found[2])), self._namespace, str(found[3]))

    def _read(self, data: bytes) -> tuple[str, EventName, int | str, int | str, str | None, int] | None:
        """Id, name, client, id of the concept, `sub_namespace` and time; None where it cannot be an event so."""
        reader = ByteReader(data)
        try:
            event_id = reader.text()
            index = reader.long()
            client: int | str = reader.text() if self._client_is_text else reader.long()
            concept_id: int | str = reader.text() if self._concept_is_text else reader.long()
            sub_namespace = reader.text_or_none(self._text_index)
            occurred_at = reader.long()
            if index < 0 or reader.position != len(data):
                raise UnknownBytesError
            name = self._names[index]
        except (UnknownBytesError, IndexError, ValueError):  # among the last: no UTF-8
            return None
        if self._per_ms != 1:
            occurred_at //= self._per_ms
        if not 0 <= occurred_at < YEAR_10000_MS or not (_is_id(client) and _is_id(concept_id)):
            return None
        return event_id, name, client, concept_id, sub_namespace, occurred_at


def _is_id(value: int | str) -> bool:
    return isinstance(value, int) or is_id(value)
