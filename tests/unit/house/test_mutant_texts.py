"""A change of the engine takes the planted bugs along: each text that a mutant replaces stands exactly once."""

from __future__ import annotations

import ast

import pytest

from tests.support.engine_mutants import MUTANTS, edited


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_can_be_planted(name: str) -> None:
    texts = edited(MUTANTS[name], name)
    for module in {module for module, _, _ in MUTANTS[name].edits}:
        ast.parse(texts[module], module)
