"""A history, indexed: what was asked, what arrived, and when something was disturbed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from tests.nemesis.history import (
    Acknowledged,
    Action,
    Answered,
    Asked,
    Commit,
    DeadLettered,
    Ended,
    Entry,
    Fault,
    Finished,
    Healed,
    HookMade,
    Request,
    Run,
    Stalled,
    State,
    Unknown,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

HARNESS = "harness"
PING = "ping-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is promised, where nothing else is said in seconds of undisturbed time.

    - `effect_s`: how long after an operator's command, and after the last fault, requests may ignore it.
    - `after_s`: how long after the end of a fault it may still explain something: sessions end, groups settle,
      what was not committed is sent again.
    - `window_s`, `jitter_s`: rates are judged over each window of that length, with that much bunching.
    - `signed_s`: how old a signature may be; receivers are told to refuse older ones.
    - `window_records`: how far a worker's committed offset may move down.
    """

    effect_s: float = 10.0
    after_s: float = 20.0
    window_s: float = 10.0
    jitter_s: float = 1.0
    signed_s: float = 300.0
    window_records: int = 10_000


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, at a time of the run."""

    kind: str
    t: float
    what: str


@dataclass(frozen=True, slots=True)
class Period:
    """A time in which something was broken; `on` is what was struck."""

    begins: float
    ends: float
    kind: str
    on: str


class Timeline:
    """When what was disturbed."""

    def __init__(self, periods: Iterable[Period], bounds: Bounds) -> None:
        """Order the periods."""
        self.periods = sorted(periods, key=lambda period: period.begins)
        self._bounds = bounds

    def between(self, begin: float, end: float, on: Collection[str] = ()) -> list[Period]:
        """Periods that may explain what happened between two times, on parts whose names begin with one of `on`."""
        return [
            period
            for period in self.periods
            if period.begins <= end
            and period.ends + self._bounds.after_s >= begin
            and (not on or period.on == HARNESS or period.on.startswith(tuple(on)))
        ]

    def effective(self, at: float) -> float:
        """When a command that was acknowledged then must be followed: after a bound without any disturbance."""
        quiet_from = at
        for period in self.periods:
            if period.begins > quiet_from + self._bounds.effect_s:
                break
            quiet_from = max(quiet_from, period.ends)
        return quiet_from + self._bounds.effect_s


@dataclass
class Story:
    """Everything that the rules ask for."""

    bounds: Bounds
    timeline: Timeline
    run: Run | None = None
    hooks: dict[int, HookMade] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)
    answers: dict[int, Answered] = field(default_factory=dict)
    of_delivery: dict[str, list[Request]] = field(default_factory=lambda: defaultdict(list))
    actions: list[Action] = field(default_factory=list)
    dead: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    states: dict[str, str] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    finished: bool = False

    def accepted(self, request: Request) -> bool:
        """Whether the endpoint answered 2xx."""
        answer = self.answers.get(request.request)
        return answer is not None and 200 <= answer.status < 300

    def _refused(self, request: Request) -> bool:
        answer = self.answers.get(request.request)
        return answer is not None and answer.refused

    def first_accepted(self, delivery: str) -> Request | None:
        """The first request of a delivery that was answered 2xx."""
        return next((each for each in self.of_delivery.get(delivery, ()) if self.accepted(each)), None)

    def resources(self) -> dict[tuple[int, int], list[Asked]]:
        """Deliveries that have to arrive in order, by hook and resource: acknowledged, and not dead-lettered.

        A run that did not come to its end has not read its dead letters: these are then what may be one.
        """
        found: dict[tuple[int, int], list[Asked]] = defaultdict(list)
        dead = set(self.dead)
        if not self.finished:
            dead |= {action.on for action in self.actions if action.what == "skip"}
            dead |= {request.delivery for request in self.requests if self._refused(request)}
        for asked in self.asked.values():
            if asked.delivery in self.acknowledged and asked.delivery not in dead:
                found[asked.hook, asked.concept].append(asked)
        for each in found.values():
            each.sort(key=lambda asked: asked.number)
        return found


def tell(entries: Iterable[Entry], bounds: Bounds | None = None) -> Story:
    """Index a history."""
    found: dict[type[Entry], list[Any]] = defaultdict(list)
    for entry in entries:
        found[type(entry)].append(entry)
    bounds = bounds or Bounds()
    story = Story(
        bounds,
        Timeline(_periods(found), bounds),
        run=next(iter(found[Run]), None),
        hooks={each.hook: each for each in found[HookMade]},
        asked={each.delivery: each for each in found[Asked]},
        acknowledged={each.delivery: each for each in found[Acknowledged]},
        unknown={each.delivery for each in found[Unknown]},
        requests=found[Request],
        answers={each.request: each for each in found[Answered]},
        actions=found[Action],
        states={each.delivery: each.state for each in found[State]},
        commits=found[Commit],
        ended=found[Ended],
        faults=found[Fault],
        finished=bool(found[Finished]),
    )
    for request in story.requests:
        if not request.replay.startswith(PING):
            story.of_delivery[request.delivery].append(request)
    for dead in found[DeadLettered]:
        story.dead[dead.delivery].append(dead.reason)
    return story


def _periods(found: dict[type[Entry], list[Any]]) -> list[Period]:
    healed = {each.fault: each.t for each in found[Healed]}
    periods = [Period(each.t, healed.get(each.fault, inf), each.kind, each.on) for each in found[Fault]]
    return periods + [Period(each.t - each.seconds, each.t, "stall", HARNESS) for each in found[Stalled]]
