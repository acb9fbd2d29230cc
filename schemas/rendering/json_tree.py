"""JSON values as Python holds them, written as bytes, or refused with the path of what cannot be written.

A tree is what orjson writes: dictionaries, lists, texts, numbers, and fragments (JSON text that is copied as it is). A
reader that meets a value for which JSON has no form puts an `Unshowable` there. It costs nothing until it is written,
and what is not written is not refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import orjson

from hookstream.schemas.errors import UnrenderableError

JsonTree: TypeAlias = Any
"""What `orjson.dumps` takes, and `Unshowable`."""

MAX_DEPTH = 100
"""Objects and arrays within each other. orjson writes 254; Python's stack holds some 200, depending on who calls."""

_CONTAINERS = (dict, list)
# A key that is no name may be personal data (an address of mail in a map): it does not get into an error.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,49}")


class Unshowable:
    """Stands for a value that JSON has no form for, with the reason; never with the value.

    No dataclass: orjson would write one.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


def dump(tree: JsonTree, at: str) -> bytes:
    """Write a tree; `at` is the path of its root.

    Raises:
        UnrenderableError: a part of it cannot be written; the message begins with that part's path.
    """
    try:
        return orjson.dumps(tree)
    except (TypeError, RecursionError):  # orjson's errors are TypeErrors
        raise UnrenderableError(_fault(tree, at)) from None


def is_too_deep(tree: JsonTree) -> bool:
    """Whether more than `MAX_DEPTH` objects and arrays stand within each other."""
    level = [tree] if isinstance(tree, _CONTAINERS) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, _CONTAINERS)
        ]
    return bool(level)


def shown_key(key: str) -> str:
    """A key as a path shows it."""
    return f".{key}" if _NAME.fullmatch(key) else "[…]"


def _fault(tree: JsonTree, at: str) -> str:
    """Say what of a tree that cannot be written is the first that cannot be."""
    if is_too_deep(tree):
        return f"{at}: nested more than {MAX_DEPTH} deep"
    for path, node in _leaves(tree, at):
        if isinstance(node, Unshowable):
            return f"{path}: {node.reason}"
        try:
            orjson.dumps(node)
        except (TypeError, RecursionError):
            said = "a text with half of a surrogate pair" if isinstance(node, str) else "nothing that JSON can say"
            return f"{path}: {said}"
    return f"{at}: nothing that JSON can say"


def _leaves(tree: JsonTree, at: str) -> Iterator[tuple[str, JsonTree]]:
    """Every key and every value that holds no others, with its path, in order."""
    waiting = [(at, tree)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, dict):
            for key in node:
                yield f"{path}[…]", key
            waiting += [(f"{path}{shown_key(str(key))}", child) for key, child in reversed(node.items())]
        elif isinstance(node, list):
            waiting += [(f"{path}[{index}]", node[index]) for index in reversed(range(len(node)))]
        else:
            yield path, node
