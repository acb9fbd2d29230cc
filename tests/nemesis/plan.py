"""What is broken when, and what operators do when: a function of the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROLES = ("router-1", "router-2", "deliver-1", "deliver-2", "api-1", "replayer-1", "attempt-log-1", "outbox-relay-1")
CLOCKS = ("router-2", "deliver-2", "api-1", "replayer-1")
"""Roles whose wall clock can be moved."""
NETWORKS = ("net-router", "net-deliver", "net-others")
BROKERS = ("broker-1", "broker-2", "broker-3")

FIRST_AT_S = 10.0
_SHORT_S = (2.0, 6.0)
_LONG_S = (8.0, 25.0)  # longer than a session of a group
_PAUSE_S = (8.0, 30.0)
_TWO_AT_ONCE = 0.2


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: from `at`, for `lasts` seconds; `kind` says how, `on` what."""

    at: float
    kind: str
    on: str
    lasts: float


@dataclass(frozen=True, slots=True)
class Command:
    """What an operator does at a time; `pick` chooses the endpoint or hook, `share` what else there is to choose."""

    at: float
    what: str
    pick: int
    share: float


def deck() -> list[tuple[str, str]]:
    """Every fault that there is: kind, and what it strikes. Workers and routers come more than once."""
    workers = ("deliver-1", "deliver-2", "router-1", "router-2")
    cards = [("kill", role) for role in (*ROLES, *workers)]
    cards += [("suspend", role) for role in (*ROLES, *workers)]
    cards += [("restart", role) for role in workers]
    cards += [("join", "deliver-3"), ("join", "router-3")]
    cards += [(kind, net) for net in NETWORKS for kind in ("cut", "blackhole", "slow")]
    cards += [(kind, "endpoints") for kind in ("cut", "blackhole", "slow")]
    cards += [("cut-node", net) for net in NETWORKS]
    cards += [(kind, broker) for broker in BROKERS for kind in ("kill", "suspend")]
    cards += [("full-disk", BROKERS[0]), ("restart", BROKERS[1]), ("topic", "topic-attempts")]
    cards += [("kill", "database"), ("restart", "database"), ("kill", "registry"), ("suspend", "registry")]
    cards += [(f"clock{sign}", role) for role in CLOCKS for sign in "+-"]
    return cards


def faults(seed: int, minutes: float) -> Iterator[Step]:
    """Every fault of a run, in order; all of the deck before any of them again."""
    random = Random(f"faults {seed}")  # noqa: S311 - no secret
    ends, at = minutes * 60, FIRST_AT_S
    cards: list[tuple[str, str]] = []
    while at < ends:
        together = 2 if random.random() < _TWO_AT_ONCE else 1
        longest = 0.0
        for _ in range(together):
            if not cards:
                cards = deck()
                random.shuffle(cards)
            kind, on = cards.pop()
            lasts = round(random.uniform(*random.choice((_SHORT_S, _LONG_S))), 1)
            longest = max(longest, lasts)
            yield Step(round(at, 1), kind, on, lasts)
        at += longest + random.uniform(*_PAUSE_S)


COMMANDS = ("pause", "disable", "rate", "rotate", "skip", "retry", "replay", "resend")


def commands(seed: int, minutes: float) -> Iterator[Command]:
    """What operators do, every ten seconds or so. A pause and its like are ended by the operators themselves."""
    random = Random(f"commands {seed}")  # noqa: S311 - no secret
    at = FIRST_AT_S / 2
    kinds: list[str] = []
    while at < minutes * 60:
        if not kinds:
            kinds = list(COMMANDS)
            random.shuffle(kinds)
        yield Command(round(at, 1), kinds.pop(), random.randrange(1_000_000), random.random())
        at += random.uniform(5.0, 15.0)


def told(steps: Sequence[Step]) -> list[str]:
    """The plan, a line each."""
    return [f"{step.at:8.1f} s  {step.kind} {step.on} for {step.lasts:g} s" for step in steps]
