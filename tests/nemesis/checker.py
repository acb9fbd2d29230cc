"""The verdict on a history."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.nemesis import delivery_rules, deployment_rules, request_rules
from tests.nemesis.story import Bounds, Violation, tell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.nemesis.history import Entry

RULES = (
    delivery_rules.lost,
    delivery_rules.out_of_order,
    delivery_rules.overtaken,
    delivery_rules.repeated,
    delivery_rules.two_at_once,
    request_rules.wrongly_signed,
    request_rules.misdirected,
    deployment_rules.ignored_pause,
    deployment_rules.too_fast,
    deployment_rules.went_back,
    deployment_rules.roles_ended,
)
_MOST_OF_A_KIND = 20


@dataclass
class Verdict:
    """What a history shows. `pending`: acknowledged, not arrived, and shown as pending by the API at the end."""

    events: int
    deliveries: int
    requests: int
    pending: int
    unknown: int
    dead_letters: int
    finished: bool
    duplicates: int = 0
    explained_by: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    @property
    def by_kind(self) -> Counter[str]:
        """How many violations of each kind."""
        return Counter(violation.kind for violation in self.violations)

    def figures(self) -> dict[str, Any]:
        """The same for a line of the ledger."""
        return {
            "finished": self.finished,
            "events": self.events,
            "deliveries": self.deliveries,
            "requests": self.requests,
            "pending": self.pending,
            "unknown": self.unknown,
            "dead_letters": self.dead_letters,
            "duplicates": self.duplicates,
            "duplicates_beside": dict(self.explained_by.most_common()),
            "faults": dict(sorted(self.faults.items())),
            "actions": dict(sorted(self.actions.items())),
            "violations": dict(self.by_kind.most_common()),
        }

    def lines(self) -> list[str]:
        """The same for people."""
        told = [
            f"{self.events:,} events acknowledged, {self.deliveries:,} delivered, {self.requests:,} requests",
            f"{self.dead_letters:,} dead letters, {self.pending:,} pending, {self.unknown:,} not acknowledged",
            f"{self.duplicates:,} duplicates, {self.by_kind['duplicate']:,} of them not explained by a fault",
            "faults: " + (", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items())) or "none"),
            "actions: " + (", ".join(f"{count} {kind}" for kind, count in sorted(self.actions.items())) or "none"),
        ]
        if not self.finished:
            told.append("the run did not come to its end: what was lost is not judged")
        for kind, count in self.by_kind.most_common():
            told.append(f"VIOLATION {kind}: {count:,}")
            of_kind = [violation for violation in self.violations if violation.kind == kind]
            told += [f"  {violation.t:9.3f} s  {violation.what}" for violation in of_kind[:_MOST_OF_A_KIND]]
        told.append("no violation" if not self.violations else f"{len(self.violations):,} violations")
        return told


def check(entries: Iterable[Entry], bounds: Bounds | None = None) -> Verdict:
    """Judge a history by every rule."""
    story = tell(entries, bounds)
    arrived = {delivery for delivery in story.acknowledged if story.first_accepted(delivery) is not None}
    verdict = Verdict(
        events=len(story.acknowledged),
        deliveries=len(arrived),
        requests=len(story.requests),
        pending=sum(1 for each in story.acknowledged if each not in arrived and story.states.get(each) == "owed"),
        unknown=len(story.unknown),
        dead_letters=sum(len(reasons) for reasons in story.dead.values()),
        finished=story.finished,
    )
    for _, causes in delivery_rules.duplicates(story):
        verdict.duplicates += 1
        verdict.explained_by[causes[0] if causes else "nothing"] += 1
    verdict.faults.update(f"{fault.kind} {fault.on.rpartition('-')[0] or fault.on}" for fault in story.faults)
    verdict.actions.update(action.what for action in story.actions if action.ok)
    verdict.violations = sorted(
        (violation for rule in RULES for violation in rule(story)), key=lambda violation: violation.t
    )
    return verdict
