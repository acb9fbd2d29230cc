"""Trees that cannot be written say where, and never what."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hookstream.schemas.errors import UnrenderableError
from hookstream.schemas.rendering.json_tree import Unshowable, dump, is_too_deep


def nested(levels: int) -> Any:
    tree: Any = 1
    for level in range(levels):
        tree = [tree] if level % 2 else {"a": tree}
    return tree


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"a": [1, {"b": "\ud800"}]}, "data.a[1].b: a text with half of a surrogate pair"),
        ({"a": {"\ud800": 1}}, "data.a[…]: a text with half of a surrogate pair"),
        ({"a": 2**64}, "data.a: nothing that JSON can say"),
        ({"x y": Unshowable("a date")}, "data[…]: a date"),
        (Unshowable("a date"), "data: a date"),
        ({"a": object()}, "data.a: nothing that JSON can say"),
        (nested(300), "data: nested more than 100 deep"),
        ([Unshowable("a date"), Unshowable("a time")], "data[0]: a date"),
    ],
)
def test_the_first_part_that_cannot_be_written_is_named(tree: Any, says: str) -> None:
    with pytest.raises(UnrenderableError) as told:
        dump(tree, "data")
    assert str(told.value) == says


def test_what_can_be_written_is() -> None:
    assert dump({"a": orjson.Fragment("1e400"), "b": [None, float("nan")]}, "data") == b'{"a":1e400,"b":[null,null]}'


@pytest.mark.parametrize(("levels", "deep"), [(0, False), (100, False), (101, True), (5_000, True)])
def test_depth_is_counted(levels: int, *, deep: bool) -> None:
    assert is_too_deep(nested(levels)) is deep
    assert is_too_deep([*[nested(3)] * 200, nested(levels - 1) if levels else 1]) is deep
