"""`sources.toml`, read and judged: every fault at once, each a sentence that names its table and key."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeGuard, TypeVar

from hookstream.schemas.event_schema import NOTICES, RESERVED, is_namespace
from hookstream.schemas.ids import WHAT_A_TEXT_IS, is_id
from hookstream.schemas.topics import TopicNames

from .selectors import FORMS, Constant, Field, Key, Selector, parse_selector
from .source import BodyKind, Preset, Source, Unmapped, ValueFormat

FILE_NAME = "sources.toml"
MAX_FILE_BYTES = 1_048_576

_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
# `<topic>:<partition>:<offset>` is an event's id where none is named, and an id has 255 characters at most.
_MAX_TOPIC_CHARS_WITHOUT_ID = 220
_KEYS = (
    "topic", "value", "preset", "event", "id", "client", "resource", "sub_namespace", "occurred_at", "body", "fields",
    "unmapped", "symbols", "events",
)  # fmt: skip
# What a preset says where the table does not.
_PRESETS: Mapping[Preset, Mapping[str, str]] = {
    Preset.CLOUDEVENTS: {
        "value": "json",
        "event": "header:ce_type",
        "id": "header:ce_id",
        "resource": "header:ce_subject",
        "occurred_at": "header:ce_time",
    },
    # `table.fields.additional.placement=type:header:eventType` of Debezium's router; the id is always there.
    Preset.DEBEZIUM_OUTBOX: {
        "value": "json",
        "event": "header:eventType",
        "id": "header:id",
        "resource": "key",
        "body": "data",
    },
}
_T = TypeVar("_T")


class JudgedSources(NamedTuple):
    """The sources of a file, in its order, without those that have a fault; and every fault, one sentence each."""

    sources: tuple[Source, ...]
    faults: tuple[str, ...]


def read_sources(content: bytes, *, described: Collection[str] = (), topics: TopicNames | None = None) -> JudgedSources:
    """Judge the tables of a file.

    `described` are the namespaces that have an `.avsc`; `topics` are those that the deployment uses itself.
    """
    if len(content) > MAX_FILE_BYTES:
        return JudgedSources((), (f"{FILE_NAME}: {len(content)} bytes; it may have {MAX_FILE_BYTES}",))
    try:
        tables = tomllib.loads(content.decode("utf-8-sig"))  # editors on Windows put a byte order mark before it
    # A ValueError is what is no TOML, no UTF-8, or a number of more digits than Python reads.
    except (ValueError, RecursionError) as exc:
        return JudgedSources((), (f"{FILE_NAME}: {str(exc) or type(exc).__name__}",))
    faults: list[str] = []
    sources = [_Table(namespace, table, described, faults).source() for namespace, table in tables.items()]
    names = topics or TopicNames()
    shared = list(_shared_topics(_topics(tables, names), described, names))
    faults += (fault for fault, _ in shared)
    faulty = {namespace for _, namespaces in shared for namespace in namespaces}
    good = tuple(source for source in sources if source is not None and source.namespace not in faulty)
    return JudgedSources(good, tuple(f"{FILE_NAME}: {fault}" for fault in faults))


def _topics(tables: Mapping[str, object], topics: TopicNames) -> Iterator[tuple[str, str]]:
    """Namespace and topic of each table, of those with other faults too: all faults are told at once."""
    for namespace, table in tables.items():
        topic = table.get("topic", topics.events(namespace)) if isinstance(table, dict) else None
        if isinstance(topic, str) and _is_topic(topic):
            yield namespace, topic


def _shared_topics(
    sources: Iterable[tuple[str, str]], described: Iterable[str], topics: TopicNames
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Faults, each with the namespaces that have it."""
    own = {topics.events(namespace): f"{namespace}.avsc describes it" for namespace in described}
    own |= dict.fromkeys((*topics.internal, topics.events(NOTICES)), "hookstream writes it")
    first: dict[str, str] = {}
    for namespace, topic in sources:
        if topic in own and namespace not in described:
            yield f"[{namespace}]: topic: {topic} is none of another service: {own[topic]}", (namespace,)
        before = first.setdefault(topic, namespace)
        if before != namespace:
            both = namespace, before
            yield f"[{namespace}] and [{before}] read the same topic {topic}; a topic has one namespace", both


class _Table:
    """One table while it is judged; faults go to a list that all tables share."""

    def __init__(self, namespace: str, table: object, described: Collection[str], faults: list[str]) -> None:
        self._namespace = namespace
        self._faults = faults
        self._before = len(faults)
        self._table: dict[str, object] = table if isinstance(table, dict) else {}
        if not is_namespace(namespace):
            self._fault("a namespace is letters, digits, _ and -, and starts with a letter or _")
        if namespace == NOTICES:
            self._fault(RESERVED)
        if namespace in described:
            self._fault(f"there is {namespace}.avsc too; a namespace is described by one of the two")
        if not isinstance(table, dict):
            self._fault("is no table")

    def source(self) -> Source | None:
        """The source; None where something is wrong."""
        table = self._table
        for key in table:
            if key not in _KEYS:
                self._fault(f"there is no key {key[:100]}{_nearest(key, _KEYS)}")
        preset = self._choice("preset", Preset, None)
        said = {**(_PRESETS[preset] if preset else {}), **table}
        event = self._selector("event", said)
        made = Source(
            namespace=self._namespace,
            topic=self._topic(has_id="id" in said),
            value=self._choice("value", ValueFormat, ValueFormat.AVRO, said),
            preset=preset,
            event=event or Constant(""),
            symbols=self._symbols(event),
            unmapped=self._choice("unmapped", Unmapped, Unmapped.IGNORE),
            id=self._selector("id", said, required=False),
            client=self._selector("client", said) or Key(),
            resource=self._selector("resource", {"resource": "key", **said}) or Key(),
            sub_namespace=self._selector("sub_namespace", said, required=False),
            occurred_at=self._selector("occurred_at", said, required=False),
            body=(body := self._choice("body", BodyKind, BodyKind.THIN, said)),
            fields=self._fields(body),
        )
        self._check_constants(made)
        return None if len(self._faults) > self._before else made

    def _fault(self, what: str) -> None:
        self._faults.append(f"[{self._namespace[:100]}]: {what}")

    def _topic(self, *, has_id: bool) -> str | None:
        topic = self._table.get("topic")
        if topic is None:
            return None
        if not isinstance(topic, str) or not _is_topic(topic):
            self._fault("topic: needs the name of a topic: 1 to 249 letters, digits, ., _ and -")
            return None
        if not has_id and len(topic) > _MAX_TOPIC_CHARS_WITHOUT_ID:
            self._fault(f"topic: with more than {_MAX_TOPIC_CHARS_WITHOUT_ID} characters it gives no ids: set id")
        return topic

    def _choice(self, key: str, codes: type[_T], default: _T, said: Mapping[str, object] | None = None) -> _T:
        value = (self._table if said is None else said).get(key)
        if value is None:
            return default
        allowed = [code.value for code in codes]  # type: ignore[attr-defined]  # they are string enums
        if value in allowed:
            return codes(value)  # type: ignore[call-arg]
        self._fault(f"{key}: needs {_or(allowed)}{_nearest(value, allowed)}")
        return default

    def _selector(self, key: str, said: Mapping[str, object], *, required: bool = True) -> Selector | None:
        value = said.get(key)
        if value is None:
            if required:
                self._fault(f"{key} is missing: {FORMS}")
            return None
        selector = parse_selector(value) if isinstance(value, str) else None
        if selector is None:
            self._fault(f"{key}: needs {FORMS}")
        return selector

    def _symbols(self, event: Selector | None) -> dict[str, str]:
        """Symbols by what the record says."""
        events, symbols = self._table.get("events"), self._table.get("symbols")
        if isinstance(event, Constant):
            if events is not None or symbols is not None or "unmapped" in self._table:
                self._fault("event is a constant, so neither symbols nor events nor unmapped can be set")
            return self._checked({event.text: event.text}, "event")
        if (events is None) == (symbols is None):
            self._fault(f"needs either symbols or [{self._namespace}.events]: which events there are")
            return {}
        if symbols is not None:
            if not _is_list_of_texts(symbols):
                self._fault("symbols: needs a list of names")
                return {}
            return self._checked({symbol: symbol for symbol in symbols}, "symbols")
        if not isinstance(events, dict) or not events or not all(isinstance(v, str) for v in events.values()):
            self._fault('events: needs a table of "what the topic says" = "symbol"')
            return {}
        return self._checked(events, "events")

    def _checked(self, symbols: dict[str, str], key: str) -> dict[str, str]:
        for symbol in dict.fromkeys(symbols.values()):
            if not _SYMBOL.fullmatch(symbol):
                self._fault(f"{key}: {symbol[:100]!r} is no symbol: letters, digits and _, and no digit first")
        return symbols

    def _fields(self, body: BodyKind) -> tuple[str, ...] | None:
        fields = self._table.get("fields")
        if fields is None:
            return None
        if body is not BodyKind.DATA:
            self._fault('fields: only with body = "data"')
        if not _is_list_of_texts(fields):
            self._fault("fields: needs a list of names")
            return None
        dotted = [field for field in fields if "." in field]
        if dotted:
            self._fault(f"fields: {dotted[0][:100]} is a path; only fields of the value itself can be chosen")
        return tuple(fields)

    def _check_constants(self, source: Source) -> None:
        if isinstance(source.id, Constant):
            self._fault("id: a constant would make one event of all")
        if isinstance(source.occurred_at, Constant):
            self._fault("occurred_at: a constant is no time; without the key it is the record's own")
        for key in ("client", "resource", "sub_namespace"):
            selector = getattr(source, key)
            if isinstance(selector, Constant) and not is_id(selector.text):
                self._fault(f"{key}: the constant is not {WHAT_A_TEXT_IS}")
        read = (source.event, source.client, source.resource, source.sub_namespace, source.id, source.occurred_at)
        if source.value is ValueFormat.AVRO:
            for selector in read:
                for name in selector.path if isinstance(selector, Field) else ():
                    if not _SYMBOL.fullmatch(name):
                        self._fault(f"{selector}: {name[:100]!r} is no name of an Avro field")


def _is_topic(name: str) -> bool:
    return _TOPIC.fullmatch(name) is not None and name not in (".", "..")


def _is_list_of_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each for each in value)


def _nearest(word: object, known: Collection[str]) -> str:
    near = difflib.get_close_matches(str(word)[:100], known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _or(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
