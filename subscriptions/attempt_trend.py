"""How attempts went lately, in steps of some minutes: estimated from a sample, so that it costs the same at any rate.

Rows of attempts are numbered in the order in which they were written, which is roughly that of time. So the first row
of a window is found by halving the range of numbers, and rows at even distances behind it stand for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hookstream.schemas.attempt import AttemptResult

from .database import one_of
from .models import AttemptRow

TREND_S: Final = 3 * 3600
STEP_S: Final = 300
_SAMPLE: Final = 4000


@dataclass(slots=True)
class TrendStep:
    """Attempts that began in the step from `at_ms` on; rounded, where only a part of them was looked at."""

    at_ms: int
    delivered: int = 0
    failed: int = 0


def attempt_trend(session: Session, *, now_ms: int) -> Sequence[TrendStep]:
    """The steps of the last three hours, the oldest first, empty ones too."""
    end = now_ms // (STEP_S * 1000) + 1
    first = end - TREND_S // STEP_S
    steps = [TrendStep(at_ms=number * STEP_S * 1000) for number in range(first, end)]
    lowest, highest = session.execute(
        select(func.coalesce(func.min(AttemptRow.id), 0), func.coalesce(func.max(AttemptRow.id), -1))
    ).one()
    if highest < lowest:
        return steps
    begin = _first_since(session, steps[0].at_ms, lowest, highest)
    stride = max(1, -(-(highest + 1 - begin) // _SAMPLE))
    number, delivered = AttemptRow.started_at_ms // (STEP_S * 1000), AttemptRow.result == AttemptResult.DELIVERED.value
    sample = select(number, func.count().filter(delivered), func.count().filter(~delivered)).where(
        one_of(session, AttemptRow.id, range(begin, highest + 1, stride))
    )
    for at, well, badly in session.execute(sample.group_by(number)):
        if 0 <= at - first < len(steps):
            steps[at - first].delivered = well * stride
            steps[at - first].failed = badly * stride
    return steps


def _first_since(session: Session, at_ms: int, lowest: int, highest: int) -> int:
    """The lowest number whose attempt began then or later, as far as numbers are in the order of time."""
    while lowest < highest:
        middle = (lowest + highest) // 2
        row = select(AttemptRow.id, AttemptRow.started_at_ms).where(AttemptRow.id >= middle).order_by(AttemptRow.id)
        found, started_at_ms = session.execute(row.limit(1)).one()
        if started_at_ms < at_ms:
            lowest = found + 1
        else:
            highest = middle
    return lowest
