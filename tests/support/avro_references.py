"""A schema as a registry holds it: types of it are schemas of their own, which it refers to, and they to each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from confluent_kafka.schema_registry import Schema as Registered
from confluent_kafka.schema_registry import SchemaReference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Node: TypeAlias = Any

_NAMED = frozenset({"record", "enum", "fixed"})


class SplitSchema:
    """A record's schema, some of whose types are taken out: those that `chosen` wants, and that can stand alone."""

    def __init__(self, schema: Node, chosen: Callable[[], bool]) -> None:
        """Split it. What refers to a type that stays within another one has to stay there too."""
        self._chosen = chosen
        self._texts: dict[str, Registered] = {}
        self._text_of: dict[str, str] = {}
        """Which text defines a name."""
        self.root = self._registered(self._without_chosen(schema, is_root=True))

    @property
    def count(self) -> int:
        """How many schemas it refers to."""
        return len(self._texts)

    def fetch(self, subject: str, version: int) -> Registered:
        """What a registry has under a subject and version."""
        assert version == 1
        return self._texts[subject]

    def _without_chosen(self, node: Node, *, is_root: bool = False) -> Node:
        """Copy a type, and leave the names of what was taken out of it."""
        if isinstance(node, list):
            return [self._without_chosen(branch) for branch in node]
        if not isinstance(node, dict):
            return node
        made = dict(node)
        if "fields" in node:
            made["fields"] = [{**each, "type": self._without_chosen(each["type"])} for each in node["fields"]]
        for key in ("items", "values"):
            if key in node:
                made[key] = self._without_chosen(node[key])
        if is_root or node["type"] not in _NAMED or not self._stands_alone(made) or not self._chosen():
            return made
        subject = _full(made)
        self._texts[subject] = self._registered(made)
        self._text_of |= dict.fromkeys(_defined(made), subject)
        return subject

    def _stands_alone(self, node: Node) -> bool:
        return all(name in self._text_of for name in _used(node) - set(_defined(node)))

    def _registered(self, node: Node) -> Registered:
        needed = {self._text_of[name] for name in _used(node) if name in self._text_of}
        references = [SchemaReference(subject, subject, 1) for subject in sorted(needed)]
        return Registered(json.dumps(node), "AVRO", references)


def _full(node: Node) -> str:
    return f"{node['namespace']}.{node['name']}"


def _parts(node: Node) -> Iterator[Node]:
    """Every type that stands in one, itself included."""
    yield node
    if isinstance(node, list):
        inner = node
    elif isinstance(node, dict):
        inner = [node[key] for key in ("items", "values") if key in node]
        inner += [each["type"] for each in node.get("fields", ())]
    else:
        inner = []
    for part in inner:
        yield from _parts(part)


def _defined(node: Node) -> list[str]:
    return [_full(part) for part in _parts(node) if isinstance(part, dict) and part["type"] in _NAMED]


def _used(node: Node) -> set[str]:
    """Names of types that are referred to; a primitive type has no dot."""
    return {part for part in _parts(node) if isinstance(part, str) and "." in part}
