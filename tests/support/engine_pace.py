"""Endpoints at the pace of a deployment, in simulated time: failing now and then, always, or for a while, or slow.

`engine_world` judges what may follow what, at a second a step. This one judges how much a receiver gets and how soon,
with the numbers of `EnginePolicy` as they are shipped. Only clock, log and receiver are simulated; every run is a
function of its seed, and all that is counted is simulated, so the same figures come out on any machine.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hookstream.processors.delivery.engine.model import Post
from hookstream.schemas.control import EndpointSettings, SkippedDelivery, target_digest
from hookstream.schemas.delivery import DeadLetterReason, Delivery, DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, Revision
from tests.support.engine_model import LIVE, WALL_MS, Kit, ViolationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hookstream.processors.delivery.engine.model import Pending, TrackedHook
    from hookstream.schemas.hook import NoticeKind
    from hookstream.schemas.notices import Notice

EVENT = EventName("lead.new")
_READ_EVERY_S = 0.02  # a stretch of the log, while there are cursors
_READ_RECORDS = 500
_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is published, and how the receiver answers.

    `fails` is the share of 500s at a moment, in seconds. `hot` is the share of records that are of resource 0; what is
    published of it from `poison_from_s` on fails whenever it is sent. `arrivals` are the moments and resources of
    single records, instead of a rate. `settled` are offsets that an earlier owner delivered, as its commit says.
    Kafka takes `dead_letter_s` to acknowledge a dead letter, at least until the turn is over. `skipped` is an offset
    that an operator skips, and when. `clients` take turns, each with a hook and an endpoint of its own. A window of
    `window_records` is soon full.
    """

    rate_per_s: float = 0.0
    fails: Callable[[float], float]
    publish_s: float = 30.0
    resources: int = 500
    latency_s: float = 0.005
    hot: float = 0.0
    poison_from_s: float = math.inf
    arrivals: tuple[tuple[float, int], ...] = ()
    settled: frozenset[int] = frozenset()
    expire_after_s: float | None = None
    dead_letter_s: float = 0.0
    skipped: tuple[int, float] = (-1, math.inf)
    clients: int = 1
    window_records: int | None = None

    def arrival(self, offset: int) -> float:
        """When a record is published, infinity for never."""
        if self.arrivals:
            return self.arrivals[offset][0] if offset < len(self.arrivals) else math.inf
        return offset / self.rate_per_s if offset < int(self.publish_s * self.rate_per_s) else math.inf


@dataclass(slots=True)
class Seen:
    """What was seen of one run; times are seconds from its start."""

    sent: list[float] = field(default_factory=list)
    published: list[float] = field(default_factory=list)
    delivered: dict[int, float] = field(default_factory=dict)  # by offset
    poisoned: set[int] = field(default_factory=set)  # offsets
    quarantines: list[float] = field(default_factory=list)

    def delivered_share(self, by_s: float) -> float:
        """How much of what was published by then was delivered by then."""
        published = sum(at <= by_s for at in self.published)
        return sum(at <= by_s for at in self.delivered.values()) / (published - len(self.poisoned))

    def p99_s(self) -> float:
        """Of what was delivered, from publishing to the receiver."""
        waited = sorted(at - self.published[offset] for offset, at in self.delivered.items())
        return waited[int((len(waited) - 1) * 0.99)]

    def sent_between(self, start_s: float, end_s: float) -> int:
        """How many requests the receiver got."""
        return sum(start_s <= at < end_s for at in self.sent)


class _Settings(dict[tuple[str, bytes], EndpointSettings]):
    """The settings of each endpoint, as the engine asks for them."""

    def get(self, client: str, digest: bytes) -> EndpointSettings | None:  # type: ignore[override]
        """Return those of one."""
        return super().get((client, digest))


class Pace:
    """One partition with a hook and an endpoint of each client, and a clock that jumps to whatever happens next."""

    def __init__(self, plan: Plan, seed: int, kit: Kit | None = None) -> None:
        """Start with an empty log at time 0."""
        self.plan, self.seen, self.random = plan, Seen(), random.Random(seed)  # noqa: S311 - repeatable by its seed
        self.log: list[Delivery] = []
        self.now = 0.0
        self._answers: list[tuple[float, int, Post, bool]] = []
        self._high: dict[str, int] = {}
        self._quarantined: set[str] = set()
        self._read_at = 0.0
        self._dead: deque[tuple[float, int, Pending]] = deque()  # and when each is acknowledged, in order
        self._kit = kit = kit or Kit()
        self._rows = {client: _hook(client) for client in range(1, plan.clients + 1)}
        self._settings = _Settings()
        policy = kit.policy.EnginePolicy()
        if plan.expire_after_s is not None:
            policy = replace(policy, expire_after_s=plan.expire_after_s)
        if plan.window_records is not None:
            policy = replace(policy, window_records=plan.window_records)
        self._dispatcher = kit.dispatcher.Dispatcher(policy)
        starts = [
            kit.engine.StreamStart(0, kit.tracker.SettledSet(0, bits), kit.partition_state.EMPTY_STATE)
            for bits in (self._settled(), b"")
        ]
        self.seen.delivered = dict.fromkeys(plan.settled, 0.0)
        self.engine: Any = kit.engine.Engine(
            policy=policy,
            table=self,
            dispatcher=self._dispatcher,
            effects=self,
            decode=lambda value: self.log[int(value)],
            random=self.random.random,
            starts=tuple(starts),
            now=0.0,
            wall_ms=WALL_MS,
            settings=self._settings,
        )

    def _settled(self) -> bytes:
        """What the restored commit says of the offsets from 0 on."""
        tracker = self._kit.tracker.OffsetTracker(0)
        for offset in range(max(self.plan.settled, default=-1) + 1):
            tracker.read(offset, settled=offset in self.plan.settled)
        bits: bytes = tracker.settled_above(None)[1]
        return bits

    def run(self, until_s: float) -> Seen:
        """Go on until a moment."""
        while self.now < until_s:
            self._turn()
            self.now = min(max(self._next(), self.now + 1e-6), until_s)
        return self.seen

    # -- what the engine asks for ------------------------------------------------------------------------------------

    def get(self, client: str, _event: str) -> Hook:
        """The one row of a client."""
        return self._rows[int(client)]

    def dead_letter(self, stream: int, pending: Pending, reason: DeadLetterReason) -> None:
        """Kafka acknowledges a dead letter later; nothing else than what is too old or skipped becomes one."""
        skipped = reason is DeadLetterReason.SKIPPED and pending.offset == self.plan.skipped[0]
        if reason is not DeadLetterReason.EXPIRED and not skipped:
            raise ViolationError(f"{pending.offset} dead-lettered: {reason}")
        self._dead.append((self.now + self.plan.dead_letter_s, stream, pending))

    def notify(self, hook: TrackedHook, _row: object, kind: NoticeKind) -> None:
        """Nothing here is disabled."""
        raise ViolationError(f"hook {hook.id} disabled: {kind}")

    def tell(self, notice: Notice) -> None:
        """What is expired is told; no answer of Kafka is needed here."""

    def stale(self, hook: TrackedHook) -> None:
        """The table is never behind."""
        raise ViolationError(f"hook {hook.id} is said to be unknown")

    # -- a turn ------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        engine = self.engine
        engine.advance(self.now, WALL_MS + int(self.now * 1000))
        while self._answers and self._answers[0][0] <= self.now:
            _, _, post, well = heapq.heappop(self._answers)
            self._answer(post, well=well)
        self._publish()
        if self.plan.skipped[1] <= self.now and not self._settings:
            self._skip()
        while (position := engine.views[LIVE].position) < len(self.log) and engine.room(LIVE) > 0:
            engine.read(LIVE, position, self.log[position], 150)
        self._read_for_cursors()
        engine.end_turn()
        while (post := self._dispatcher.next()) is not None:
            self._send(post)
        while self._dead and self._dead[0][0] <= self.now:
            _, stream, pending = self._dead.popleft()
            engine.dead_letter_acknowledged(stream, pending)

    def _next(self) -> float:
        """When something happens next."""
        due = self.engine.next_due()
        moments = [self.now + 3600.0 if due is None else due]
        if self._answers:
            moments.append(self._answers[0][0])
        if self._dead:
            moments.append(self._dead[0][0])
        moments.append(self.plan.arrival(len(self.log)))
        if not self._settings:
            moments.append(self.plan.skipped[1])
        if self.engine.views[LIVE].position < len(self.log):
            moments.append(self.now + _LOOK_AGAIN_S)
        if self.engine.has_cursors:
            moments.append(self._read_at)
        return min(moments)

    def _publish(self) -> None:
        plan = self.plan
        while plan.arrival(len(self.log)) <= self.now:
            offset = len(self.log)
            hot = self.random.random() < plan.hot
            concept = 0 if hot else self.random.randrange(1, plan.resources)
            if plan.arrivals:
                concept = plan.arrivals[offset][1]
            self.seen.published.append(self.now)
            if not concept and self.now >= plan.poison_from_s:
                self.seen.poisoned.add(offset)
            row = self._rows[1 + offset % plan.clients]
            self.log.append(
                Delivery(
                    id=DeliveryId(f"msg_{offset}"),
                    event=EVENT,
                    client=row.client,
                    concept_id=str(concept),
                    namespace="lead",
                    body=b"{}",
                    occurred_at_ms=0,
                    hook_id=row.id,
                    hook_revision=row.revision,
                    source_topic="events.lead",
                    source_partition=0,
                    source_offset=offset,
                    arrived_ms=WALL_MS + int(self.now * 1000),
                )
            )

    def _skip(self) -> None:
        """An operator skips one delivery."""
        row = self._rows[1]
        key = row.client, target_digest(row.target)
        skip = SkippedDelivery(
            delivery_id=self.log[self.plan.skipped[0]].id,
            at_ms=WALL_MS + int(self.now * 1000),
            asked_by="operator",
            reason="poison",
        )
        self._settings[key] = EndpointSettings(client=key[0], target_digest=key[1], skipped=(skip,))
        self.engine.settings_changed(*key)

    def _read_for_cursors(self) -> None:
        if self.now < self._read_at:
            return
        self._read_at = self.now + _READ_EVERY_S
        start = self.engine.plan(LIVE)
        if start is None:
            return
        end = min(len(self.log), start + _READ_RECORDS)
        record_type = self._kit.catch_up.BacklogRecord
        records = [record_type(offset, self.log[offset].key, b"%d" % offset) for offset in range(start, end)]
        self.engine.feed(LIVE, start, end, records)

    # -- the receiver ------------------------------------------------------------------------------------------------

    def _send(self, post: Post) -> None:
        if self._settings and post.pending.offset == self.plan.skipped[0]:
            raise ViolationError(f"I13 {post.pending.offset} is sent, though it was skipped")
        self.seen.sent.append(self.now)
        well = self.random.random() >= self.plan.fails(self.now) and post.pending.offset not in self.seen.poisoned
        if well:
            self._receive(post.pending)
        heapq.heappush(self._answers, (self.now + self.plan.latency_s, len(self.seen.sent), post, well))

    def _receive(self, pending: Pending) -> None:
        offset = pending.offset
        if offset in self.seen.delivered:
            raise ViolationError(f"I7 {offset} received twice")
        lane = f"{pending.delivery.client} {pending.resource}"
        if self._high.get(lane, -1) > offset:
            raise ViolationError(f"I2 {offset} after {self._high[lane]}")
        self._high[lane] = offset
        self.seen.delivered[offset] = self.now

    def _answer(self, post: Post, *, well: bool) -> None:
        kinds = self._kit.outcome
        self.engine.answer(post, kinds.DELIVERED if well else kinds.FAILED, self.plan.latency_s)
        client = post.endpoint.client_id
        if not post.endpoint.health.breaker_open:
            self._quarantined.discard(client)
        elif client not in self._quarantined:
            self._quarantined.add(client)
            self.seen.quarantines.append(self.now)


def _hook(client: int) -> Hook:
    return Hook(
        id=HookId(client),
        client=ClientId(str(client)),
        event=EVENT,
        target="https://flaky",
        state=HookState.ENABLED,
        revision=Revision(1),
        secrets=(),
    )


def always(share: float) -> Callable[[float], float]:
    """The same share of failures at any time."""
    return lambda _now: share


def down(start_s: float, end_s: float = math.inf, *, otherwise: float = 0.0) -> Callable[[float], float]:
    """Nothing but failure in [start, end), a share of failures before and after."""
    return lambda now: 1.0 if start_s <= now < end_s else otherwise


# -- the bars --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What is counted of a run, and between which bounds it has to lie."""

    what: str
    count: Callable[[Seen], float]
    at_least: float = -math.inf
    at_most: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A run with its bars."""

    plan: Plan
    until_s: float
    bars: tuple[Bar, ...]


def _delivered(by_s: float, at_least: float) -> Bar:
    return Bar(what=f"share delivered by {by_s} s", count=lambda seen: seen.delivered_share(by_s), at_least=at_least)


def _sent(start_s: float, end_s: float, at_most: int) -> Bar:
    what = f"requests from {start_s} to {end_s} s"
    return Bar(what=what, count=lambda seen: seen.sent_between(start_s, end_s), at_most=at_most)


def _quarantines(least: int, most: int) -> Bar:
    return Bar(what="quarantines", count=lambda seen: len(seen.quarantines), at_least=least, at_most=most)


def _sent_before_quarantine(down_s: float, at_most: int) -> Bar:
    def count(seen: Seen) -> float:
        return seen.sent_between(down_s, seen.quarantines[0] + 1e-9) if seen.quarantines else math.inf

    return Bar(what="requests before the quarantine", count=count, at_most=at_most)


_P99 = Bar(what="p99 of what was delivered", count=Seen.p99_s, at_most=6.0)
_DOWN = 2.0
SCENES: dict[str, Scene] = {
    "one request in ten fails": Scene(
        plan=Plan(rate_per_s=100, fails=always(0.1)),
        until_s=30.0,
        bars=(_delivered(30, 0.97), _quarantines(0, 0), _P99),
    ),
    "three in ten fail": Scene(
        plan=Plan(rate_per_s=100, fails=always(0.3)), until_s=30.0, bars=(_delivered(30, 0.85), _quarantines(0, 0))
    ),
    "every other fails": Scene(
        plan=Plan(rate_per_s=100, fails=always(0.5)), until_s=30.0, bars=(_delivered(30, 0.55),)
    ),
    # Ten a second wait for their answers: a limit that each failure lowers for good would not let as many go.
    "one in ten of a receiver that takes 200 ms fails": Scene(
        plan=Plan(rate_per_s=100, fails=always(0.1), latency_s=0.2),
        until_s=30.0,
        bars=(_delivered(30, 0.97), _quarantines(0, 0)),
    ),
    "down at 500/s": Scene(
        plan=Plan(rate_per_s=500, fails=down(_DOWN), publish_s=10.0),
        until_s=_DOWN + 180,
        bars=(_sent_before_quarantine(_DOWN, 40), _quarantines(1, 1), _sent(_DOWN + 120, _DOWN + 180, 15)),
    ),
    "down and slow from the beginning": Scene(
        plan=Plan(rate_per_s=500, fails=always(1.0), publish_s=5.0, latency_s=0.3),
        until_s=5.0,
        bars=(_sent_before_quarantine(0, 15), _quarantines(1, 1)),
    ),
    "down for a second": Scene(
        plan=Plan(rate_per_s=100, fails=down(5, 6), publish_s=8.0),
        until_s=9.0,
        bars=(_quarantines(1, 1), _delivered(9, 1.0)),
    ),
    "down for a minute": Scene(
        plan=Plan(rate_per_s=100, fails=down(5, 65), publish_s=65.0),
        until_s=77.0,
        bars=(_quarantines(1, 1), _delivered(77, 1.0)),
    ),
    "down for twenty seconds, one in ten fails otherwise": Scene(
        plan=Plan(rate_per_s=200, fails=down(5, 25, otherwise=0.1), publish_s=60.0),
        until_s=60.0,
        bars=(_quarantines(1, 1), _delivered(60, 0.95)),
    ),
    "one resource, every other record, is poison when the others are caught up": Scene(
        plan=Plan(rate_per_s=200, fails=down(5, 11), hot=0.5, poison_from_s=5.0, publish_s=15.0),
        until_s=15.0,
        bars=(_quarantines(1, 1), _delivered(15, 0.97)),
    ),
}
SCENES["the first of a resource expires while another is poison, and the next is good"] = Scene(
    plan=Plan(
        arrivals=((0.0, 2), (1.0, 1), (20.0, 0), (40.0, 1)),
        fails=down(0.5, 61),
        poison_from_s=0.0,
        expire_after_s=60.0,
    ),
    until_s=78.0,
    bars=(Bar(what="delivered", count=lambda seen: len(seen.delivered), at_least=2),),
)
SCENES["the head of a resource is on its way to the dead letters when it is found, and another resource is poison"] = (
    Scene(
        plan=Plan(
            arrivals=((0.0, 2), (0.0, 2), (5.0, 2), (40.0, 2), (50.0, 0), (62.0, 2)),
            fails=down(0.5, 65),
            poison_from_s=0.0,
            expire_after_s=40.0,
            dead_letter_s=20.0,
        ),
        until_s=150.0,
        bars=(Bar(what="delivered", count=lambda seen: len(seen.delivered), at_least=4),),
    )
)
SCENES["an operator skips the head of a resource that the probes know, and it is not the first that is pending"] = (
    Scene(
        plan=Plan(arrivals=((0.0, 3), (1.0, 2), (2.0, 1), (2.0, 1)), fails=down(0.5, 61), skipped=(2, 20.0)),
        until_s=80.0,
        bars=(Bar(what="delivered", count=lambda seen: len(seen.delivered), at_least=3),),
    )
)
SCENES["an endpoint falls ill before live reading has re-read what a restored commit calls settled"] = Scene(
    plan=Plan(rate_per_s=10, fails=down(0, 3), publish_s=8.0, settled=frozenset(range(40, 61, 2))),
    until_s=15.0,
    bars=(_delivered(15, 1.0),),
)
# All are well and take their time: it is not because of one of them that the window is full.
SCENES["a backlog of four receivers that take 300 ms"] = Scene(
    plan=Plan(rate_per_s=1e6, fails=always(0.0), publish_s=0.006, latency_s=0.3, clients=4, window_records=1_000),
    until_s=12.0,
    bars=(_delivered(12, 0.9), _quarantines(0, 0)),
)
SCENES["a receiver that takes more than a second"] = Scene(
    plan=Plan(rate_per_s=5, fails=always(0.0), publish_s=60.0, latency_s=1.2),
    until_s=62.0,
    bars=(_delivered(62, 0.99), _quarantines(0, 0)),
)
COSTLY = {
    "three in ten fail",
    "every other fails",
    "down for twenty seconds, one in ten fails otherwise",
}  # a second of CPU or more


def judge(scene: Scene, seed: int, kit: Kit | None = None) -> str | None:
    """Run a scene; return the bars that it misses, None if it meets all."""
    try:
        seen = Pace(scene.plan, seed, kit).run(scene.until_s)
    except ViolationError as violation:
        return str(violation)
    missed = [
        f"{bar.what}: {found}, wanted {bar.at_least} to {bar.at_most}"
        for bar in scene.bars
        if not bar.at_least <= (found := bar.count(seen)) <= bar.at_most
    ]
    return "; ".join(missed) or None
