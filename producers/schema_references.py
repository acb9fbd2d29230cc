"""Schemas that refer to others in the registry, made whole: what they refer to is fetched, and what that refers to.

Source: Confluent Schema Registry, "Schema references".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from confluent_kafka.schema_registry import Schema

from hookstream.schemas import avro_schema
from hookstream.schemas.avro_schema import MAX_SCHEMA_BYTES
from hookstream.schemas.bounded import long_of
from hookstream.schemas.errors import InvalidSchemaError, UndecodableError

MAX_REFERENCES = 100
MAX_DEPTH = 10


def whole_text(about: str, schema: Schema, fetch: Callable[[str, int], Schema]) -> str:
    """The text of a schema that needs no other; `fetch` gives the one of a subject and version.

    Raises:
        UndecodableError: more references than may be, or texts that do not fit together.
        Exception: whatever `fetch` raises.
    """
    if not schema.references:
        return schema.schema_str or ""
    texts = _Texts(about, fetch)
    texts.collect(schema, 1)
    try:
        return avro_schema.whole_text(schema.schema_str or "", texts.found.values())
    except InvalidSchemaError as exc:
        msg = f"{about} and what it refers to: {exc}"
        raise UndecodableError(msg) from exc


class _Texts:
    """Texts by subject and version, each behind those that it refers to."""

    def __init__(self, about: str, fetch: Callable[[str, int], Schema]) -> None:
        self.found: dict[tuple[str, int], str] = {}
        self._about = about
        self._fetch = fetch
        self._met: set[tuple[str, int]] = set()
        self._bytes = 0

    def collect(self, schema: Schema, depth: int) -> None:
        for reference in schema.references or ():
            version = long_of(str(reference.version or 0))  # of the registry's JSON, which may hold anything
            if version is None:
                self._refuse("refers to a version that is no number")
            place = (str(reference.subject), version)
            if place in self._met:  # also one that refers to itself, which a registry does not take
                continue
            self._met.add(place)
            if len(self._met) > MAX_REFERENCES or depth > MAX_DEPTH:
                self._refuse(f"refers to more than {MAX_REFERENCES} schemas, or more than {MAX_DEPTH} deep")
            referred = self._fetch(*place)
            text = referred.schema_str or ""
            self._bytes += len(text)
            if self._bytes > MAX_SCHEMA_BYTES:
                self._refuse(f"refers to more than {MAX_SCHEMA_BYTES} bytes")
            self.collect(referred, depth + 1)
            self.found[place] = text

    def _refuse(self, why: str) -> NoReturn:
        msg = f"{self._about} {why}"
        raise UndecodableError(msg)
