"""A world around the delivery engine: logs, targets, network, operators, crashes, zombies, and the judge.

One step is one second and one action, chosen at random; every run is a function of its seed. The engine under test is
the real one; only what surrounds it is simulated.

Invariants: I1 nothing is lost | I2 first deliveries in order per (hook, resource), and per (endpoint, resource) among
hooks never retargeted, disabled or stale; a replay overtakes nothing that is owed | I3 a commit passes only what is
settled or owed by the state it points to | I4 the window's span is bounded | I5 a waiting endpoint gets only probes, a
disabled hook nothing | I6 a retarget is a barrier | I7 no duplicate without a crash or a duplicate in the log, nor
after a hand-over in order | I8 a full window is relieved in one turn, a quarantine ends though some resources stay
poison, all drains once targets are healthy | I9 no quarantine without its cause, no dead letter by schedule without its
attempts | I10 rate and concurrency limits hold | I11 a hook is disabled after days of failure, and not before | I12
what retention passes is counted | I13 a paused endpoint gets nothing, and nobody what an operator skipped, before it is
resent | I14 a start is refused where offsets were tampered with while something is owed, and nowhere else | I15 a crowd
of clients whose endpoints hang holds up nobody (`engine_crowd.py`) | I16 a commit waits for a state only while another
was written within the last second.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hookstream.processors.delivery.checkpoints import commit_metadata, commit_state, partition_start, state_codec
from hookstream.processors.delivery.engine import (
    catch_up,
    dispatcher,
    engine,
    model,
    outcome,
    partition_state,
    policy,
    tracker,
)
from hookstream.processors.delivery.engine.ledger import Ledger
from hookstream.processors.delivery.engine.model import Cursor, Endpoint, HookRow, Pending, Post, TrackedHook
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.schemas.control import EndpointSettings, SkippedDelivery, target_digest
from hookstream.schemas.delivery import DeadLetterReason, Delivery, DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, NoticeKind, Revision
from tests.support.engine_commits import (
    Committer,
    Durable,
    HeldBackError,
    Restored,
    StartRefusedError,
    StoredFormatError,
    StreamView,
    advance,
    finish,
    tamper,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LIVE, REPLAY = 0, 1
WINDOW, MAX_RESOURCE_CURSORS = 30, 3
SCHEDULE, NEAR = (10.0, 40.0, 120.0), 15.0
PROBE_FIRST, PROBE_STEADY, PROBE_MAX, STEADY_PROBES = 5.0, 20.0, 80.0, 1
PROBE_PAUSES = (5.0, 10.0, 20.0, 40.0, 80.0)  # after so many failed probes; what follows is the last
BREAKER_AFTER, BREAKER_IN_A_ROW = 60, 4
TIMEOUT, EXPIRE_AFTER = 150, 1500
PATIENCE = 900  # what the turn of the probes over five lanes may take, at one in 80 s at worst
WALL_MS = 1_700_000_000_000
OK, FAIL, GONE, BUSY, REJECT = "2xx", "failure", "410", "retry-after", "422"


@dataclass(frozen=True)
class Kit:
    """The modules of the engine, the shipped ones or a copy with a planted bug."""

    catch_up: ModuleType = catch_up
    commit_metadata: ModuleType = commit_metadata
    commit_state: ModuleType = commit_state
    dispatcher: ModuleType = dispatcher
    engine: ModuleType = engine
    model: ModuleType = model
    outcome: ModuleType = outcome
    partition_start: ModuleType = partition_start
    partition_state: ModuleType = partition_state
    policy: ModuleType = policy
    state_codec: ModuleType = state_codec
    tracker: ModuleType = tracker


class ViolationError(AssertionError):
    """An invariant does not hold; the first word names it."""


class Table:
    """One owner's copy of the subscriptions table."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str], Hook] = {}
        self.settings: dict[tuple[int, bytes], EndpointSettings] = {}
        self.offset = 0

    def get(self, client: int, event: str) -> Hook | None:
        return self.rows.get((client, event))

    def apply(self, row: Hook) -> bool:
        self.offset += 1
        known = self.rows.get((row.client, row.event))
        if known is not None and row.revision <= known.revision:
            return False
        self.rows[row.client, row.event] = row
        return True


class Wanted:
    """One owner's copy of the operators' settings."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def get(self, client: int, digest: bytes) -> EndpointSettings | None:
        return self.table.settings.get((client, digest))


@dataclass(eq=False)
class Owner:
    """One engine with what belongs to its process."""

    engine: Any
    dispatcher: Any
    table: Table
    serial: int
    dead_letters: list[tuple[int, Any, str]] = field(default_factory=list)
    committers: list[Committer] = field(default_factory=list)
    readers: dict[tuple[int, bool], int | None] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)

    @property
    def ledger(self) -> Ledger:
        ledger: Ledger = self.engine.ledger
        return ledger

    def position(self, stream: int) -> int:
        return self.ledger.streams[stream].position


@dataclass(eq=False)
class Flight:
    """One request on the wire."""

    post: Post
    owner: Owner
    endpoint: tuple[int, str]
    outcome: str | None = None


@dataclass(eq=False)
class Failures:
    """What an endpoint has answered one owner since its last 2xx, and the probes of the quarantine that it deserves."""

    resources: set[str] = field(default_factory=set)
    count: int = 0
    since: int = 0
    last: int = 0
    down: bool = False
    probes: int = 0
    probe_due: float = 0.0

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

    def prove(self, *, alone: bool) -> bool:
        """Whether an endpoint that answers so is down: nothing but failure for a while, or often enough."""
        lasting = self.count >= 2 and self.last - self.since >= BREAKER_AFTER
        return (len(self.resources) >= 2 or alone) and (lasting or self.count >= BREAKER_IN_A_ROW)

    def quarantine(self, now: int) -> None:
        """Expect probes only from here on."""
        if not self.down:
            self.down, self.probes, self.probe_due = True, 0, now + PROBE_FIRST


class World:
    """The durable things, the actors and the judge."""

    probe_pauses: tuple[float, ...] = PROBE_PAUSES

    def __init__(self, seed: int, kit: Kit | None = None, records: int = 220) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a simulation, repeatable by its seed
        self.kit, self.records, self.now = kit or Kit(), records, 0
        self.crashes, self.duplicates = seed % 3 != 0, seed % 3 == 2
        self.meddling = seed % 8 in {2, 7}  # operators pause, skip and retry
        self.forgetful = seed % 7 == 6  # retention is shorter than the outages
        self.limited = seed % 4 == 3  # some hooks have a rate limit, and endpoints start with one request at a time
        self.impatient = seed % 5 == 4  # hooks are disabled after a thousand seconds of failure
        self.careless = seed % 9 in {1, 5}  # operators reset offsets, and starts are refused
        self.logs: tuple[list[Delivery | None], list[Delivery | None]] = ([], [])
        self.low = [0, 0]
        self.rows: list[Hook] = []
        self.latest: dict[tuple[int, str], Hook] = {}
        self.router_rows = 0
        self.router_table: dict[tuple[int, str], Hook] = {}
        self.durable = Durable(self.kit, self.random)
        self.dead: tuple[dict[int, str], dict[int, str]] = ({}, {})
        self.flights: list[Flight] = []
        self.zombies: list[Owner] = []
        self.notices: list[tuple[tuple[int, str], int, int]] = []
        self.trace: list[str] = []
        self.modes: dict[tuple[int, str], str] = defaultdict(lambda: OK)
        self.poison: set[tuple[tuple[int, str], str]] = set()
        self.events, self.healing, self.next_hook, self.serials = 0, False, 1, itertools.count()
        # the judge
        self.received: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        self.first: dict[str, int] = {}
        self.last: dict[tuple[Any, ...], int] = {}
        self.disturbed: set[int] = set()
        self.failing: dict[Any, Failures] = defaultdict(Failures)
        self.quiet: dict[Any, float] = {}
        self.gone: dict[Any, int] = {}
        self.lane_failures: Counter[tuple[int, str]] = Counter()
        self.good_since: dict[Any, dict[int, int]] = defaultdict(dict)
        self.floor = [0, 0]
        self.skipped_before: Counter[int] = Counter()
        self.deleted: set[int] = set()
        self.sent_at: dict[Any, list[int]] = defaultdict(list)
        self.lost: tuple[set[int], set[int]] = (set(), set())  # to retention
        self.answered: tuple[set[int], set[int]] = (set(), set())  # 2xx, to owners since the last that died
        self.counted_lost = 0
        self.only_failure_since: dict[tuple[int, str], int] = {}
        self.first_failure: dict[tuple[int, str], int] = {}
        self.settings: dict[tuple[int, bytes], EndpointSettings] = {}
        self.gone_under: set[tuple[int, int]] = set()
        self.words: Counter[str] = Counter()
        self.policy = self._policy()
        for client in (1, 2):
            for event in "ab":
                self.create((client, event))
        self.start()

    def _policy(self) -> EnginePolicy:
        policy: EnginePolicy = self.kit.policy.EnginePolicy(
            window_records=WINDOW,
            read_ahead_records=WINDOW,
            young_s=0.0,
            lagging_s=0.0,
            near_s=NEAR,
            near_behind_s=NEAR,
            stale_wait_s=40.0,
            buffer_records=5,
            resource_buffer_records=5,
            max_resource_cursors=MAX_RESOURCE_CURSORS,
            tail_records=8,
            probe_candidates=2,
            probe_first_s=PROBE_FIRST,
            probe_steady_s=PROBE_STEADY,
            probe_steady_probes=STEADY_PROBES,
            probe_max_s=PROBE_MAX,
            breaker_after_s=float(BREAKER_AFTER),
            breaker_in_a_row=BREAKER_IN_A_ROW,
            jitter=0.0,
            full_schedule_s=SCHEDULE,
            short_schedule_s=SCHEDULE[:2],
            busy_first_s=1.0,
            busy_max_s=8.0,
            concurrency_start=1 if self.limited else 8,
            expire_after_s=EXPIRE_AFTER,
            disable_after_s=1_000 if self.impatient else 1_000_000,
            notice_every_s=50.0,
        )
        return policy

    def say(self, *words: object) -> None:
        self.words[str(words[0])] += 1
        self.trace.append(f"{self.now:5} " + " ".join(map(str, words)))

    @property
    def wall_ms(self) -> int:
        return WALL_MS + self.now * 1000

    # -- subscriptions -------------------------------------------------------------------------------------------
    def publish(self, row: Hook) -> None:
        self.rows.append(row)
        self.latest[row.client, row.event] = row
        for target in "xy":  # a changed row starts the five days afresh
            self.only_failure_since.pop((row.client, target), None)
        self.say("row", (row.client, row.event), "rev", row.revision, "hook", row.id, row.target, row.state.value)

    def create(self, slot: tuple[int, str]) -> None:
        old = self.latest.get(slot)
        self.publish(
            Hook(
                id=HookId(self.next_hook),
                client=ClientId(slot[0]),
                event=EventName(slot[1]),
                target=self.random.choice("xy"),
                state=HookState.ENABLED,
                revision=Revision(old.revision + 1 if old else 1),
                secrets=(),
                rate_limit_per_s=0.02 if self.limited and self.next_hook % 2 else None,
            )
        )
        self.next_hook += 1

    def change_subscription(self) -> None:
        slot = self.random.choice(sorted(self.latest))
        row = self.latest[slot]
        row = replace(row, revision=Revision(row.revision + 1))
        choice = self.random.random()
        if row.state is HookState.DELETED:
            self.create(slot)
        elif choice < 0.25:
            self.deleted.add(row.id)
            self.publish(replace(row, state=HookState.DELETED))
            if self.random.random() < 0.5:
                self.create(slot)
        elif row.state is HookState.DISABLED:
            self.enable(row, skip=choice < 0.6)
        elif choice < 0.65:
            self.disturbed.add(row.id)
            self.publish(replace(row, target="y" if row.target == "x" else "x"))
        else:
            self.disturbed.add(row.id)
            self.publish(replace(row, state=HookState.DISABLED))

    def enable(self, row: Hook, *, skip: bool) -> None:
        if skip:
            self.skipped_before[row.id] = self.wall_ms
        not_before = self.wall_ms if skip else row.not_before_ms
        self.publish(replace(row, state=HookState.ENABLED, not_before_ms=not_before))

    def notice(self) -> None:
        slot, hook, revision = self.notices.pop()
        row = self.latest[slot]
        if (row.id, row.revision, row.state) == (hook, revision, HookState.ENABLED):
            self.publish(replace(row, revision=Revision(revision + 1), state=HookState.DISABLED))

    # -- operators -----------------------------------------------------------------------------------------------
    def wanted(self) -> None:
        """An operator pauses, resumes or skips an endpoint, or asks to try it now; the owner hears of it at once."""
        client, target = self.random.choice((1, 2)), self.random.choice("xy")
        key = client, target_digest(target)
        wanted = self.settings.get(key) or EndpointSettings(client=ClientId(client), target_digest=key[1])
        choice = self.random.random()
        if choice < 0.35:
            wanted = replace(wanted, retry_at_ms=self.wall_ms)
            self.failing[self.owner.serial, (client, target)].probe_due = 0.0
            self.quiet.pop((self.owner.serial, (client, target)), None)
        elif choice < 0.45:
            wanted = replace(wanted, skip_before_ms=self.wall_ms - 300_000)
        elif choice < 0.7:
            wanted = self.skip_one(wanted)
        else:
            wanted = replace(wanted, paused=not wanted.paused)
        self.tell(wanted)

    def skip_one(self, wanted: EndpointSettings) -> EndpointSettings:
        """Skip the oldest delivery that is owed, or any one."""
        owed = [
            r for o, r in enumerate(self.logs[LIVE]) if r and r.client == wanted.client and not self.is_settled(0, o)
        ]
        if not owed:
            return wanted
        record = self.random.choice((owed[0], self.random.choice(owed)))
        skip = SkippedDelivery(delivery_id=record.id, at_ms=self.wall_ms, asked_by="operator", reason="poison")
        return replace(wanted, skipped=(*wanted.skipped[-2:], skip))

    def tell(self, wanted: EndpointSettings) -> None:
        key = int(wanted.client), wanted.target_digest
        skipped = [skip.delivery_id for skip in wanted.skipped]
        self.say(
            "settings",
            key[0],
            "paused" if wanted.paused else "running",
            wanted.skip_before_ms,
            wanted.retry_at_ms,
            skipped,
        )
        self.settings[key] = self.owner.table.settings[key] = wanted
        self.owner.engine.settings_changed(*key)

    # -- router --------------------------------------------------------------------------------------------------
    def route(self) -> None:
        if self.router_rows < len(self.rows) and self.random.random() < 0.7:
            row = self.rows[self.router_rows]
            self.router_rows += 1
            self.router_table[row.client, row.event] = row
        if self.events >= self.records:
            return
        self.events += 1
        slot = self.random.choice((1, 1, 2)), self.random.choice("ab")
        resource = self.random.choice((0, 0, 1, 2, 3, 4))
        wanted = self.router_table.get(slot)
        if wanted is not None and wanted.state is not HookState.DELETED:
            log = self.logs[LIVE]
            if self.random.random() < 0.05:
                log.append(None)  # a gap: transaction marker, compaction
            log.append(self.delivery(f"e{self.events}-h{wanted.id}", wanted, resource))
            self.say("routed", len(log) - 1, "hook", wanted.id, resource, "rev", wanted.revision)

    def delivery(self, name: str, row: Hook, concept: int) -> Delivery:
        return Delivery(
            id=DeliveryId(name),
            event=row.event,
            client=row.client,
            concept_id=concept,
            namespace="r",
            sub_namespace=None,
            occurred_at_ms=0,
            hook_id=row.id,
            hook_revision=row.revision,
            source_topic="events",
            source_partition=0,
            source_offset=0,
            arrived_ms=self.wall_ms,
        )

    def duplicate(self) -> None:
        """A router crash: the last records again, in order, after their originals."""
        log = self.logs[LIVE]
        log += [r for r in log[-self.random.randint(1, 8) :] if r]
        self.say("router repeated, log ends at", len(log))

    def ask_replay(self) -> None:
        originals = [(o, r) for o, r in enumerate(self.logs[LIVE]) if r]
        if originals and len(self.logs[REPLAY]) < 40:
            first = self.random.randrange(len(originals))
            for _, record in originals[first : first + 4]:
                self.logs[REPLAY].append(
                    replace(record, replay="job", live_end=len(self.logs[LIVE]), replayed_at_ms=self.wall_ms)
                )
            self.say("replay asked, log ends at", len(self.logs[REPLAY]))

    # -- owner of the partition ----------------------------------------------------------------------------------
    def start(self) -> None:
        restored = [self.restore(stream) for stream in (LIVE, REPLAY)]
        table = Table()
        least = max(each.table_offset for each in restored)
        read_to = self.random.randint(max(least, len(self.rows) - 5), len(self.rows))
        if self.random.random() < 0.2:
            read_to = min(read_to, least)
        for row in self.rows[:read_to]:
            table.apply(row)
        table.settings.update(self.settings)
        kit = self.kit
        starts = [kit.engine.StreamStart(*each.start) for each in restored]
        owner = Owner.__new__(Owner)
        hub = kit.dispatcher.Dispatcher(self.policy)
        Owner.__init__(owner, None, hub, table, next(self.serials))
        owner.engine = kit.engine.Engine(
            policy=self.policy,
            table=table,
            settings=Wanted(table),
            dispatcher=hub,
            effects=Recorder(self, owner),
            decode=lambda value: value,
            random=self.random.random,
            starts=(starts[0], starts[1]),
            now=float(self.now),
            wall_ms=self.wall_ms,
        )
        owner.committers = [
            Committer(StreamView(owner.engine, stream), restored[stream].commits) for stream in (LIVE, REPLAY)
        ]
        self.owner = owner
        for disable in starts[LIVE].state.disables:
            self.gone[owner.serial, disable.hook_id] = disable.revision
        self.say("start", [start.offset for start in starts], [s.state.cursors for s in starts])

    def restore(self, stream: int) -> Restored:
        """Read what the last owner has left; what an operator did to it is refused, and undone."""
        durable, log = self.durable, self.logs[stream]
        kept = durable.offsets[stream]
        if self.careless and kept[0] is not None and self.random.random() < 0.4 and tamper(durable, stream):
            try:
                durable.restore(stream, len(log), self.low[stream])
            except StartRefusedError:
                self.say("refused", stream, kept[0])
                durable.offsets[stream] = kept
            else:
                raise ViolationError(f"I14 a start on {durable.offsets[stream]} was not refused")
        try:
            return durable.restore(stream, len(log), self.low[stream])
        except (StartRefusedError, StoredFormatError) as refused:
            raise ViolationError(f"I14 a start was refused that nobody tampered with: {refused}") from None

    def crash(self) -> None:
        self.say("crash")
        self.forget_answers()
        self.flights = [f for f in self.flights if f.owner is not self.owner or self.random.random() < 0.5]
        self.start()

    def take_over(self) -> None:
        self.say("take-over", "the old owner goes on as a zombie")
        self.zombies.append(self.owner)
        self.forget_answers()
        self.start()

    def forget_answers(self) -> None:
        """What an owner heard and did not commit is heard again by the next."""
        for answered in self.answered:
            answered.clear()

    def revoke(self) -> None:
        """Give the partition away in order: some answers are waited for, the other requests are cancelled."""
        self.say("revoke")
        owner = self.owner
        streams = owner.ledger.streams
        fresh = [c for s in streams for h in s.owing.values() for c in h.backlogs[s.index].cursors() if not c.restored]
        if fresh and any(stream.position < stream.reread.end for stream in streams):
            self.forget_answers()  # the next owner cannot tell these cursors from those that owe what is not re-read
        for answered, log, stream in zip(self.answered, self.logs, streams, strict=True):
            # What lies above a resource cursor and is settled is known to the next owner while it has the cursor.
            apart = {hook.id for hook in stream.owing.values() if hook.backlogs[stream.index].exceptions}
            answered -= {offset for offset in answered if (record := log[offset]) and record.hook_id in apart}
        for _ in range(self.random.randrange(6)):
            self.land()
            self.answer()
        for flight in [f for f in self.flights if f.owner is owner]:
            owner.engine.abandon(flight.post)
            self.abandoned(flight)
        if owner.dispatcher.in_flight:
            raise ViolationError(f"I10 {owner.dispatcher.in_flight} requests keep their places after a revocation")
        owner.engine.end_turn()
        for index, committer in enumerate(owner.committers):
            if finish(self.durable, committer, index, now=self.now, table_offset=owner.table.offset):
                self.judge_commit(index)
        self.start()

    def abandoned(self, flight: Flight) -> None:
        """Nobody waits for its answer; whether it arrives is the network's affair."""
        if flight.outcome is not None or self.random.random() < 0.5:
            self.flights.remove(flight)

    def advance_commit(self, owner: Owner, stream: int) -> None:
        """One stage: snapshot, state written and acknowledged, commit; a zombie's commit is fenced."""
        fenced = owner is not self.owner
        committer = owner.committers[stream]
        offset = owner.table.offset
        try:
            kept = advance(
                self.durable, committer, stream, now=self.now, table_offset=offset, fenced=fenced, final=False
            )
        except HeldBackError as held:
            raise ViolationError(f"I16 commit {stream}: {held}") from None
        if kept:
            self.say("commit", stream, self.durable.offset(stream))
            self.judge_commit(stream)

    # -- targets and network -------------------------------------------------------------------------------------
    def change_target(self) -> None:
        endpoint = (self.random.choice((1, 2)), self.random.choice("xy"))
        if self.random.random() < 0.4:
            self.poison ^= {(endpoint, f"r:{self.random.randrange(5)}")}
        else:
            self.modes[endpoint] = self.random.choice((OK, OK, OK, FAIL, FAIL, "hang", GONE, BUSY, REJECT))
        self.say("target", endpoint, self.modes[endpoint], sorted(r for e, r in self.poison if e == endpoint))

    def send(self, owner: Owner) -> None:
        post = owner.dispatcher.next()
        if post is not None:
            self.judge_send(owner, post)

    def land(self) -> None:
        flights = [f for f in self.flights if f.outcome is None]
        if not flights:
            return
        flight = self.random.choice(flights)
        mode = self.modes[flight.endpoint]
        if mode == "hang":
            if self.now - flight.post.sent_at > TIMEOUT:
                flight.outcome = FAIL
            return
        poisoned = (flight.endpoint, flight.post.pending.resource) in self.poison
        flight.outcome = FAIL if mode == OK and poisoned else mode
        if flight.outcome == OK:
            self.judge_receipt(flight)
        if flight.owner is not self.owner and flight.owner not in self.zombies:
            self.flights.remove(flight)  # nobody is left to hear the answer

    def answer(self) -> None:  # noqa: C901 - one case an answer
        flights = [f for f in self.flights if f.outcome is not None]
        if not flights:
            return
        flight = self.random.choice(flights)
        self.flights.remove(flight)
        post, owner, result = flight.post, flight.owner, flight.outcome
        if owner is not self.owner and owner not in self.zombies:
            return  # nobody is left to hear it
        pending = post.pending
        lane, key = (pending.delivery.hook_id, pending.resource), (owner.serial, flight.endpoint)
        self.say("answer", pending.stream, pending.offset, flight.endpoint, result, "probe" if post.probe else "")
        kinds = self.kit.outcome
        if result == OK:
            self.failing[key] = Failures()
            if owner is self.owner:
                self.answered[pending.stream].add(pending.offset)
            if pending.stream == LIVE:
                self.lane_failures[lane] = 0
            outcome_value = kinds.DELIVERED
        elif result == BUSY:
            wait = 10 if pending.offset % 2 else 60
            self.quiet[key] = max(self.quiet.get(key, 0), self.now + wait)
            outcome_value = kinds.Outcome(kinds.Verdict.BUSY, float(wait))
        elif result == GONE:
            row = owner.table.get(pending.delivery.client, pending.delivery.event)
            self.disturbed.add(pending.delivery.hook_id)
            self.gone_under.add((pending.delivery.hook_id, post.row.revision))
            if row is not None and row.revision == post.row.revision:
                self.gone[owner.serial, pending.delivery.hook_id] = post.row.revision
            outcome_value = kinds.GONE
        else:
            self.failing[key].fail(pending.resource, self.now)
            if pending.stream == LIVE:
                self.lane_failures[lane] += not post.probe
            outcome_value = kinds.FAILED if result == FAIL else kinds.REJECTED
        if owner is self.owner and result == OK:
            self.only_failure_since.pop(flight.endpoint, None)
            self.first_failure.pop(flight.endpoint, None)
        elif owner is self.owner and result != GONE:
            self.first_failure.setdefault(flight.endpoint, self.now)
            self.only_failure_since.setdefault(flight.endpoint, self.now)
        self.failing[key].answered(self.now, probe=post.probe, pauses=self.probe_pauses)
        sick = {e for e in owner.ledger.endpoints.values() if e.health.sick}
        owner.engine.answer(post, outcome_value, float(self.now - post.sent_at))
        self.judge_quarantines(owner, sick)

    def acknowledge_dead_letter(self, owner: Owner) -> None:
        if not owner.dead_letters:
            return
        stream, pending, reason = owner.dead_letters.pop(self.random.randrange(len(owner.dead_letters)))
        self.say("dead", stream, pending.offset, reason)
        if stream == LIVE:
            lane = (pending.delivery.hook_id, pending.resource)
            least = len(SCHEDULE[:2])
            if reason == "schedule" and not self.crashes and self.lane_failures[lane] <= least:
                raise ViolationError(
                    f"I9 {pending.offset} dead-lettered after {self.lane_failures[lane]} attempts of its lane"
                )
        self.dead[stream][pending.offset] = reason
        owner.engine.buried(stream, pending)

    # -- the judge -----------------------------------------------------------------------------------------------
    def excused(self, stream: int, record: Delivery) -> bool:
        skipped = stream == LIVE and record.arrived_ms < self.skipped_before[record.hook_id]
        return record.hook_id in self.deleted or skipped

    def is_settled(self, stream: int, offset: int) -> bool:
        record = self.logs[stream][offset]
        return (
            record is None
            or offset in self.received[stream]
            or offset in self.dead[stream]
            or offset in self.lost[stream]
            or self.excused(stream, record)
        )

    def judge_send(self, owner: Owner, post: Post) -> None:
        pending = post.pending
        record: Delivery = pending.delivery
        endpoint = (record.client, post.endpoint.target)
        self.say("send", pending.stream, pending.offset, "hook", record.hook_id, record.resource, endpoint, post.probe)
        mine = [f for f in self.flights if f.owner is owner]
        if any(f.post.pending.delivery.hook_id == record.hook_id and f.endpoint != endpoint for f in mine):
            raise ViolationError(f"I6 {pending.offset} to {endpoint} while its hook is in flight elsewhere")
        if any((f.endpoint, f.post.pending.resource) == (endpoint, record.resource) for f in mine):
            raise ViolationError(f"I2 {pending.offset} while its lane is in flight")
        if post.row.target != endpoint[1]:
            raise ViolationError(f"I6 {pending.offset} to {endpoint}, its row says {post.row.target}")
        self.judge_waiting(owner, post, endpoint)
        wanted = owner.table.settings.get((record.client, target_digest(endpoint[1])))
        if wanted is not None and (wanted.paused or skips(wanted, record)):
            raise ViolationError(f"I13 {pending.offset} to {endpoint}, against {wanted}")
        self.judge_dead_letters(owner, pending)
        if len([f for f in mine if f.endpoint == endpoint]) >= post.endpoint.health.limit and not post.probe:
            raise ViolationError(f"I10 {endpoint} has more in flight than its limit {post.endpoint.health.limit}")
        if not post.probe:
            self.judge_rate(owner, post.row)
        since = self.only_failure_since.get(endpoint, self.now)
        patience = self.policy.disable_after_s + 4 * self.policy.notice_every_s
        if not self.crashes and not self.healing and self.now - since > patience:
            raise ViolationError(f"I11 {endpoint} has only failed for {self.now - since} s and is not disabled")
        if pending.stream == REPLAY:
            self.judge_replay(record)
        self.flights.append(Flight(post, owner, endpoint))

    def judge_waiting(self, owner: Owner, post: Post, endpoint: tuple[int, str]) -> None:
        pending, key = post.pending, (owner.serial, endpoint)
        record = pending.delivery
        if self.now < self.quiet.get(key, 0):
            raise ViolationError(f"I5 {pending.offset} to {endpoint} inside Retry-After")
        if self.gone.get((owner.serial, record.hook_id)) == post.row.revision:
            raise ViolationError(f"I5 {pending.offset} to disabled hook {record.hook_id}")
        failures = self.failing[key]
        if failures.down and self.now < failures.probe_due:
            early = failures.probe_due - self.now
            raise ViolationError(f"I5 {pending.offset} to {endpoint} {early} s too soon for a probe")

    def judge_dead_letters(self, owner: Owner, pending: Pending) -> None:
        record = pending.delivery
        for stream, dying, _ in owner.dead_letters:
            if self.excused(stream, dying.delivery) or dying.offset in self.lost[stream]:
                continue
            same_lane = (dying.delivery.hook_id, dying.resource) == (record.hook_id, record.resource)
            if same_lane and stream == pending.stream and dying.offset <= pending.offset:
                raise ViolationError(
                    f"I2 {pending.offset} passes {dying.offset}, whose dead letter is not acknowledged"
                )

    def judge_rate(self, owner: Owner, row: HookRow) -> None:
        if row.rate_limit_per_s is None:
            return
        sent = self.sent_at[owner.serial, row.id]
        sent.append(self.now)
        for earlier in range(len(sent) - 2, -1, -1):
            span = self.now - sent[earlier]
            if len(sent) - earlier > 2 + span * row.rate_limit_per_s:
                raise ViolationError(f"I10 hook {row.id} got {len(sent) - earlier} requests in {span} s")

    def judge_replay(self, record: Delivery) -> None:
        log = self.logs[LIVE]
        delivered = {r.id for o, r in enumerate(log) if r and o in self.received[LIVE]}
        for offset, other in enumerate(log[: record.live_end]):
            if (
                other
                and (other.hook_id, other.resource) == (record.hook_id, record.resource)
                and other.arrived_ms <= record.arrived_ms
                and not self.is_settled(LIVE, offset)
                and other.id not in delivered
            ):
                raise ViolationError(f"I2 replay of {record.id} overtakes {offset}, which is owed")

    def judge_receipt(self, flight: Flight) -> None:
        pending = flight.post.pending
        stream, offset, record = pending.stream, pending.offset, pending.delivery
        self.received[stream][offset] += 1
        self.say("receipt", stream, offset, "hook", record.hook_id, record.resource, flight.endpoint)
        if not self.crashes and self.received[stream][offset] > 1:
            raise ViolationError(f"I7 {stream}:{offset} received twice")
        if flight.owner is self.owner and offset in self.answered[stream]:
            raise ViolationError(f"I7 {stream}:{offset} received again, though the partition was given away in order")
        if stream == REPLAY or record.id in self.first or offset in self.lost[stream]:
            return
        copies = [o for o, r in enumerate(self.logs[LIVE]) if r and r.id == record.id]
        original = self.first[record.id] = copies[0]
        if self.excused(LIVE, record) or any(o in self.dead[LIVE] or o in self.lost[LIVE] for o in copies):
            return
        lanes_of: list[tuple[Any, ...]] = [("hook", record.hook_id, record.resource)]
        if record.hook_id not in self.disturbed:
            lanes_of.append((*flight.endpoint, record.resource))
        for lane in lanes_of:
            if self.last.get(lane, -1) > original:
                raise ViolationError(f"I2 {original} first delivered after {self.last[lane]} on {lane}")
            self.last[lane] = original

    def judge_commit(self, stream: int) -> None:
        try:
            committed, settled, state = self.durable.said(stream)
        except StoredFormatError as lost:
            raise ViolationError(f"I3 commit {stream}:{self.durable.offset(stream)}: {lost}") from None
        owed = {(c.hook_id, c.resource): c for c in state.cursors}
        log = self.logs[stream]
        while self.floor[stream] < len(log) and self.is_settled(stream, self.floor[stream]):
            self.floor[stream] += 1
        above = [o for o in range(committed, settled.end) if o in settled]
        for offset in [*range(self.floor[stream], committed), *above]:
            record = log[offset]
            if record is None or self.is_settled(stream, offset):
                continue
            cursor = owed.get((record.hook_id, record.resource)) or owed.get((record.hook_id, None))
            if not cursor or offset < cursor.next_offset or offset in cursor.settled:
                raise ViolationError(f"I3 commit {stream}:{committed} passes {offset}, neither settled nor owed")

    def judge_quarantines(self, owner: Owner, before: set[Any]) -> None:
        for endpoint in set(owner.ledger.endpoints.values()) - before:
            failures = self.failing[owner.serial, (endpoint.client_id, endpoint.target)]
            parked = {r for h in endpoint.hooks.values() for b in h.backlogs for r in b.exceptions}
            proved = failures.prove(alone=not endpoint.health.several_resources)
            if endpoint.health.sick:
                if not proved and len(parked) < MAX_RESOURCE_CURSORS:
                    raise ViolationError(
                        f"I9 {endpoint.target} quarantined for {failures.count} failures of "
                        f"{sorted(failures.resources)} since {failures.since}"
                    )
                if endpoint.health.probe_at > self.now + PROBE_FIRST:
                    raise ViolationError(f"I5 {endpoint.target} is probed only at {endpoint.health.probe_at}")
            if proved and len(failures.resources) >= 2:
                failures.quarantine(self.now)

    # -- the run -------------------------------------------------------------------------------------------------
    def step(self, action: Callable[[], None] | None = None) -> None:
        """One second and one action, the given one or one by chance."""
        self.now += 1
        for owner in [self.owner, *self.zombies]:
            owner.engine.advance(float(self.now), self.wall_ms)
        self.disturbed |= self.owner.stale
        (action or self.choose())()
        for owner in [self.owner, *self.zombies]:
            owner.engine.end_turn()
        for stream in self.owner.ledger.streams:
            span = stream.position - stream.tracker.base
            if span > WINDOW:
                raise ViolationError(f"I4 span {span}")

    def choose(self) -> Callable[[], None]:
        actions: list[tuple[float, Any]] = [
            (9, self.route),
            (22, self.read),
            (22, partial(self.send, self.owner)),
            (18, self.land),
            (18, self.answer),
            (16, self.scan),
            (6, partial(self.advance_commit, self.owner, LIVE)),
            (3, partial(self.advance_commit, self.owner, REPLAY)),
            (4, partial(self.acknowledge_dead_letter, self.owner)),
            (3, self.read_table),
            (1, self.notice if self.notices else self.read_table),
            (4 if self.zombies else 0, self.zombie),
        ]
        if self.forgetful and not self.healing:
            actions += [(1, self.retain)]
        if not self.healing:
            actions += [(1, self.change_target), (0.5, self.change_subscription), (0.6, self.ask_replay)]
            if self.meddling:
                actions += [(0.4, self.wanted)]
            if self.crashes:
                actions += [(0.25, self.crash), (0.15, self.take_over), (0.15, self.revoke)]
            if self.duplicates and len(self.logs[LIVE]) < 2 * self.records:
                actions += [(0.25, self.duplicate)]
        weights, calls = zip(*actions, strict=True)
        chosen: Callable[[], None] = self.random.choices(calls, weights)[0]
        return chosen

    def read(self) -> None:
        stream = LIVE if self.random.random() < 0.85 else REPLAY
        engine, log = self.owner.engine, self.logs[stream]
        held = self.owner.ledger.streams[stream]
        full, base = held.position - held.tracker.base >= WINDOW, held.tracker.base
        room = engine.room(stream)
        if full and held.tracker.base == base and held.position < len(log):
            raise ViolationError(f"I8 the main lane stands still at {held.position}, behind {base}")
        while room > 0 and held.position < len(log):
            record = log[held.position]
            if record is not None:
                engine.read(stream, held.position, record, 100)
                row = self.owner.table.get(record.client, record.event)
                if row is None or row.revision < record.hook_revision:
                    self.disturbed.add(record.hook_id)
                return
            engine.skip_to(stream, held.position + 1)
            room = engine.room(stream)

    def scan(self) -> None:
        """One of the two readers of a stream reads a stretch for the cursors."""
        stream = LIVE if self.random.random() < 0.75 else REPLAY
        near = self.random.random() < 0.5
        engine, log = self.owner.engine, self.logs[stream]
        start = engine.plan(stream, at=self.owner.readers.get((stream, near)), near=near)
        if start is None:
            return
        if start < self.low[stream]:
            engine.lose_below(stream, self.low[stream])
            return
        end = min(len(log), start + self.random.randint(1, 60))
        record_type = self.kit.catch_up.OwedRecord
        records = [record_type(o, r.key, r) for o in range(start, end) if (r := log[o]) is not None]
        engine.feed(stream, start, end, records)
        self.owner.readers[stream, near] = end

    def retain(self) -> None:
        """Retention deletes what is older than ten minutes; the readers meet the low watermark and tell the engine."""
        for stream, log in enumerate(self.logs):
            low = self.low[stream]
            position = self.durable.offset(stream)
            while low < position and ((record := log[low]) is None or self.wall_ms - record.arrived_ms > 600_000):
                low += 1
            owed = {
                offset
                for hook in self.owner.ledger.streams[stream].owing.values()
                for cursor in hook.backlogs[stream].cursors()
                for offset in range(cursor.scan, low)
                if self.owes(hook, stream, cursor, offset)
            }
            self.low[stream] = low
            counted = self.owner.engine.lose_below(stream, low)
            if counted < len(owed):
                raise ViolationError(f"I12 retention passed {len(owed)} owed records, {counted} were counted")
            self.lost[stream].update(o for o in range(low) if not self.is_settled(stream, o))

    def owes(self, hook: TrackedHook, stream: int, cursor: Cursor, offset: int) -> bool:
        record = self.logs[stream][offset]
        return (
            record is not None
            and record.hook_id == hook.id
            and offset not in cursor.settled
            and hook.backlogs[stream].owner(record.resource) is cursor
        )

    def read_table(self) -> None:
        self._read_table(self.owner)

    def _read_table(self, owner: Owner) -> None:
        if owner.table.offset < len(self.rows):
            row = self.rows[owner.table.offset]
            if owner.table.apply(row):
                owner.engine.row_changed(row.client, row.event)

    def zombie(self) -> None:
        zombie = self.random.choice(self.zombies)
        self.send(zombie)  # it has not noticed yet
        self.advance_commit(zombie, LIVE)
        self.acknowledge_dead_letter(zombie)
        if self.random.random() < 0.1:
            self.zombies.remove(zombie)

    def heal(self, *, poison_stays: bool = False) -> None:
        self.say("healthy", "from here but for", sorted(self.poison) if poison_stays else "nothing")
        self.healing = True
        self.modes.clear()
        for wanted in list(self.settings.values()):
            self.tell(replace(wanted, paused=False))
        if not poison_stays:
            self.poison.clear()

    def judge_probes(self) -> None:
        """The endpoints answer again, some resources stay poison: the probes' turn has to find one that is not."""
        owner = self.owner
        for endpoint in owner.ledger.endpoints.values():
            key = (owner.serial, endpoint.client_id, endpoint.target)
            if not endpoint.health.sick:
                self.good_since.pop(key, None)
                continue
            since = self.good_since[key]
            for offset, resource, record in self.owed_heads(owner, endpoint):
                fresh = self.wall_ms - record.arrived_ms <= EXPIRE_AFTER * 1000
                good = ((endpoint.client_id, endpoint.target), resource) not in self.poison
                if fresh and good and self.now - since.setdefault(offset, self.now) > PATIENCE:
                    raise ViolationError(f"I8 {key} in quarantine for {PATIENCE} s with a good head {offset}")

    def owed_heads(self, owner: Owner, endpoint: Endpoint) -> list[tuple[int, str, Delivery]]:
        heads: dict[str, tuple[int, str, Delivery]] = {}
        for hook in endpoint.hooks.values():
            if owner.ledger.held(hook):
                continue
            for offset, record in enumerate(self.logs[LIVE][: owner.position(LIVE)]):
                if record is None or record.hook_id != hook.id:
                    continue
                cursor = hook.backlogs[LIVE].owner(record.resource)
                if cursor is None or offset < cursor.next or offset in cursor.settled:
                    continue
                if owner.ledger.standing(record, hook, model.LIVE).value == "send":
                    known = heads.get(record.resource)
                    if known is None or offset < known[0]:
                        heads[record.resource] = (offset, record.resource, record)
        return sorted(heads.values())

    def enable_all(self) -> None:
        for row in list(self.latest.values()):
            hook = self.owner.ledger.hooks.get(row.id)
            struck = row.state is HookState.ENABLED and hook is not None and hook.disabled_under == row.revision
            if row.state is HookState.DISABLED or struck:
                self.enable(replace(row, revision=Revision(row.revision + 1)), skip=False)

    def drained(self) -> bool:
        owner = self.owner
        return (
            self.events >= self.records
            and owner.table.offset == len(self.rows)
            and not owner.dead_letters
            and all(
                s.position >= len(log) and not (s.unsettled or s.in_flight or s.dying or s.owing)
                for s, log in zip(owner.ledger.streams, self.logs, strict=True)
            )
        )

    def run(self, steps: int = 3500, poisoned: int = 1500, drain: int = 12000) -> None:
        for _ in range(steps):
            self.step()
        self.heal(poison_stays=True)
        for _ in range(poisoned):
            self.step()
            self.judge_probes()
        self.drain(drain)

    def drain(self, steps: int) -> None:
        """All targets are well from here on: everything is settled before so many steps are over."""
        self.heal()
        for turn in range(steps):
            if turn % 300 == 0:
                self.enable_all()
            self.step()
            if self.drained():
                break
        else:
            raise ViolationError(f"I8 not drained: {self.describe()}")
        for stream in (LIVE, REPLAY):
            lost = [o for o in range(len(self.logs[stream])) if not self.is_settled(stream, o)]
            if lost:
                raise ViolationError(f"I1 lost {stream}:{lost[:5]}: {self.logs[stream][lost[0]]}")

    def describe(self) -> str:
        words = []
        for stream, log in zip(self.owner.ledger.streams, self.logs, strict=True):
            owing = {
                (h.id, c.resource): (c.next, c.scan, sorted(c.buffer))
                for h in stream.owing.values()
                for c in h.backlogs[stream.index].cursors()
            }
            words.append(
                f"position {stream.position}/{len(log)} window {sorted(stream.unsettled)} cursors {owing} "
                f"in flight {sorted(stream.in_flight)} dying {sorted(stream.dying)}"
            )
        health = {
            (e.client_id, e.target): (e.health.sick, e.behind, e.health.probe_at, e.health.quiet_until, e.in_flight)
            for e in self.owner.ledger.endpoints.values()
        }
        table = f"table {self.owner.table.offset}/{len(self.rows)} dead {len(self.owner.dead_letters)}"
        return "; ".join([*words, str(health), table, f"events {self.events}"])


class Recorder:
    """What an engine asked for beside requests."""

    def __init__(self, world: World, owner: Owner) -> None:
        self.world, self.owner = world, owner

    def bury(self, stream: int, pending: Pending, reason: DeadLetterReason) -> None:
        record, settings = pending.delivery, self.owner.table.settings
        if reason.value == "skipped" and not any(
            skips(wanted, record) for (client, _), wanted in settings.items() if client == record.client
        ):
            raise ViolationError(f"I13 {stream}:{pending.offset} was not skipped, or was resent since")
        self.owner.dead_letters.append((stream, pending, reason.value))

    def notify(self, hook: TrackedHook, row: Hook, kind: NoticeKind) -> None:
        self.world.say("notice", hook.id, kind.value)
        world, owner = self.world, self.owner
        if kind.value == "gone" and not world.impatient and (hook.id, row.revision) not in world.gone_under:
            raise ViolationError(f"I9 hook {hook.id} disabled under revision {row.revision}, which never got a 410")
        if kind.value == "failing" and owner is world.owner and not world.crashes:
            endpoint = (hook.slot[0], row.target)
            since = world.first_failure.get(endpoint, world.now)
            if (
                hook.notice_at - world.now == world.policy.notice_every_s
                and world.now - since < world.policy.disable_after_s
            ):
                raise ViolationError(f"I11 {endpoint} disabled after {world.now - since} s of failure")
        self.world.notices.append((hook.slot, hook.id, row.revision))
        self.world.disturbed.add(hook.id)

    def stale(self, hook: TrackedHook) -> None:
        self.owner.stale.add(hook.id)


def skips(wanted: EndpointSettings, record: Delivery) -> bool:
    """Whether an operator wants the record in the dead letters."""
    since = record.replayed_at_ms or record.arrived_ms
    return since < wanted.skip_before_ms or any(
        skip.delivery_id == record.id and since < skip.at_ms for skip in wanted.skipped
    )


def check(seed: int, kit: Kit | None = None) -> tuple[World, str | None]:
    """Run one world; return it with the violation, if there was one."""
    world = World(seed, kit)
    try:
        world.run()
    except ViolationError as violation:
        return world, str(violation)
    return world, None
