"""Schemas by id without waiting: the loop decodes with what is known, and has the rest fetched by another thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.wire import HEADER_BYTES

# An id that the registry does not know is asked for again after this long: an operator may be restoring it.
_ASK_AGAIN_AFTER_S = 10.0


class SchemaNotFetchedError(Exception):
    """A record's schema has to be fetched first."""

    def __init__(self, schema_id: int) -> None:
        """Name it."""
        super().__init__(f"schema {schema_id} is not fetched yet")
        self.schema_id = schema_id


class KnownSchemas:
    """`WriterSchemas` of a thread that must not block; `fetch` may be called from any."""

    def __init__(self, ask: Callable[[int], str], *, now: Callable[[], float] = time.monotonic) -> None:
        """Ask this for what is not known."""
        self._ask = ask
        self._now = now
        self._texts: dict[int, str] = {}
        self._unknown: dict[int, tuple[float, UndecodableError]] = {}

    def __call__(self, schema_id: int, /) -> str:
        """Give the text.

        Raises:
            UndecodableError: the registry said that there is none of that id.
            SchemaNotFetchedError: it was not asked yet.
        """
        text = self._texts.get(schema_id)
        if text is not None:
            return text
        asked_at, error = self._unknown.get(schema_id, (0.0, None))
        if error is None or self._now() - asked_at > _ASK_AGAIN_AFTER_S:
            raise SchemaNotFetchedError(schema_id)
        raise error

    def lacks(self, value: bytes) -> bool:
        """Whether the registry said that it has not the schema of this record."""
        return bool(self._unknown) and int.from_bytes(value[1:HEADER_BYTES], "big") in self._unknown

    def missing(self, values: Iterable[bytes]) -> set[int]:
        """Ids of schemas that have to be fetched before these records can be decoded, or found undecodable."""
        found = set()
        for header in {value[:HEADER_BYTES] for value in values}:
            if len(header) == HEADER_BYTES and header[0] == 0:
                try:
                    self(int.from_bytes(header[1:], "big"))
                except SchemaNotFetchedError as exc:
                    found.add(exc.schema_id)
                except UndecodableError:
                    continue
        return found

    def fetch(self, schema_id: int) -> None:
        """Ask for one; blocks.

        Raises:
            RegistryError: the registry does not answer: what needs this schema has to wait.
        """
        try:
            self._texts[schema_id] = self._ask(schema_id)
            self._unknown.pop(schema_id, None)
        except UndecodableError as exc:
            self._unknown[schema_id] = (self._now(), exc)
