"""The event catalogue: which events exist, read from the Avro schemas of a folder and from nowhere else.

A folder holds one `<namespace>.avsc` per namespace, each a record with an enum field `event`; an event is named
`<namespace>.<symbol>`. The shipped folder describes the platform's own domain; any other folder of that shape
describes another one, and nothing else has to change.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from .avro_schema import compact_json
from .errors import InvalidSchemaError, UnknownEventError
from .event import EventName
from .event_schema import check_event_schema, event_symbols, id_kinds
from .ids import INTEGERS, IdKinds
from .topics import TopicNames

_AVRO_PACKAGE = f"{__package__}.avro"


class InternalSchema(StrEnum):
    """The schemas of hookstream's own topics; they are the same whatever the domain."""

    SUBSCRIPTION = "subscription"
    DELIVERY = "delivery"
    ATTEMPT = "attempt"
    DEAD_LETTER = "dead_letter"
    NOTICE = "notice"
    CONTROL = "control"

    @property
    def text(self) -> str:
        """The schema as compact JSON."""
        resource = files(_AVRO_PACKAGE).joinpath("internal", f"{self.value}.avsc")
        return compact_json(resource.read_bytes())


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every event of a domain. Immutable; the order is that of the namespaces, then of the enum's symbols."""

    _texts: Mapping[str, str]
    _names: Mapping[EventName, None]
    _ids: Mapping[str, IdKinds]

    @classmethod
    def shipped(cls) -> Catalogue:
        """The catalogue of this release."""
        folder = files(_AVRO_PACKAGE)
        return cls._from_files((f.name, f.read_bytes()) for f in folder.iterdir() if f.name.endswith(".avsc"))

    @classmethod
    def from_directory(cls, path: Path | str) -> Catalogue:
        """Read a deployment's own folder of `<namespace>.avsc`.

        Raises:
            InvalidSchemaError: the folder cannot be read, holds no schema, or one that cannot carry events.
        """
        try:
            found = [(file.name, file.read_bytes()) for file in Path(path).iterdir() if file.suffix == ".avsc"]
        except OSError as exc:
            msg = f"cannot read the schema folder {path}: {exc.strerror}"
            raise InvalidSchemaError(msg) from exc
        if not found:
            msg = f"no .avsc file in the schema folder {path}"
            raise InvalidSchemaError(msg)
        return cls._from_files(found)

    @classmethod
    def _from_files(cls, found: Iterable[tuple[str, bytes]]) -> Catalogue:
        texts: dict[str, str] = {}
        names: dict[EventName, None] = {}
        ids: dict[str, IdKinds] = {}
        for file_name, content in sorted(found):
            namespace = file_name.removesuffix(".avsc")
            schema = check_event_schema(namespace, content)
            texts[namespace] = compact_json(content)
            ids[namespace] = id_kinds(schema)
            names |= dict.fromkeys(EventName(f"{namespace}.{symbol}") for symbol in event_symbols(schema))
        return cls(MappingProxyType(texts), MappingProxyType(names), MappingProxyType(ids))

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace, sorted."""
        return tuple(self._texts)

    @property
    def event_names(self) -> tuple[EventName, ...]:
        """Every event, by namespace and then in the order of its enum."""
        return tuple(self._names)

    def __contains__(self, name: object) -> bool:
        """Whether there is an event of that name."""
        return name in self._names

    def require(self, name: str) -> EventName:
        """Give the name back as the name of an event.

        Raises:
            UnknownEventError: there is none; the message names the nearest ones.
        """
        known = EventName(name)
        if known in self._names:
            return known
        near = difflib.get_close_matches(name, self._names, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"namespaces are {', '.join(self._texts)}"
        msg = f"unknown event {name[:100]!r}; {hint}"
        raise UnknownEventError(msg, hint=hint)

    def id_kinds(self, namespace: str) -> IdKinds:
        """What a namespace declares its ids to be; integers where there is no such namespace."""
        return self._ids.get(namespace, INTEGERS)

    def schema_text(self, namespace: str) -> str:
        """The namespace's schema as compact JSON.

        Raises:
            UnknownEventError: no such namespace.
        """
        try:
            return self._texts[namespace]
        except KeyError:
            msg = f"unknown namespace {namespace[:100]!r}; namespaces are {', '.join(self._texts)}"
            raise UnknownEventError(msg) from None

    def subjects(self, topics: TopicNames) -> dict[str, str]:
        """Every registry subject of a deployment, `<topic>-value`, with the schema text that it has to hold."""
        by_topic = {topics.events(namespace): text for namespace, text in self._texts.items()} | {
            topics.subscriptions: InternalSchema.SUBSCRIPTION.text,
            topics.deliveries: InternalSchema.DELIVERY.text,
            topics.replays: InternalSchema.DELIVERY.text,
            topics.dead_letters: InternalSchema.DEAD_LETTER.text,
            topics.attempts: InternalSchema.ATTEMPT.text,
            topics.hook_notices: InternalSchema.NOTICE.text,
            topics.control: InternalSchema.CONTROL.text,
        }
        return {subject(topic): text for topic, text in by_topic.items()}


def subject(topic: str) -> str:
    """The registry subject of a topic's values."""
    return f"{topic}-value"
