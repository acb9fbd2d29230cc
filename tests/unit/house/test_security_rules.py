"""Every exception from ruff's security rules (flake8-bandit) says why, at the line."""

from __future__ import annotations

import re

from tests.support.repository import ROOT, kept_files

_EXCEPTION = re.compile(r"# noqa: ([A-Z]+\d+(?:, ?[A-Z]+\d+)*)\)?(.*)")
_RULE = re.compile(r"\bS\d{3}\b")


def unexplained(text: str) -> list[int]:
    """The lines that switch a security rule off and give no reason, before or behind."""
    return [
        number
        for number, line in enumerate(text.splitlines(), 1)
        for comment in _EXCEPTION.finditer(line)
        if _RULE.search(comment[1]) and not re.search(r"\w{2}", comment[2])
    ]


def test_what_counts_as_a_reason() -> None:
    off = "# " + "noqa: S603"
    assert unexplained(f"run(x)  {off}") == [1]
    assert unexplained(f"run(x)  {off}  # our own program") == []
    assert unexplained(f"run(x)  {off} - our own program") == []
    assert unexplained("run(x)  # " + "noqa: PLR0913") == []


def test_every_exception_has_a_reason() -> None:
    missing = {
        f"{path}:{line}"
        for path in kept_files()
        if path.suffix == ".py"
        for line in unexplained((ROOT / path).read_text())
    }
    assert missing == set()
