"""What a run has found, a line for each bug: an interrupted run goes on where it ended."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.mutants.planting import Verdict
from tests.support.repository import PACKAGES, ROOT, kept_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.mutants.plan import PlantedBug
    from tests.mutants.planting import Ran

BAR = 0.95


def state_of_the_tree() -> str:
    """A digest of what a verdict depends on: every file of the packages and of the tests."""
    digest = hashlib.sha256()
    for path in kept_files(*PACKAGES, "tests", "pyproject.toml"):
        digest.update(f"{path}\0".encode())
        digest.update(hashlib.sha256((ROOT / path).read_bytes()).digest())
    return digest.hexdigest()[:16]


class Ledger:
    """The verdicts on one state of the tree; lines of other states are left out, and stay in the file."""

    def __init__(self, path: Path, state: str) -> None:
        """Read what earlier runs have found of this state; a line that was cut off is no line."""
        self._path, self._state = path, state
        self.verdicts: dict[str, Verdict] = {}
        if path.exists():
            for text in path.read_text().splitlines():
                self._take(text)

    def _take(self, text: str) -> None:
        try:
            line = json.loads(text)
        except ValueError:
            return
        if line["state"] == self._state:
            self.verdicts[line["bug"]] = Verdict(line["verdict"])

    def add(self, bug: PlantedBug, ran: Ran) -> None:
        """Remember a verdict."""
        self.verdicts[bug.id] = ran.verdict
        line = {"state": self._state, "bug": bug.id, "verdict": ran.verdict, "took_s": ran.took_s}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as ledger:
            ledger.write(json.dumps(line) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of a package's bugs were found."""

    found: int
    planted: int

    @property
    def part(self) -> float:
        """Between 0 and 1."""
        return self.found / self.planted if self.planted else 1.0


def shares(bugs: Sequence[PlantedBug], verdicts: Mapping[str, Verdict]) -> dict[str, Share]:
    """The share found by package, and in `all`; a bug without a verdict is not found."""

    def share(some: Sequence[PlantedBug]) -> Share:
        return Share(found=sum(verdicts[bug.id].is_found for bug in some if bug.id in verdicts), planted=len(some))

    packages = dict.fromkeys(bug.package for bug in bugs)
    return {name: share([bug for bug in bugs if bug.package == name]) for name in packages} | {"all": share(bugs)}
