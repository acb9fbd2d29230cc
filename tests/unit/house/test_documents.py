"""What documents point to exists: other documents, their headings, and files of the repository."""

from __future__ import annotations

import os
import re
from collections import Counter
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

from tests.support.repository import ROOT, kept_files

DOCUMENTS = [path for path in kept_files() if path.suffix == ".md"]
FILES = [path.as_posix() for path in kept_files()]
PATHS = {*FILES, *(folder.as_posix() for path in FILES for folder in Path(path).parents)}
NAMES = {Path(path).name for path in FILES}

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"(?:benchmarks|deploy|docs|processors|producers|schemas|subscriptions|tests)/[\w./*<>-]*")
_FILE_NAME = re.compile(r"\w+\.(?:py|yml|yaml|toml|sql|avsc)")


def prose(text: str) -> str:
    """A document without its blocks of code."""
    return _FENCED.sub("", text)


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose((ROOT / path).read_text()), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def broken_links(document: Path, text: str) -> list[str]:
    """The relative links of a document to a file or a heading that does not exist."""
    broken = []
    for link in _LINK.findall(_CODE.sub("", prose(text))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = Path(os.path.normpath(document.parent / name)) if name else document
        if target.as_posix() not in PATHS or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def missing_paths(text: str) -> list[str]:
    """The paths and names of files in backticks that no file has. `*` and `<anything>` stand for any name."""
    missing = []
    for code in _CODE.findall(prose(text)):
        if _FILE_NAME.fullmatch(code):
            missing += [code] if code not in NAMES else []
        for word in code.split():
            if _PATH.fullmatch(word):
                pattern = re.sub(r"<[^>]*>", "*", word).rstrip("/")
                missing += [word] if not any(fnmatchcase(path, pattern) for path in PATHS) else []
    return missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_link_and_path_in_a_document_exists(document: Path) -> None:
    text = (ROOT / document).read_text()
    assert (broken_links(document, text), missing_paths(text)) == ([], [])


def test_a_link_or_path_that_leads_nowhere_is_found() -> None:
    links = (
        "[a](#nowhere) [b](../README.md) [c](gone.md) [d](operations.md#nowhere) [e](https://example.com) `[f](g.md)`"
    )
    fenced = "\n```sh\n[h](gone.md)\n```\n"
    assert broken_links(Path("docs/settings.md"), links + fenced) == ["#nowhere", "gone.md", "operations.md#nowhere"]
    paths = "`schemas/event.py` `processors/*.py` `schemas/avro/<namespace>.avsc` `event.py` `docs/`"
    assert missing_paths(paths + " `schemas/gone.py` `gone.py` `cat docs/gone.md`") == [
        "schemas/gone.py",
        "gone.py",
        "docs/gone.md",
    ]
