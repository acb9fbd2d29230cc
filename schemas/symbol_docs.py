"""What an envelope says of each of its events: a property `events` of the enum, by symbol.

    "symbols": ["placed", "shipped"], "events": {"shipped": {"doc": "It left the warehouse.", "since": "2026-11-28"}}

Avro has a place for the documentation of an enum and none for that of its symbols. A property that Avro does not know
is documentation to every reader of the schema.

Source: Apache Avro 1.12 specification, "Schema Declaration": attributes that it does not define are metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .avro_schema import Node
from .errors import InvalidSchemaError

_PROPERTY = "events"
_KEYS = ("doc", "since")


class SymbolDoc(NamedTuple):
    """What is said of one event: what it means, and since when it exists, as people write it."""

    doc: str | None = None
    since: str | None = None


def symbol_docs(enum: Node) -> Mapping[str, SymbolDoc]:
    """What an enum says of its symbols, of those of which it says anything.

    Raises:
        InvalidSchemaError: it speaks of a symbol that it does not have, or says anything else.
    """
    said = enum.get(_PROPERTY)
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise InvalidSchemaError(f"{_PROPERTY} of the enum: needs an object of symbols")
    return {symbol: _symbol_doc(symbol, each, enum["symbols"]) for symbol, each in said.items()}


def _symbol_doc(symbol: str, said: Node, symbols: list[str]) -> SymbolDoc:
    where = f"{_PROPERTY}.{symbol[:100]} of the enum"
    if symbol not in symbols:
        raise InvalidSchemaError(f"{where}: there is no such symbol")
    if not isinstance(said, dict) or not said.keys() <= set(_KEYS):
        raise InvalidSchemaError(f"{where}: needs an object with {' and '.join(_KEYS)}")
    if not all(isinstance(text, str) and text for text in said.values()):
        raise InvalidSchemaError(f"{where}: needs texts")
    return SymbolDoc(**said)
