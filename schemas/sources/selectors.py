"""Where a value stands in a record: `header:NAME`, `field:a.b`, `key`, `constant:…`. No expressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

_HEADER, _FIELD, _CONSTANT, _KEY = "header:", "field:", "constant:", "key"
FORMS = "header:NAME, field:a.b, key or constant:…"


@dataclass(frozen=True, slots=True)
class Header:
    """The last header of this name, as text."""

    name: str

    def __str__(self) -> str:
        return f"{_HEADER}{self.name}"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the value, by the names on the way to it."""

    path: tuple[str, ...]

    def __str__(self) -> str:
        return f"{_FIELD}{'.'.join(self.path)}"


@dataclass(frozen=True, slots=True)
class Key:
    """The record's key, as text."""

    def __str__(self) -> str:
        return _KEY


@dataclass(frozen=True, slots=True)
class Constant:
    """The same text for every record."""

    text: str

    def __str__(self) -> str:
        return f"{_CONSTANT}{self.text}"


Selector: TypeAlias = Header | Field | Key | Constant


def parse_selector(text: str) -> Selector | None:
    """What a text of `sources.toml` selects; None where it is no selector."""
    if text == _KEY:
        return Key()
    if text.startswith(_HEADER) and len(text) > len(_HEADER):
        return Header(text.removeprefix(_HEADER))
    if text.startswith(_CONSTANT) and len(text) > len(_CONSTANT):
        return Constant(text.removeprefix(_CONSTANT))
    path = tuple(text.removeprefix(_FIELD).split("."))
    return Field(path) if text.startswith(_FIELD) and all(path) else None
