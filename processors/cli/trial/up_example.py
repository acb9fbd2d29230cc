"""What `hookstream up` tells people to type: commands for an event of the catalogue that it has. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import orjson

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.event_schema import DATA_FIELD
from hookstream.schemas.event_types import event_types

CLIENT = ClientId("434")
_CONCEPT = "17"
# What the README begins with, where the catalogue has it.
_FIRST = EventName("lead.new")


@dataclass(frozen=True, slots=True)
class Example:
    """An event that is written here; `data` is what its schema wants an event to say, None where it wants nothing."""

    event: EventName
    data: object = None


def example_of(catalogue: Catalogue) -> Example | None:
    """The first event of the catalogue, or that of the README; None: other services write every event."""
    written = catalogue.written_names
    if not written:
        return None
    name = _FIRST if _FIRST in written else written[0]
    data = next((e.example.get(DATA_FIELD) for e in event_types(catalogue, {}) if e.name == name and e.example), None)
    return Example(name, data)


def commands(tokens_file: str, example: Example) -> list[str]:
    """Register a hook and receive its deliveries; then, in another shell, read the addresses and publish an event."""
    data = "" if example.data is None else f" --data {shlex.quote(orjson.dumps(example.data).decode())}"
    return [
        f"hookstream listen --event {example.event}",
        f". {shlex.quote(tokens_file if '/' in tokens_file else './' + tokens_file)}",
        f"hookstream publish {example.event} --client {CLIENT} --id {_CONCEPT}{data}",
    ]
