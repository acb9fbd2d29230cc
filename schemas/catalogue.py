"""The event catalogue: which events exist and where they are read from, by the files of a folder and nothing else.

A namespace is described by `<namespace>.avsc`, an envelope whose enum field `event` holds the symbols, or by a table of
`sources.toml`, for a topic that another service writes; an event is named `<namespace>.<symbol>`. The shipped folder
describes the platform's own domain; any other folder of that shape describes another one, and nothing else has to
change.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from .avro_schema import compact_json
from .errors import InvalidSchemaError, UnknownEventError
from .event import EventName
from .event_schema import NOTICES, check_event_schema, event_name, event_symbols, id_kinds
from .folder import ENVELOPE_SUFFIX, JudgedFolder, judge_folder, read_folder
from .ids import INTEGERS, IdKind, IdKinds
from .sources.source import Source
from .sources.sources_file import FILE_NAME
from .topics import TopicNames

_AVRO_PACKAGE = f"{__package__}.avro"
_TEXTS = IdKinds(IdKind.STRING, IdKind.STRING)


class InternalSchema(StrEnum):
    """The schemas of hookstream's own topics; they are the same whatever the domain."""

    SUBSCRIPTION = "subscription"
    DELIVERY = "delivery"
    ATTEMPT = "attempt"
    DEAD_LETTER = "dead_letter"
    NOTICE = "notice"
    CONTROL = "control"
    NOTICES = "hookstream"

    @property
    def text(self) -> str:
        """The schema as compact JSON."""
        resource = files(_AVRO_PACKAGE).joinpath("internal", f"{self.value}.avsc")
        return compact_json(resource.read_bytes())


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every event of a domain, then the notices. Immutable; in the order of namespaces, then of the enum's symbols.

    The notices are hookstream's own events: every deployment has them, and no service writes them.
    """

    _texts: Mapping[str, str]
    _names: Mapping[EventName, None]
    _ids: Mapping[str, IdKinds]
    _sources: Mapping[str, Source]

    @classmethod
    def shipped(cls) -> Catalogue:
        """The catalogue of this release."""
        folder = files(_AVRO_PACKAGE)
        return cls.from_files({f.name: f.read_bytes() for f in folder.iterdir() if f.name.endswith(ENVELOPE_SUFFIX)})

    @classmethod
    def from_directory(cls, path: Path | str, topics: TopicNames | None = None) -> Catalogue:
        """Read a deployment's own folder; `topics` are those that the deployment uses itself.

        Raises:
            InvalidSchemaError: the folder cannot be read, or describes nothing; else with everything that is wrong.
        """
        return cls.from_files(read_folder(Path(path)), topics)

    @classmethod
    def from_files(cls, found: Mapping[str, bytes], topics: TopicNames | None = None) -> Catalogue:
        """Read the files of a folder, by name.

        Raises:
            InvalidSchemaError: with everything that is wrong.
        """
        folder = judge_folder(found, topics or TopicNames())
        if folder.faults:
            raise InvalidSchemaError("; ".join(folder.faults))
        return cls.from_folder(folder)

    @classmethod
    def from_folder(cls, folder: JudgedFolder) -> Catalogue:
        """What a folder describes, without the files and tables that have faults."""
        sources = {source.namespace: source for source in folder.sources}
        return cls(
            MappingProxyType({namespace: compact_json(text) for namespace, text in folder.envelopes.items()}),
            MappingProxyType(dict.fromkeys(sorted(folder.event_names, key=_namespace_of))),
            MappingProxyType({ns: id_kinds(check_event_schema(ns, text)) for ns, text in folder.envelopes.items()}),
            MappingProxyType(sources),
        )

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace, sorted."""
        return (*sorted((*self._texts, *self._sources)), NOTICES)

    @property
    def envelopes(self) -> tuple[str, ...]:
        """The namespaces whose events services write with hookstream's producers, sorted."""
        return tuple(self._texts)

    @property
    def all_envelopes(self) -> tuple[str, ...]:
        """Every namespace that an envelope describes: those that services write, and the notices."""
        return (*self._texts, NOTICES)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The topics of other services that events are read from."""
        return tuple(self._sources.values())

    def topic(self, namespace: str, topics: TopicNames) -> str:
        """The topic that a namespace's events are read from."""
        source = self._sources.get(namespace)
        return topics.events(namespace) if source is None else source.topic_in(topics)

    @property
    def event_names(self) -> tuple[EventName, ...]:
        """Every event that a hook can be registered for: the domain's, and then the notices."""
        return (*self._names, *_notices())

    @property
    def domain_names(self) -> tuple[EventName, ...]:
        """Every event of the domain, by namespace and then in the order of its enum: all but the notices."""
        return tuple(self._names)

    @property
    def written_names(self) -> tuple[EventName, ...]:
        """The events that hookstream's producers write, in the same order."""
        return tuple(name for name in self.domain_names if _namespace_of(name) in self._texts)

    def __contains__(self, name: object) -> bool:
        """Whether there is an event of that name."""
        return name in self._names or name in _notices()

    def require(self, name: str) -> EventName:
        """Give the name back as the name of an event.

        Raises:
            UnknownEventError: there is none; the message names the nearest ones.
        """
        known = EventName(name)
        if known in self:
            return known
        near = difflib.get_close_matches(name, self.event_names, n=3)
        hint = f"did you mean {_one_of(near)}?" if near else f"namespaces are {', '.join(self.namespaces)}"
        msg = f"unknown event {name[:100]!r}; {hint}"
        raise UnknownEventError(msg, hint=hint)

    def require_written(self, name: str) -> EventName:
        """Give the name back as the name of an event that hookstream's producers write.

        Raises:
            UnknownEventError: there is none, or another service writes it.
        """
        known = self.require(name)
        if known in _notices():
            msg = f"{known} is a notice, which hookstream writes itself"
            raise UnknownEventError(msg, hint=msg)
        self.schema_text(_namespace_of(known))
        return known

    def id_kinds(self, namespace: str) -> IdKinds:
        """What a namespace declares its ids to be; integers where there is no such namespace."""
        return _TEXTS if namespace == NOTICES else self._ids.get(namespace, INTEGERS)

    def schema_text(self, namespace: str) -> str:
        """The namespace's schema as compact JSON.

        Raises:
            UnknownEventError: no such namespace, or its events are written by another service.
        """
        text = InternalSchema.NOTICES.text if namespace == NOTICES else self._texts.get(namespace)
        if text is not None:
            return text
        if namespace in self._sources:
            msg = f"events of {namespace} are written by another service, and read as {FILE_NAME} says"
        else:
            msg = f"unknown namespace {namespace[:100]!r}; namespaces are {', '.join(self.namespaces)}"
        raise UnknownEventError(msg, hint=msg)

    def subjects(self, topics: TopicNames) -> dict[str, str]:
        """Every registry subject of a deployment, `<topic>-value`, with the schema text that it has to hold."""
        own = {topics.events(namespace): text for namespace, text in self._texts.items()}
        by_topic = own | {topic: schema.text for topic, schema in internal_schemas(topics).items()}
        return {subject(topic): text for topic, text in by_topic.items()}


def internal_schemas(topics: TopicNames) -> dict[str, InternalSchema]:
    """The schemas of hookstream's own topics, by topic."""
    return {
        topics.subscriptions: InternalSchema.SUBSCRIPTION,
        topics.deliveries: InternalSchema.DELIVERY,
        topics.replays: InternalSchema.DELIVERY,
        topics.dead_letters: InternalSchema.DEAD_LETTER,
        topics.attempts: InternalSchema.ATTEMPT,
        topics.hook_notices: InternalSchema.NOTICE,
        topics.control: InternalSchema.CONTROL,
        topics.events(NOTICES): InternalSchema.NOTICES,
    }


@cache
def _notices() -> Mapping[EventName, None]:
    """The names of the notices, in the order of their enum."""
    symbols = event_symbols(check_event_schema(NOTICES, InternalSchema.NOTICES.text.encode()))
    return dict.fromkeys(event_name(NOTICES, symbol) for symbol in symbols)


def _namespace_of(name: EventName) -> str:
    return name.partition(".")[0]


def subject(topic: str) -> str:
    """The registry subject of a topic's values."""
    return f"{topic}-value"


def _one_of(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
