"""What happened in the simulated world, as far as the judge (`engine_judge`) has to know it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.engine_model import BREAKER_AFTER, BREAKER_IN_A_ROW, BUSY, GONE, LIVE, OK, PROBE_FIRST, REJECT

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.model import Endpoint, Pending, Post
    from hookstream.schemas.delivery import Delivery
    from hookstream.schemas.hook import Hook
    from tests.support.engine_model import Flight, Owner
    from tests.support.engine_world import World


@dataclass(eq=False)
class Failures:
    """What an endpoint has answered one owner since its last 2xx, and the probes of the quarantine that it deserves.

    `endpoint` is the engine's own, which it makes again after it has forgotten it.
    """

    resources: set[str] = field(default_factory=set)
    count: int = 0
    since: int = 0
    last: int = 0
    down: bool = False
    probes: int = 0
    probe_due: float = 0.0
    endpoint: Endpoint | None = None

    def fail(self, resource: str, now: int) -> None:
        """Count a failure."""
        self.since = self.since if self.count else now
        self.last = now
        self.count += 1
        self.resources.add(resource)

    def answered(self, now: int, *, probe: bool, pauses: tuple[float, ...]) -> None:
        """After a failed probe of a quarantine that is deserved, the next may not come sooner than this."""
        if self.down and probe:
            self.probes += 1
            self.probe_due = now + pauses[min(self.probes, len(pauses) - 1)]

    def is_endpoint_down(self, *, alone: bool) -> bool:
        """Whether an endpoint that answers so is down: nothing but failure for a while, or often enough."""
        lasting = self.count >= 2 and self.last - self.since >= BREAKER_AFTER
        return (len(self.resources) >= 2 or alone) and (lasting or self.count >= BREAKER_IN_A_ROW)

    def quarantine(self, now: int) -> None:
        """Expect probes only from here on."""
        if not self.down:
            self.down, self.probes, self.probe_due = True, 0, now + PROBE_FIRST


class History:
    """What receivers, owners and operators of a world did."""

    def __init__(self, world: World) -> None:
        """Begin before anything happened."""
        self.world = world
        # what receivers got
        self.received: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        self.first: dict[str, int] = {}
        self.last: dict[tuple[Any, ...], int] = {}
        self.sent_at: dict[Any, list[int]] = defaultdict(list)
        # what endpoints answered, by (owner, endpoint) where it is an owner's knowledge
        self.failing: dict[Any, Failures] = defaultdict(Failures)
        self.quiet: dict[Any, float] = {}
        self.gone: dict[Any, int] = {}
        self.gone_under: set[tuple[int, int]] = set()
        self.lane_failures: Counter[tuple[int, str]] = Counter()
        self.lanes_rejected: set[tuple[int, str]] = set()  # whose last failure may have been of the short schedule
        self.only_failure_since: dict[tuple[str, str], int] = {}
        self.first_failure: dict[tuple[str, str], int] = {}
        self.answered: tuple[set[int], set[int]] = (set(), set())  # 2xx, to owners since the last that was killed
        # refusals to requests under the target of today, and those that the owner of the time has heard
        self.refusals: tuple[set[int], set[int]] = (set(), set())
        self.refusals_heard: set[tuple[int, int, int]] = set()
        self.good_since: dict[Any, dict[tuple[int, int], int]] = defaultdict(dict)
        # what excuses a record from being delivered, or from its order
        self.disturbed: set[int] = set()
        self.deleted: set[int] = set()
        self.skipped_before: Counter[int] = Counter()
        self.lost: tuple[set[int], set[int]] = (set(), set())  # to retention
        self.floor = [0, 0]  # below it all is settled

    # -- what happened -------------------------------------------------------------------------------------------
    def row_published(self, row: Hook) -> None:
        """A changed row starts the five days afresh."""
        for target in "xy":
            self.only_failure_since.pop((row.client, target), None)

    def retry_asked(self, key: tuple[int, tuple[str, str]]) -> None:
        """An operator lets an endpoint be tried at once."""
        self.failing[key].probe_due = 0.0
        self.quiet.pop(key, None)

    def forget_answers(self) -> None:
        """What an owner heard and did not commit is heard again by the next."""
        for answered in self.answered:
            answered.clear()

    def answer_heard(self, flight: Flight, result: str) -> None:
        """Note an answer, before the engine is told."""
        post, owner, now = flight.post, flight.owner, self.world.now
        pending = post.pending
        lane, key = (pending.delivery.hook_id, pending.resource), (owner.serial, flight.endpoint)
        answered = result == OK or (flight.refuses and result not in {GONE, BUSY})  # as one that is up answers
        if flight.refuses:
            self._refused(flight)
        if result == OK:
            self.failing[key] = Failures()
            if owner is self.world.owner:
                self.answered[pending.stream].add(pending.offset)
            if pending.stream == LIVE:
                self.lane_failures[lane] = 0
        elif result == BUSY:
            self.quiet[key] = max(self.quiet.get(key, 0), now + busy_wait(pending))
        elif result == GONE:
            self._gone(owner, post)
        elif answered:
            self.failing[key] = Failures()
        else:
            self.failing[key].fail(pending.resource, now)
            if pending.stream == LIVE:
                self.lane_failures[lane] += not post.probe
                (self.lanes_rejected.add if result == REJECT else self.lanes_rejected.discard)(lane)
        if owner is self.world.owner and result != GONE:
            self._clock(flight.endpoint, answered=answered)
        self.failing[key].answered(now, probe=post.probe, pauses=self.world.probe_pauses)
        self.failing[key].endpoint = post.endpoint

    def made_again(self, owner: Owner, post: Post, where: tuple[str, str]) -> None:
        """An endpoint in no quarantine that no hook needed was forgotten, and begins anew with its failures."""
        failures = self.failing[owner.serial, where]
        if failures.endpoint not in (None, post.endpoint) and not failures.down:
            self.failing[owner.serial, where] = Failures(endpoint=post.endpoint)

    def _clock(self, endpoint: tuple[str, str], *, answered: bool) -> None:
        """Let the five days of an endpoint run, or stop them."""
        for clock in (self.first_failure, self.only_failure_since):
            if answered:
                clock.pop(endpoint, None)
            else:
                clock.setdefault(endpoint, self.world.now)

    def _refused(self, flight: Flight) -> None:
        """Note a refusal, but for one of a target that the hook does not have any more: another may take it."""
        pending, owner = flight.post.pending, flight.owner
        record = pending.delivery
        row = owner.table.get(record.client, record.event)
        if row is not None and (row.id, row.target) == (record.hook_id, flight.endpoint[1]):
            self.refusals[pending.stream].add(pending.offset)
            self.refusals_heard.add((owner.serial, pending.stream, pending.offset))

    def _gone(self, owner: Owner, post: Post) -> None:
        record = post.pending.delivery
        row = owner.table.get(record.client, record.event)
        self.disturbed.add(record.hook_id)
        self.gone_under.add((record.hook_id, post.row.revision))
        if row is not None and row.revision == post.row.revision:
            self.gone[owner.serial, record.hook_id] = post.row.revision

    # -- what is settled -----------------------------------------------------------------------------------------
    def excused(self, stream: int, record: Delivery) -> bool:
        """Whether a record need not be delivered: its hook is deleted, or its owner skipped it."""
        skipped = stream == LIVE and record.arrived_ms < self.skipped_before[record.hook_id]
        return record.hook_id in self.deleted or skipped

    def is_settled(self, stream: int, offset: int) -> bool:
        """Whether nothing has to happen to an offset any more."""
        record = self.world.logs[stream][offset]
        return (
            record is None
            or offset in self.received[stream]
            or offset in self.world.dead[stream]
            or offset in self.lost[stream]
            or self.excused(stream, record)
        )


def busy_wait(pending: Pending) -> int:
    """Return the seconds of an endpoint's Retry-After: a short one or a long one."""
    return 10 if pending.offset % 2 else 60
