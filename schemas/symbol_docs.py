"""What an envelope says of each of its events: a property `events` of the enum, by symbol.

    "symbols": ["placed", "shipped"], "events": {"shipped": {"doc": "It left the warehouse.", "since": "2026-11-28"}}

Avro has a place for the documentation of an enum and none for that of its symbols. A property that Avro does not know
is documentation to every reader of the schema.

Source: Apache Avro 1.12 specification, "Schema Declaration": attributes that it does not define are metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .avro_schema import Node

_PROPERTY = "events"
_KEYS = ("doc", "since")
_SHOWN = 100  # characters of a symbol that there is not


class SymbolDoc(NamedTuple):
    """What is said of one event: what it means, and since when it exists, as people write it."""

    doc: str | None = None
    since: str | None = None


def symbol_docs(enum: Node) -> Mapping[str, SymbolDoc]:
    """What an enum without faults says of its symbols, of those of which it says anything."""
    return {symbol: SymbolDoc(**said) for symbol, said in (enum.get(_PROPERTY) or {}).items()}


def symbol_doc_faults(enum: Node) -> Iterator[str]:
    """Everything that is wrong with what an enum says of its symbols: one that it does not have, or anything else."""
    said = enum.get(_PROPERTY)
    if said is None:
        return
    if not isinstance(said, dict):
        yield f"{_PROPERTY} of the enum: needs an object of symbols"
        return
    for symbol, each in said.items():
        where = f"{_PROPERTY}.{symbol[:_SHOWN]} of the enum"
        if symbol not in enum["symbols"]:
            yield f"{where}: there is no such symbol"
        elif not isinstance(each, dict) or not each.keys() <= set(_KEYS):
            yield f"{where}: needs an object with {' and '.join(_KEYS)}"
        elif not all(isinstance(text, str) and text for text in each.values()):
            yield f"{where}: needs texts"
