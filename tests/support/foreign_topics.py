"""Topics that another service writes: a catalogue that reads them beside the shipped domain, and records of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.folder import ENVELOPE_SUFFIX

if TYPE_CHECKING:
    from hookstream.schemas.topics import TopicNames


class Sent(NamedTuple):
    """A record as its service writes it, and what of it stands in the body."""

    topic: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    data: object = None


def shipped_files() -> dict[str, bytes]:
    """The shipped domain as a folder."""
    shipped = Catalogue.shipped()
    return {f"{name}{ENVELOPE_SUFFIX}": shipped.schema_text(name).encode() for name in shipped.envelopes}


def catalogue_with(sources: str, topics: TopicNames) -> Catalogue:
    """The shipped domain and these sources."""
    return Catalogue.from_files({**shipped_files(), "sources.toml": sources.encode()}, topics)
