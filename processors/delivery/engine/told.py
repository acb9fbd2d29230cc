"""What was told of one endpoint, and what is still to be told: the state behind its notices, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from hookstream.schemas.notices import Notice


@dataclass(slots=True)
class DeadLetterCount:
    """Dead letters of one endpoint that were not told yet. `cause` names the first of them, by its place in the log."""

    cause: str
    delivery_id: str
    at_ms: int
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many."""
        return sum(self.reasons.values())

    def add(self, reason: str, count: int = 1) -> None:
        """Count more of them."""
        self.reasons[reason] = self.reasons.get(reason, 0) + count

    def merged(self, later: DeadLetterCount | None) -> DeadLetterCount:
        """This and what was counted after it, under the cause of this one."""
        made = DeadLetterCount(self.cause, self.delivery_id, self.at_ms, dict(self.reasons))
        for reason, count in (later.reasons if later is not None else {}).items():
            made.add(reason, count)
        return made


class Told:
    """Of one endpoint. Times are Unix milliseconds, 0 for none.

    `quarantined_ms`: when the present quarantine began. `told_ms`: the quarantine that Kafka has acknowledged a notice
    of, until it has acknowledged the one of its end; so the end is to be told while both differ. `ended_ms`: when it
    ended. `dead`: what is to be told of dead letters, `telling`: what the unacknowledged notice says of them;
    `dead_told_ms`: when the last such notice was made. `expiring_ms`: since when the oldest delivery is pending, if it
    is about to expire; `expiring_told_ms`: the one that was told. `unacknowledged` is the notice on its way, one at a
    time. `perhaps_told_ms`: a quarantine that an earlier owner, or a notice that Kafka refused, may have told. `hook`
    is a hook of the endpoint, by which the next owner of the partition finds it again.
    """

    __slots__ = (
        "dead",
        "dead_told_ms",
        "ended_ms",
        "expiring_ms",
        "expiring_told_ms",
        "hook",
        "perhaps_told_ms",
        "quarantined_ms",
        "telling",
        "told_ms",
        "unacknowledged",
    )

    def __init__(self) -> None:
        """Nothing was told, and nothing is to be told."""
        self.quarantined_ms = self.perhaps_told_ms = self.told_ms = self.ended_ms = 0
        self.dead: DeadLetterCount | None = None
        self.telling: DeadLetterCount | None = None
        self.dead_told_ms = 0
        self.expiring_ms = self.expiring_told_ms = 0
        self.unacknowledged: Notice | None = None
        self.hook: tuple[int, str, str] | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to remember."""
        return not (
            self.quarantined_ms
            or self.perhaps_told_ms
            or self.told_ms
            or self.dead
            or self.telling
            or self.dead_told_ms
            or self.expiring_told_ms
            or self.unacknowledged
        )

    @property
    def dead_untold(self) -> DeadLetterCount | None:
        """Every dead letter of which no notice is acknowledged."""
        return self.dead if self.telling is None else self.telling.merged(self.dead)
