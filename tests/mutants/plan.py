"""The planted bugs as data: `bugs/<package>.toml`, one table for each bug, named by its id."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.support.repository import ROOT

BUGS = Path(__file__).parent / "bugs"


class Kind(StrEnum):
    """What a bug gets wrong."""

    SECOND_FAILURE = "second failure"  # right once, wrong when it fails again
    SLOW_PART = "slow part"  # right while the other part answers at once
    RACE = "race"  # of two, where the row, lock or lease is there already
    FENCING = "fencing"  # who lost a partition, a lease or a lock goes on
    ORDER = "order of steps"
    REAL_CONTRACT = "real contract"  # what a fake does by itself and the real part has to be told
    OFF_BY_ONE = "off by one"
    COMPARISON = "comparison"
    CONDITION = "dropped condition"
    BOUND = "missing bound"
    ESCAPE = "missing escape"
    UNIT = "wrong unit"
    CLIENT_FILTER = "client filter"
    TRANSACTION = "transaction"
    CLASSIFICATION = "classification"  # what is worth another try is final, or the other way round
    SWALLOWED_ERROR = "swallowed error"
    AUTHORIZATION = "authorization"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedBug:
    """One edit of one shipped file, and the tests of which one at least fails with it."""

    id: str
    package: str  # the name of its file in `bugs`
    kind: Kind
    meaning: str  # one sentence: what the product does with the bug in it
    file: str  # below the root
    old: str  # stands in the file once
    new: str
    finds: tuple[str, ...]  # pytest's node ids
    on_sqlite: bool = False  # of tests that run once on each database, those on SQLite are enough

    @property
    def needs_real_parts(self) -> bool:
        """Whether one of its tests starts Kafka, a registry or a database."""
        return not self.on_sqlite and any(not test.startswith("tests/unit/") for test in self.finds)


def planned(folder: Path = BUGS) -> list[PlantedBug]:
    """Every bug, ordered by package and by place in its file.

    Raises: TypeError where a table lacks a field or has one too many, ValueError where its kind is none.
    """
    bugs = []
    for path in sorted(folder.glob("*.toml")):
        for name, table in tomllib.loads(path.read_text()).items():
            kind, finds = Kind(table.pop("kind")), tuple(table.pop("finds"))
            bugs.append(PlantedBug(id=name, package=path.stem, kind=kind, finds=finds, **table))
    return bugs


def edited(bug: PlantedBug, root: Path = ROOT) -> str:
    """The text of the bug's file with the bug in it.

    Raises: ValueError if the text to replace does not stand exactly once in the file.
    """
    text = (root / bug.file).read_text()
    found = text.count(bug.old)
    if found != 1:
        raise ValueError(f"{bug.id}: the text to replace stands {found} times in {bug.file}:\n{bug.old}")
    return text.replace(bug.old, bug.new)
