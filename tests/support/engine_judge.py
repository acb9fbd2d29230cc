"""The judge of the simulated world: raises when an invariant (they are listed in `engine_world`) does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hookstream.processors.delivery.engine import model
from hookstream.processors.errors import StoredFormatError
from hookstream.schemas.control import target_digest
from tests.support.engine_history import History
from tests.support.engine_model import (
    EXPIRE_AFTER,
    LIVE,
    MAX_RESOURCE_CURSORS,
    PROBE_FIRST,
    REFUSED,
    REPLAY,
    SCHEDULE,
    WINDOW,
    Flight,
    Owner,
    ViolationError,
    skips,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hookstream.processors.delivery.engine.hook_table import HookRow
    from hookstream.processors.delivery.engine.model import Cursor, Endpoint, Pending, Post, TrackedHook
    from hookstream.schemas.delivery import Delivery

LOOKS = 10  # seconds between two looks for them
PATIENCE = 900  # seconds that the probes of five lanes may take, at one in 80 s at worst


class Judge(History):
    """Checks of what the engine does, each against what happened before."""

    # -- requests ------------------------------------------------------------------------------------------------
    def judge_send(self, owner: Owner, post: Post) -> None:
        """Check a request that the engine makes, and put it on the wire."""
        world, pending = self.world, post.pending
        record: Delivery = pending.delivery
        endpoint = (record.client, post.endpoint.target)
        world.say("send", pending.stream, pending.offset, "hook", record.hook_id, record.resource, endpoint, post.probe)
        self.made_again(owner, post, endpoint)
        mine = [f for f in world.flights if f.owner is owner]
        self._judge_lane(mine, pending, endpoint)
        if post.row.target != endpoint[1]:
            raise ViolationError(f"I6 {pending.offset} to {endpoint}, its row says {post.row.target}")
        self._judge_waiting(owner, post, endpoint)
        wanted = owner.table.settings.get((record.client, target_digest(endpoint[1])))
        if wanted is not None and (wanted.paused or skips(wanted, record)):
            raise ViolationError(f"I13 {pending.offset} to {endpoint}, against {wanted}")
        self._judge_dead_letters(owner, pending)
        if (owner.serial, pending.stream, pending.offset) in self.refusals_heard:
            raise ViolationError(f"I17 {pending.offset} to {endpoint}, which has refused it")
        if len([f for f in mine if f.endpoint == endpoint]) >= post.endpoint.health.limit and not post.probe:
            raise ViolationError(f"I10 {endpoint} has more in flight than its limit {post.endpoint.health.limit}")
        if not post.probe:
            self._judge_rate(owner, post.row)
        self._judge_disabled(endpoint)
        if pending.stream == REPLAY:
            self._judge_replay(record)
        world.flights.append(Flight(post, owner, endpoint))

    @staticmethod
    def _judge_lane(mine: list[Flight], pending: Pending, endpoint: tuple[str, str]) -> None:
        record = pending.delivery
        if any(f.post.pending.delivery.hook_id == record.hook_id and f.endpoint != endpoint for f in mine):
            raise ViolationError(f"I6 {pending.offset} to {endpoint} while its hook is in flight elsewhere")
        if any((f.endpoint, f.post.pending.resource) == (endpoint, record.resource) for f in mine):
            raise ViolationError(f"I2 {pending.offset} while its lane is in flight")

    def _judge_waiting(self, owner: Owner, post: Post, endpoint: tuple[str, str]) -> None:
        pending, key, now = post.pending, (owner.serial, endpoint), self.world.now
        record = pending.delivery
        if now < self.quiet.get(key, 0):
            raise ViolationError(f"I5 {pending.offset} to {endpoint} inside Retry-After")
        if self.gone.get((owner.serial, record.hook_id)) == post.row.revision:
            raise ViolationError(f"I5 {pending.offset} to disabled hook {record.hook_id}")
        failures = self.failing[key]
        if failures.down and now < failures.probe_due:
            early = failures.probe_due - now
            raise ViolationError(f"I5 {pending.offset} to {endpoint} {early} s too soon for a probe")

    def _judge_dead_letters(self, owner: Owner, pending: Pending) -> None:
        record = pending.delivery
        for stream, dead, _ in owner.dead_letters:
            # What retention has deleted is not delivered again after a crash, so nothing can be delivered before it.
            if self.excused(stream, dead.delivery) or dead.offset < self.world.low[stream]:
                continue
            same_lane = (dead.delivery.hook_id, dead.resource) == (record.hook_id, record.resource)
            if same_lane and stream == pending.stream and dead.offset <= pending.offset:
                raise ViolationError(f"I2 {pending.offset} passes {dead.offset}, whose dead letter is not acknowledged")

    def _judge_rate(self, owner: Owner, row: HookRow) -> None:
        if row.rate_limit_per_s is None:
            return
        sent = self.sent_at[owner.serial, row.id]
        sent.append(self.world.now)
        for earlier in range(len(sent) - 2, -1, -1):
            span = self.world.now - sent[earlier]
            if len(sent) - earlier > 2 + span * row.rate_limit_per_s:
                raise ViolationError(f"I10 hook {row.id} got {len(sent) - earlier} requests in {span} s")

    def _judge_disabled(self, endpoint: tuple[str, str]) -> None:
        world = self.world
        since = self.only_failure_since.get(endpoint, world.now)
        patience = world.policy.disable_after_s + 4 * world.policy.notice_every_s
        if not world.traits.crashes and not world.healing and world.now - since > patience:
            raise ViolationError(f"I11 {endpoint} has only failed for {world.now - since} s and is not disabled")

    def _judge_replay(self, record: Delivery) -> None:
        log = self.world.logs[LIVE]
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
        """Check what a receiver accepted: not twice, and in order."""
        world, pending = self.world, flight.post.pending
        stream, offset, record = pending.stream, pending.offset, pending.delivery
        self.received[stream][offset] += 1
        world.say("receipt", stream, offset, "hook", record.hook_id, record.resource, flight.endpoint)
        if not world.traits.crashes and self.received[stream][offset] > 1:
            raise ViolationError(f"I7 {stream}:{offset} received twice")
        if flight.owner is world.owner and offset in self.answered[stream]:
            raise ViolationError(f"I7 {stream}:{offset} received again, though the partition was given away in order")
        if stream == REPLAY or record.id in self.first or offset in self.lost[stream]:
            return
        copies = [o for o, r in enumerate(world.logs[LIVE]) if r and r.id == record.id]
        original = self.first[record.id] = copies[0]
        if self.excused(LIVE, record) or any(o in world.dead[LIVE] or o in self.lost[LIVE] for o in copies):
            return
        lanes_of: list[tuple[Any, ...]] = [("hook", record.hook_id, record.resource)]
        if record.hook_id not in self.disturbed:
            lanes_of.append((*flight.endpoint, record.resource))
        for lane in lanes_of:
            if self.last.get(lane, -1) > original:
                raise ViolationError(f"I2 {original} first delivered after {self.last[lane]} on {lane}")
            self.last[lane] = original

    # -- the engine's state --------------------------------------------------------------------------------------
    def judge_window(self, owner: Owner) -> None:
        """Check how far the window reaches."""
        for stream in owner.ledger.streams:
            span = stream.position - stream.tracker.base
            if span > WINDOW:
                raise ViolationError(f"I4 span {span}")

    def judge_commit(self, stream: int) -> None:
        """Check what was committed just now against what is not settled."""
        durable = self.world.durable
        try:
            committed, settled, state = durable.said(stream)
        except StoredFormatError as lost:
            raise ViolationError(f"I3 commit {stream}:{durable.offset(stream)}: {lost}") from None
        owed = {(c.hook_id, c.resource): c for c in state.cursors}
        log = self.world.logs[stream]
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
        """Check the quarantines of the endpoints that were in none before an answer."""
        now = self.world.now
        for endpoint in set(owner.ledger.tracked.endpoints.values()) - before:
            failures = self.failing[owner.serial, (endpoint.client_id, endpoint.target)]
            parked = {r for h in endpoint.hooks.values() for b in h.backlogs for r in b.resource_cursors}
            is_down = failures.is_endpoint_down(alone=not endpoint.health.several_resources)
            if endpoint.health.breaker_open:
                if not is_down and len(parked) < MAX_RESOURCE_CURSORS:
                    raise ViolationError(
                        f"I9 {endpoint.target} quarantined for {failures.count} failures of "
                        f"{sorted(failures.resources)} since {failures.since}"
                    )
                if endpoint.health.probe_times.due > now + PROBE_FIRST:
                    raise ViolationError(f"I5 {endpoint.target} is probed only at {endpoint.health.probe_times.due}")
            if is_down and len(failures.resources) >= 2:
                failures.quarantine(now)

    def judge_dead_letter(self, stream: int, pending: Pending, reason: str) -> None:
        """Check the reason of a dead letter that an engine asks for, before it is written.

        Until Kafka acknowledges it, its lane may go on where it is owed no longer: retention has deleted it, or its
        hook was enabled from now on. What is answered to the lane meanwhile says nothing about this dead letter.
        """
        if reason == REFUSED and pending.offset not in self.refusals[stream]:
            raise ViolationError(f"I17 {stream}:{pending.offset} dead-lettered as refused by its present target")
        if stream != LIVE:
            return
        lane = (pending.delivery.hook_id, pending.resource)
        failures, schedule = self.lane_failures[lane], SCHEDULE[:2] if lane in self.lanes_rejected else SCHEDULE
        if reason == "schedule" and not self.world.traits.crashes and failures <= len(schedule):
            raise ViolationError(f"I9 {pending.offset} dead-lettered after {failures} attempts of its lane")

    def judge_refusal(self, flight: Flight) -> None:
        """Check that what was refused just now is to be a dead letter, or needs no delivery."""
        owner, pending = flight.owner, flight.post.pending
        where = (pending.stream, pending.offset)
        if (owner.serial, *where) not in self.refusals_heard:
            return
        standing = owner.ledger.standing(pending.delivery, pending.hook, pending.stream)
        if standing.value not in {"cancelled", "skipped"} and where not in {
            (s, p.offset) for s, p, _ in owner.dead_letters
        }:
            raise ViolationError(f"I17 {where} was refused, and is no dead letter")

    def owed_below(self, stream: int, low: int) -> int:
        """Return how many records below an offset are owed."""
        owed = {
            offset
            for hook in self.world.owner.ledger.streams[stream].hooks_with_cursor.values()
            for cursor in hook.backlogs[stream].cursors()
            for offset in range(cursor.scan, low)
            if self._owes(hook, stream, cursor, offset)
        }
        return len(owed)

    def judge_retention(self, stream: int, low: int, *, owed: int, counted: int) -> None:
        """Check that the engine counted what retention passed, and excuse it from here on."""
        if counted < owed:
            raise ViolationError(f"I12 retention passed {owed} owed records, {counted} were counted")
        self.lost[stream].update(o for o in range(low) if not self.is_settled(stream, o))

    def _owes(self, hook: TrackedHook, stream: int, cursor: Cursor, offset: int) -> bool:
        record = self.world.logs[stream][offset]
        return (
            record is not None
            and record.hook_id == hook.id
            and offset not in cursor.settled
            and hook.backlogs[stream].cursor_for(record.resource) is cursor
        )

    # -- at the end ----------------------------------------------------------------------------------------------
    def judge_probes(self) -> None:
        """The endpoints answer again, some resources stay poison: the probes' turn has to find one that is not."""
        world, owner = self.world, self.world.owner
        for endpoint in owner.ledger.tracked.endpoints.values():
            key = (owner.serial, endpoint.client_id, endpoint.target)
            if not endpoint.health.breaker_open:
                self.good_since.pop(key, None)
                continue
            since = self.good_since[key]
            if world.now % LOOKS:
                continue
            for stream, offset, record in self._heads_to_probe_with(owner, endpoint):
                fresh = world.wall_ms - record.owed_since_ms <= EXPIRE_AFTER * 1000
                good = ((endpoint.client_id, endpoint.target), record.resource) not in world.poison
                if fresh and good and world.now - since.setdefault((stream, offset), world.now) > PATIENCE:
                    raise ViolationError(f"I8 {key} in quarantine for {PATIENCE} s with a good head {stream}:{offset}")

    def _heads_to_probe_with(self, owner: Owner, endpoint: Endpoint) -> Iterator[tuple[int, int, Delivery]]:
        """The head of each lane; of replays, where nothing live is pending for which it has to wait (R12).

        Not one that is on its way to the dead letters: Kafka has to acknowledge it first (R7).
        """
        live = {record.resource for _, record, _ in self._owed_heads(owner, endpoint, LIVE)}
        for stream in (LIVE, REPLAY):
            for offset, record, hook in self._owed_heads(owner, endpoint, stream):
                sendable = owner.ledger.standing(record, hook, model.StreamIndex(stream)).value == "send"
                dead = offset in owner.ledger.streams[stream].dead_letters_pending
                early = stream == REPLAY and (record.resource in live or record.live_end > owner.position(LIVE))
                if sendable and not (dead or early):
                    yield stream, offset, record

    def _owed_heads(self, owner: Owner, endpoint: Endpoint, stream: int) -> Iterable[tuple[int, Delivery, TrackedHook]]:
        """The lowest record of each lane that is pending from a cursor, unless the table cancels it."""
        heads: dict[str, tuple[int, Delivery, TrackedHook]] = {}
        log = self.world.logs[stream]
        for hook in endpoint.hooks.values():
            if hook.held:
                continue
            backlog = hook.backlogs[stream]
            lowest = min((cursor.next for cursor in backlog.cursors()), default=len(log))
            for offset in range(lowest, owner.position(stream)):
                record = log[offset]
                if record is None or record.hook_id != hook.id:
                    continue
                cursor = backlog.cursor_for(record.resource)
                if cursor is None or offset < cursor.next or offset in cursor.settled:
                    continue
                if owner.ledger.standing(record, hook, model.StreamIndex(stream)).value in {"cancelled", "skipped"}:
                    continue
                known = heads.get(record.resource)
                if known is None or offset < known[0]:
                    heads[record.resource] = (offset, record, hook)
        return heads.values()

    def judge_end(self) -> None:
        """Everything is settled once nothing is under way any more."""
        for stream, log in enumerate(self.world.logs):
            lost = [o for o in range(len(log)) if not self.is_settled(stream, o)]
            if lost:
                raise ViolationError(f"I1 lost {stream}:{lost[:5]}: {log[lost[0]]}")
