"""A world around the delivery engine: logs, subscriptions, targets, and what was committed. One step is one second.

Every run is a function of its seed; the engine under test is the real one, only what surrounds it is simulated.
`engine_simulation` runs it; `engine_actions`, `engine_users` and `engine_faults` are what happens in it, and
`engine_judge` checks the invariants in every turn:

- I1 nothing is lost.
- I2 first deliveries in order per (hook, resource), and per (endpoint, resource) among hooks never retargeted, disabled
  or stale; a replay overtakes nothing that is owed.
- I3 a commit passes only what is settled or owed by the state it points to, and that one is never older than before.
- I4 the window's span is bounded.
- I5 a waiting endpoint gets only probes, a disabled hook nothing.
- I6 a retarget is a barrier.
- I7 no duplicate without a crash or a duplicate in the log, nor after a hand-over in order.
- I8 a full window evicts its oldest record in one turn, a quarantine ends though some resources stay poison, all drains
  once targets are healthy.
- I9 no quarantine without its cause, no dead letter by schedule without its attempts.
- I10 rate and concurrency limits hold.
- I11 a hook is disabled after days of failure, and not before.
- I12 what retention passes is counted.
- I13 a paused endpoint gets nothing, and no receiver what an operator skipped, before it is resent.
- I14 a start is refused where offsets were tampered with while something is owed, and nowhere else.
- I15 many clients whose endpoints hang hold up no other client (`engine_many_clients.py`).
- I16 a commit waits for a state only while another was written within the last second.
- I17 what a receiver refuses is a dead letter at once and is not sent again, and nothing else is one for that reason;
  what is in flight is none before its answer.
- I18 a long quarantine, its end, dead letters and an expiring backlog are told: not too early, not too late, once for
  each cause where no owner dies, and by the next owner where one does (`engine_notices.py`).
- I19 a lane that may send has its turn (`engine_turns.py`).
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, Revision
from tests.support.engine_commits import Durable
from tests.support.engine_judge import Judge
from tests.support.engine_model import (
    BREAKER_AFTER,
    BREAKER_IN_A_ROW,
    EXPIRE_AFTER,
    MAX_RESOURCE_CURSORS,
    NEAR,
    OK,
    PROBE_FIRST,
    PROBE_MAX,
    PROBE_PAUSES,
    PROBE_STEADY,
    SCHEDULE,
    STEADY_PROBES,
    WALL_MS,
    WINDOW,
    Kit,
)
from tests.support.engine_notices import NoticeJudge

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.policy import EnginePolicy
    from hookstream.schemas.control import EndpointSettings
    from tests.support.engine_model import Flight, Owner


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What may happen in a world."""

    crashes: bool  # and take-overs and revocations
    duplicates: bool  # in the log, because a router crashed
    operators: bool  # pause, skip and retry
    short_retention: bool  # shorter than the outages
    limits: bool  # some hooks have a rate limit, and endpoints start with one request at a time
    slow_endpoints: bool  # one that holds much of a full window is slow as a whole
    early_disable: bool  # hooks are disabled after a thousand seconds of failure
    offset_resets: bool  # operators reset offsets, and starts are refused
    refusals: bool  # receivers ask for dead letters

    @classmethod
    def of(cls, seed: int) -> Traits:
        """Return those of a seed."""
        return cls(
            crashes=seed % 3 != 0,
            duplicates=seed % 3 == 2,
            operators=seed % 8 in {2, 7},
            short_retention=seed % 7 == 6,
            limits=seed % 4 == 3,
            slow_endpoints=seed % 4 == 1,
            early_disable=seed % 5 == 4,
            offset_resets=seed % 9 in {1, 5},
            refusals=seed % 9 in {3, 7},
        )


class World:
    """What is durable and what is outside of the process: logs, rows, targets, requests on the wire."""

    probe_pauses: tuple[float, ...] = PROBE_PAUSES
    owner: Owner  # of the partition; `engine_owner.start` sets it

    def __init__(self, seed: int, kit: Kit | None = None, records: int = 220) -> None:
        """Publish two hooks of two clients each."""
        self.random = random.Random(seed)  # noqa: S311 - a simulation, repeatable by its seed
        self.kit, self.records, self.now = kit or Kit(), records, 0
        self.traits = Traits.of(seed)
        self.trace: list[str] = []
        self.words: Counter[str] = Counter()
        self.events, self.healing, self.next_hook, self.serials = 0, False, 1, itertools.count()
        # in Kafka
        self.logs: tuple[list[Delivery | None], list[Delivery | None]] = ([], [])
        self.low = [0, 0]
        self.rows: list[Hook] = []
        self.latest: dict[tuple[str, str], Hook] = {}
        self.settings: dict[tuple[str, bytes], EndpointSettings] = {}
        self.durable = Durable(self.kit, self.random)
        self.dead: tuple[dict[int, str], dict[int, str]] = ({}, {})
        self.notices: list[tuple[tuple[str, str], int, int]] = []
        # targets and network
        self.flights: list[Flight] = []
        self.zombies: list[Owner] = []
        self.modes: dict[tuple[str, str], str] = defaultdict(lambda: OK)
        self.poison: set[tuple[tuple[str, str], str]] = set()
        self.refused: set[tuple[tuple[str, str], str]] = set()  # as poison, and the answer asks for a dead letter
        self.policy = self._policy()
        self.judge = self._judge()
        self.notice_judge = NoticeJudge(self)
        for client in ("1", "2"):
            for event in "ab":
                self.create((client, event))

    def _judge(self) -> Judge:
        return Judge(self)

    def _policy(self) -> EnginePolicy:
        policy: EnginePolicy = self.kit.policy.EnginePolicy(
            window_records=WINDOW,
            read_ahead_records=WINDOW,
            fresh_window_s=0.0,
            lagging_s=0.0,
            slow_records=8 if self.traits.slow_endpoints else WINDOW,
            concurrency_slow=1,
            retry_in_window_s=NEAR,
            retry_in_buffer_s=NEAR,
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
            concurrency_start=1 if self.traits.limits else 8,
            expire_after_s=EXPIRE_AFTER,
            disable_after_s=1_000 if self.traits.early_disable else 1_000_000,
            notice_every_s=50.0,
            quarantine_told_after_s=100.0,
        )
        return policy

    def say(self, *words: object) -> None:
        """Add a line to the trace."""
        self.words[str(words[0])] += 1
        self.trace.append(f"{self.now:5} " + " ".join(map(str, words)))

    @property
    def wall_ms(self) -> int:
        """The wall clock."""
        return WALL_MS + self.now * 1000

    @property
    def owners(self) -> list[Owner]:
        """The owner of the partition, and those that have not noticed yet that they are no longer."""
        return [self.owner, *self.zombies]

    # -- subscriptions -------------------------------------------------------------------------------------------
    def publish(self, row: Hook) -> None:
        """Append a row to the subscriptions topic."""
        self.rows.append(row)
        self.latest[row.client, row.event] = row
        self.judge.row_published(row)
        self.say("row", (row.client, row.event), "rev", row.revision, "hook", row.id, row.target, row.state.value)

    def create(self, key: tuple[str, str]) -> None:
        """Create the hook of a subscription key, after a deletion with the revision that follows."""
        old = self.latest.get(key)
        self.publish(
            Hook(
                id=HookId(self.next_hook),
                client=ClientId(key[0]),
                event=EventName(key[1]),
                target=self.random.choice("xy"),
                state=HookState.ENABLED,
                revision=Revision(old.revision + 1 if old else 1),
                secrets=(),
                rate_limit_per_s=0.02 if self.traits.limits and self.next_hook % 2 else None,
            )
        )
        self.next_hook += 1

    def enable(self, row: Hook, *, skip: bool) -> None:
        """Publish a row as enabled, from now on if what is owed is skipped."""
        if skip:
            self.judge.skipped_before[row.id] = self.wall_ms
        not_before = self.wall_ms if skip else row.not_before_ms
        self.publish(replace(row, state=HookState.ENABLED, not_before_ms=not_before))

    def read_row(self, owner: Owner) -> None:
        """An owner reads the next row of the subscriptions topic, if there is one."""
        if owner.table.offset < len(self.rows):
            row = self.rows[owner.table.offset]
            if owner.table.apply(row):
                owner.engine.row_changed(row.client, row.event)

    def delivery(self, name: str, row: Hook, concept: int) -> Delivery:
        """Make the delivery of an event to a hook."""
        return Delivery(
            id=DeliveryId(name),
            event=row.event,
            client=row.client,
            concept_id=str(concept),
            namespace="r",
            body=b"{}",
            occurred_at_ms=0,
            hook_id=row.id,
            hook_revision=row.revision,
            source_topic="events",
            source_partition=0,
            source_offset=0,
            arrived_ms=self.wall_ms,
        )

    def describe(self) -> str:
        """Say what is not done, for a violation's message."""
        words = []
        for stream, log in zip(self.owner.ledger.streams, self.logs, strict=True):
            open_cursors = {
                (h.id, c.resource): (c.next, c.scan, sorted(c.buffer))
                for h in stream.hooks_with_cursor.values()
                for c in h.backlogs[stream.index].cursors()
            }
            words.append(
                f"position {stream.position}/{len(log)} window {sorted(stream.unsettled)} cursors {open_cursors} "
                f"in flight {sorted(stream.in_flight)} dead letters pending {sorted(stream.dead_letters_pending)}"
            )
        health = {
            (e.client_id, e.target): (
                e.health.breaker_open,
                e.from_backlog,
                e.health.probe_times.due,
                e.health.retry_after_until,
                e.in_flight,
            )
            for e in self.owner.ledger.tracked.endpoints.values()
        }
        table = f"table {self.owner.table.offset}/{len(self.rows)} dead {len(self.owner.dead_letters)}"
        return "; ".join([*words, str(health), table, f"events {self.events}"])
