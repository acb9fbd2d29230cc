"""How PostgreSQL answers the questions that code asks it: the plan of each statement, as it would be made now."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Engine

# Of a value in the text of a plan, so that a list of thousands does not hide it.
_LONGEST_LINE = 160
_SETTINGS = ("SELECT set_config", "SET LOCAL")


@dataclass(frozen=True, slots=True)
class Plan:
    """One statement and its plan, as PostgreSQL prints it."""

    statement: str
    lines: tuple[str, ...]

    @property
    def scans(self) -> list[str]:
        """The tables of which every row is looked at, and the indexes that are used, without repetition."""
        found = []
        for line in self.lines:
            words = line.replace("->", "").split()
            if "Scan" in words and "on" in words:
                name = words[words.index("using") + 1] if "using" in words else words[words.index("on") + 1]
                kind = "all of " if words[:2] == ["Seq", "Scan"] or words[:3] == ["Parallel", "Seq", "Scan"] else ""
                if words[:3] != ["Bitmap", "Heap", "Scan"]:
                    found.append(kind + name)
        return list(dict.fromkeys(found))

    @property
    def execution_ms(self) -> float:
        """How long it took, where it was executed."""
        told = [line.split()[2] for line in self.lines if line.startswith("Execution Time:")]
        return float(told[0]) if told else 0.0

    @property
    def text(self) -> str:
        """For people."""
        return "\n".join(line[:_LONGEST_LINE] for line in self.lines)


@contextmanager
def _statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def take(*arguments: Any) -> None:
        _, _, statement, parameters, _, _ = arguments
        if not statement.startswith(_SETTINGS):
            seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", take)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", take)


def plans_of(engine: Engine, work: Callable[[], object], *, analyze: bool = False) -> Sequence[Plan]:
    """Do the work, then ask for the plan of each statement of it; `analyze` executes each again and rolls back."""
    with _statements(engine) as seen:
        work()
    found = []
    for statement, parameters in seen:
        with engine.connect() as connection:
            transaction = connection.begin()
            explain = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " if analyze else "EXPLAIN (COSTS OFF) "
            rows = connection.exec_driver_sql(explain + statement, parameters or None).scalars().all()
            transaction.rollback()
        found.append(Plan(statement, tuple(rows)))
    return found
