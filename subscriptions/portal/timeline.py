"""Attempts on a timeline, where each one stands in a drawing, and bars of many. Pure.

From left to right by start, from bottom to top by duration, which has a logarithmic scale. Each kind is one path, so
that a drawing of some hundred attempts has a few kilobytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import log10
from typing import Final

from hookstream.subscriptions.api.bodies import TrendFields
from hookstream.subscriptions.api.delivery_bodies import AttemptFields

WIDTH: Final = 960
HEIGHT: Final = 170
_LEFT: Final = 52
_RIGHT: Final = 12
_TOP: Final = 10
_BOTTOM: Final = 26
_SHORTEST_MS: Final = 1.0
_LONGEST_MS: Final = 60_000.0
_SCALE: Final = ((10.0, "10 ms"), (100.0, "100 ms"), (1_000.0, "1 s"), (10_000.0, "10 s"))
_STEPS_S: Final = (1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 86_400, 7 * 86_400)
_MOST_TICKS: Final = 7
_MARK: Final = 3.5  # half of a cross
TREND_HEIGHT: Final = 84
_TREND_BOTTOM: Final = 18
_HALF_HOUR_MS: Final = 1_800_000
_DAY_S: Final = 86_400
_LAST_S: Final = 253_402_300_799  # the end of the year 9999, and of Python's calendar


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of a scale, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A drawing of attempts, in units of its own. `delivered` and `failed` are data of paths."""

    from_ms: int
    to_ms: int
    delivered: str
    failed: str
    delivered_count: int
    failed_count: int
    times: Sequence[Tick]
    durations: Sequence[Tick]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    bottom: int = HEIGHT - _BOTTOM


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Bars of steps, in units of their own: failed ones stand on delivered ones."""

    delivered: str
    failed: str
    delivered_count: int
    failed_count: int
    highest: int
    times: Sequence[Tick]
    width: int = WIDTH
    height: int = TREND_HEIGHT


def draw_trend(steps: Sequence[TrendFields]) -> Trend | None:
    """Draw steps of one length; None where there was no attempt."""
    highest = max((each.delivered + each.failed for each in steps), default=0)
    if not highest:
        return None
    wide, high, ground = WIDTH / len(steps), TREND_HEIGHT - _TREND_BOTTOM - 2, TREND_HEIGHT - _TREND_BOTTOM
    delivered, failed, times = [], [], []
    for number, each in enumerate(steps):
        x, below = number * wide + 1, each.delivered / highest * high
        if each.delivered:
            delivered.append(f"M{x:.1f} {ground}h{wide - 2:.1f}v-{below:.1f}h-{wide - 2:.1f}z")
        if each.failed:
            above = max(each.failed / highest * high, 1.5)
            failed.append(f"M{x:.1f} {ground - below:.1f}h{wide - 2:.1f}v-{above:.1f}h-{wide - 2:.1f}z")
        if each.at_ms % _HALF_HOUR_MS == 0:
            times.append(Tick(round(x, 1), _label(each.at_ms, 60)))
    return Trend(
        delivered="".join(delivered),
        failed="".join(failed),
        delivered_count=sum(each.delivered for each in steps),
        failed_count=sum(each.failed for each in steps),
        highest=highest,
        times=times,
    )


def draw(attempts: Sequence[AttemptFields]) -> Timeline | None:
    """Place attempts; None where there are none."""
    if not attempts:
        return None
    from_ms = min(each.started_at_ms for each in attempts)
    to_ms = max(*(each.started_at_ms for each in attempts), from_ms + 1000)
    delivered, failed = [], []
    for each in attempts:
        x = _x(each.started_at_ms, from_ms, to_ms)
        y = _y(each.duration_ms)
        if each.outcome == "delivered":
            delivered.append(f"M{x:.1f} {y:.1f}h0")
        else:
            failed.append(_cross(x, y))
    return Timeline(
        from_ms=from_ms,
        to_ms=to_ms,
        delivered="".join(delivered),
        failed="".join(failed),
        delivered_count=len(delivered),
        failed_count=len(failed),
        times=_times(from_ms, to_ms),
        durations=[Tick(round(_y(ms), 1), label) for ms, label in _SCALE],
    )


def _cross(x: float, y: float) -> str:
    side = 2 * _MARK
    return f"M{x - _MARK:.1f} {y - _MARK:.1f}l{side} {side}m0-{side}l-{side} {side}"


def _x(at_ms: float, from_ms: int, to_ms: int) -> float:
    return _LEFT + (at_ms - from_ms) / (to_ms - from_ms) * (WIDTH - _LEFT - _RIGHT)


def _y(duration_ms: float) -> float:
    within = min(max(duration_ms, _SHORTEST_MS), _LONGEST_MS)
    share = log10(within / _SHORTEST_MS) / log10(_LONGEST_MS / _SHORTEST_MS)
    return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def _times(from_ms: int, to_ms: int) -> list[Tick]:
    """Round times of day, or dates where the drawing spans days, seven at most."""
    span_s = (to_ms - from_ms) / 1000
    step_s = next((step for step in _STEPS_S if span_s / step <= _MOST_TICKS), int(span_s / _MOST_TICKS) + 1)
    first = -(-from_ms // (step_s * 1000)) * step_s * 1000
    return [
        Tick(round(_x(at_ms, from_ms, to_ms), 1), _label(at_ms, step_s)) for at_ms in range(first, to_ms, step_s * 1000)
    ]


def _label(at_ms: int, step_s: int) -> str:
    if step_s >= _DAY_S:
        return datetime.fromtimestamp(min(at_ms // 1000, _LAST_S), UTC).strftime("%d %b")
    seconds = at_ms // 1000 % _DAY_S
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}"
    return text if step_s >= 60 else f"{text}:{seconds % 60:02}"  # noqa: PLR2004  # a minute
