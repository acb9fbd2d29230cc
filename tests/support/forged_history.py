"""Histories that no run has made: valid ones, whose every entry a test may change."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from tests.nemesis.history import (
    Acknowledged,
    Action,
    Answered,
    Asked,
    Entry,
    Fault,
    Finished,
    Healed,
    HookMade,
    Request,
    Run,
)
from tests.nemesis.request_rules import body_of
from tests.nemesis.signatures import sign

WALL_S = 1_790_000_000.0
SECRETS = tuple("whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in range(1, 4))


@dataclass
class Forged:
    """Builds a history of some hooks; times are given, entries are ordered by them at the end."""

    entries: list[Entry] = field(default_factory=list)
    numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    requests: int = 0
    faults: int = 0

    def __post_init__(self) -> None:
        self.entries.append(Run(0.0, 1, 1.0, "abc", WALL_S))

    def hook(self, number: int = 1, *, rate: float | None = None) -> HookMade:
        """A hook that is effective from the start."""
        made = HookMade(0.0, number, number, "lead.new", f"/{number}", f"{number}-e", SECRETS[0], rate)
        self.entries.append(made)
        return made

    def event(self, hook: HookMade, at: float, *, concept: int = 1, by: str = "producer") -> Asked:
        """The next event of a resource, acknowledged at once."""
        key = (hook.hook, concept)
        number = self.numbers[key] = self.numbers.get(key, 0) + 1
        asked = Asked(at, f"msg_{hook.hook}_{concept}_{number}", hook.hook, concept, number, by)
        self.entries += [asked, Acknowledged(at, asked.delivery, "events.lead", hook.hook, concept * 1000 + number)]
        return asked

    def arrives(  # noqa: PLR0913 - what may differ from a plain delivery
        self,
        hook: HookMade,
        asked: Asked,
        at: float,
        *,
        status: int = 204,
        takes: float = 0.01,
        replay: str = "",
        secrets: tuple[str, ...] | None = None,
        refused: bool = False,
    ) -> Request:
        """A request of it, answered."""
        self.requests += 1
        body, signed_at_s = body_of(hook.event, hook.client, asked.concept), int(WALL_S + at)
        signatures = " ".join(sign(each, asked.delivery, signed_at_s, body) for each in secrets or (hook.secret,))
        request = Request(
            t=at,
            request=self.requests,
            path=hook.path,
            delivery=asked.delivery,
            hook=hook.hook,
            attempt=1,
            sequence=f"events.lead:{hook.hook}:{asked.concept * 1000 + asked.number}",
            replay=replay,
            signed_at_s=signed_at_s,
            signatures=signatures,
            body=body,
        )
        self.entries += [request, Answered(at + takes, self.requests, status, refused)]
        return request

    def fault(self, begins: float, ends: float, kind: str = "kill", on: str = "deliver-1") -> None:
        """A fault and its end."""
        self.faults += 1
        self.entries += [Fault(begins, self.faults, kind, on), Healed(ends, self.faults)]

    def action(self, what: str, on: str, at: float, *, value: str = "", ok: bool = True) -> None:
        """What an operator asked for."""
        self.entries.append(Action(at, at, what, on, ok, value))

    def history(self) -> list[Entry]:
        """All of it, in order, finished."""
        ordered = sorted(self.entries, key=lambda entry: entry.t)
        return [*ordered, Finished(ordered[-1].t + 1)]
