"""Nothing in the packages is there for tests alone: vulture looks at the packages without them.

Names are all that vulture knows: what shares its name with something that is used is not found.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from vulture import Vulture  # type: ignore[import-untyped]

from tests.support.repository import PACKAGES, ROOT

ALLOWED = Path(__file__).with_name("dead_code.toml")
# Registered by a decorator, called by a framework.
DECORATORS = ["@*.get", "@*.post", "@*.put", "@*.patch", "@*.delete", "@*.command", "@*.callback", "@*validator",
              "@*.exception_handler", "@*.middleware", "@*.listens_for", "@*.websocket"]  # fmt: skip


@dataclass(frozen=True)
class Unused:
    """One finding: `file` from the top of the repository."""

    file: str
    name: str
    line: int


def unused(root: Path, *packages: str) -> list[Unused]:
    """Everything in these folders that nothing in them uses."""
    found = Vulture(ignore_decorators=DECORATORS)
    found.scavenge([root / package for package in packages])
    items: list[Any] = found.get_unused_code(min_confidence=60)
    return [Unused(str(Path(item.filename).relative_to(root)), item.name, item.first_lineno) for item in items]


def judged(found: list[Unused], entries: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """What no entry allows, and which names of entries fit nothing."""
    left = {(entry["in"], name) for entry in entries if not entry.get("prescribed") for name in entry["names"]}
    dead = []
    for item in found:
        fits = {
            (entry["in"], name)
            for entry in entries
            for name in entry["names"]
            if fnmatch(item.file, entry["in"]) and name in (item.name, "*")
        }
        left -= fits
        if not fits:
            dead.append(f"{item.file}:{item.line}: {item.name}")
    return dead, sorted(f"{where}: {name}" for where, name in left)


@pytest.fixture(scope="module")
def judgement() -> tuple[list[str], list[str]]:
    """Look at the packages once."""
    return judged(unused(ROOT, *PACKAGES), tomllib.loads(ALLOWED.read_text())["allowed"])


def test_nothing_is_there_that_only_tests_use(judgement: tuple[list[str], list[str]]) -> None:
    dead, _ = judgement
    assert dead == [], "use it, remove it, or say in dead_code.toml who does use it"


def test_no_entry_of_the_list_has_outlived_its_reason(judgement: tuple[list[str], list[str]]) -> None:
    _, stale = judgement
    assert stale == []


def test_every_entry_says_why() -> None:
    entries = tomllib.loads(ALLOWED.read_text())["allowed"]
    assert all(set(entry) - {"prescribed"} == {"in", "names", "reason"} and entry["reason"] for entry in entries)


def test_dead_code_is_seen_and_a_stale_entry_too(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a.py").write_text(
        "def used(): ...\ndef dead(): ...\n@app.get('/')\ndef shown(): ...\nused()\n"
    )
    entries = [{"in": "package/*", "names": ["gone"], "reason": "it was there once"}]
    assert judged(unused(tmp_path, "package"), entries) == (["package/a.py:2: dead"], ["package/*: gone"])
