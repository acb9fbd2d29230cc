"""What a benchmark found: figures with their bars, as one line of JSON and one line for people. No I/O."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

_SMALL = 10
_Round = TypeVar("_Round")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. `at_most` and `at_least` are bars; a figure without one is only told."""

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether it is within its bars; None where there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    def text(self) -> str:
        """For people: `p99 4.2 ms (≤ 10: ok)`."""
        shown = f"{self.name} {number(self.value)}{self.unit and ' '}{self.unit}"
        if self.met is None:
            return shown
        bars = [f"{sign} {number(bar)}" for sign, bar in (("≥", self.at_least), ("≤", self.at_most)) if bar is not None]
        return f"{shown} ({', '.join(bars)}: {'ok' if self.met else 'MISS'})"

    def data(self) -> dict[str, float | str | bool]:
        """For machines; what does not apply is left out."""
        fields: dict[str, float | str | bool | None] = {
            "value": round(self.value, 3),
            "unit": self.unit,
            "at_most": None if self.at_most is None else round(self.at_most, 3),
            "at_least": self.at_least,
            "met": self.met,
        }
        return {name: value for name, value in fields.items() if value is not None and value != ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that one run of one benchmark says. `setting`: what it was run with, and on what."""

    benchmark: str
    figures: Sequence[Figure]
    setting: Mapping[str, object] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    @property
    def met(self) -> bool:
        """Whether no bar was missed."""
        return all(figure.met is not False for figure in self.figures)

    def json_line(self) -> str:
        """One line of JSON."""
        return json.dumps(
            {
                "benchmark": self.benchmark,
                "met": self.met,
                "figures": {figure.name: figure.data() for figure in self.figures},
                "setting": dict(self.setting),
                "remarks": list(self.remarks),
            },
            ensure_ascii=False,
        )

    def line(self) -> str:
        """One line for people."""
        shown = "; ".join([*(figure.text() for figure in self.figures), *self.remarks])
        return f"{self.benchmark}: {'ok' if self.met else 'MISS'}: {shown}"


def number(value: float) -> str:
    """A number as people read it: thousands apart, and digits after the point only where they say something."""
    if value == int(value):
        return f"{value:,.0f}"
    if abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:,.1f}" if abs(value) < _SMALL**3 else f"{value:,.0f}"


def median_of(rounds: Sequence[_Round], value: Callable[[_Round], float]) -> float:
    """The median of one number over rounds."""
    return float(statistics.median(value(each) for each in rounds))


def allowed_p99_ms(healthy_p99_ms: float, *, factor: float = 1.5, slack_ms: float = 5.0) -> float:
    """What the bystanders' p99 may be during a fault: `factor` times the healthy one, or `slack_ms` more."""
    return max(factor * healthy_p99_ms, healthy_p99_ms + slack_ms)


def of_peer(name: str, found: Sequence[Figure]) -> list[Figure]:
    """A peer's figures: under its name, and without bars, which are ours alone."""
    return [replace(each, name=f"{name}{each.name}", at_most=None, at_least=None) for each in found]


def ratios(own: Sequence[Figure], theirs: Sequence[Figure], names: Sequence[str]) -> list[Figure]:
    """How many times ours a peer's figures are, of those named, in this order; none where one of both is 0."""
    ours, peers = ({figure.name: figure.value for figure in each} for each in (own, theirs))
    return [
        Figure(name=f"{name} ratio", value=peers[name] / ours[name], unit="x")
        for name in names
        if ours[name] and peers[name]
    ]
