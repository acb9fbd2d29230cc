"""A change of the code takes the bugs planted outside the engine along: each text stands once, each test exists."""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.mutants.plan import PlantedBug, edited, planned
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

BUGS = planned()
LEAST = 120


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.id)
def test_a_bug_can_be_planted_and_its_tests_exist(bug: PlantedBug) -> None:
    text = edited(bug)
    if bug.file.endswith(".py"):
        ast.parse(text, bug.file)
    assert bug.old != bug.new
    assert bug.finds
    assert [test for test in bug.finds if not exists(test)] == []


def test_each_bug_has_a_name_of_its_own_and_there_are_many() -> None:
    assert len({bug.id for bug in BUGS}) == len(BUGS)
    assert len(BUGS) >= LEAST


def exists(test: str) -> bool:
    """Whether a node id names a test's file, or a test in it, with or without its parameters."""
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and (not name or name.split("[")[0] in names_in(path))


@cache
def names_in(path: str) -> frozenset[str]:
    """Tests of a file, those of a class as `Class::test`."""
    return frozenset(_names(ast.parse((ROOT / path).read_text())))


def _names(within: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[str]:
    for node in within.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
        elif isinstance(node, ast.ClassDef):
            yield from _names(node, f"{prefix}{node.name}::")
