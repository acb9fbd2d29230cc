"""What routers, owners and targets do in the simulated world as long as nothing breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hookstream.schemas.hook import HookState
from tests.support.engine_commits import HeldBackError, OlderStateError, advance
from tests.support.engine_history import busy_wait
from tests.support.engine_model import BUSY, FAIL, GONE, LIVE, OK, REPLAY, TIMEOUT, WINDOW, ViolationError

if TYPE_CHECKING:
    from hookstream.schemas.hook import Hook
    from tests.support.engine_model import Flight, Owner
    from tests.support.engine_world import World


class Actions:
    """One step each; which record, request or answer it is about falls by chance."""

    def __init__(self, world: World) -> None:
        """Act in a world, with a router that has read no row yet."""
        self.world = world
        self.router_rows = 0
        self.router_table: dict[tuple[str, str], Hook] = {}

    # -- router --------------------------------------------------------------------------------------------------
    def route(self) -> None:
        """The router reads a row perhaps, and writes the delivery of an event if there is a hook."""
        world, chance = self.world, self.world.random
        if self.router_rows < len(world.rows) and chance.random() < 0.7:
            row = world.rows[self.router_rows]
            self.router_rows += 1
            self.router_table[row.client, row.event] = row
        if world.events >= world.records:
            return
        world.events += 1
        key = chance.choice(("1", "1", "2")), chance.choice("ab")
        resource = chance.choice((0, 0, 1, 2, 3, 4))
        hook = self.router_table.get(key)
        if hook is not None and hook.state is not HookState.DELETED:
            log = world.logs[LIVE]
            if chance.random() < 0.05:
                log.append(None)  # a gap: transaction marker, compaction
            log.append(world.delivery(f"e{world.events}-h{hook.id}", hook, resource))
            world.say("routed", len(log) - 1, "hook", hook.id, resource, "rev", hook.revision)

    # -- owner of the partition ----------------------------------------------------------------------------------
    def read(self) -> None:
        """The owner reads the next record of a stream, if the window has room."""
        stream = LIVE if self.world.random.random() < 0.85 else REPLAY
        owner, log = self.world.owner, self.world.logs[stream]
        engine = owner.engine
        span = engine.views[stream].window_span
        room = engine.room(stream)
        if span >= WINDOW and engine.views[stream].window_span == span and owner.position(stream) < len(log):
            raise ViolationError(f"I8 live reading stands still at {owner.position(stream)}, {span} after the oldest")
        while room > 0 and owner.position(stream) < len(log):
            record = log[owner.position(stream)]
            if record is not None:
                engine.read(stream, owner.position(stream), record, 100)
                row = owner.table.get(record.client, record.event)
                if row is None or row.revision < record.hook_revision:
                    self.world.judge.disturbed.add(record.hook_id)
                return
            engine.skip_to(stream, owner.position(stream) + 1)
            room = engine.room(stream)

    def scan(self) -> None:
        """One of the two readers of a stream reads a stretch for the cursors."""
        world, owner = self.world, self.world.owner
        stream = LIVE if world.random.random() < 0.75 else REPLAY
        near = world.random.random() < 0.5
        engine, log = owner.engine, world.logs[stream]
        start = engine.plan(stream, at=owner.readers.get((stream, near)), near=near)
        if start is None:
            return
        if start < world.low[stream]:
            engine.lose_below(stream, world.low[stream])
            return
        end = min(len(log), start + world.random.randint(1, 60))
        record_type = world.kit.catch_up.BacklogRecord
        records = [record_type(o, r.key, b"%c%d" % (stream, o)) for o in range(start, end) if (r := log[o]) is not None]
        engine.feed(stream, start, end, records)
        owner.readers[stream, near] = end

    def read_table(self) -> None:
        """The owner reads the next row."""
        self.world.read_row(self.world.owner)

    def commit(self, owner: Owner, stream: int) -> None:
        """One stage: snapshot, state written and acknowledged, commit; a zombie's commit is fenced."""
        world = self.world
        try:
            kept = advance(
                world.durable,
                owner.committers[stream],
                stream,
                now=world.now,
                table_offset=owner.table.offset,
                fenced=owner is not world.owner,
                final=False,
            )
        except HeldBackError as held:
            raise ViolationError(f"I16 commit {stream}: {held}") from None
        except OlderStateError as older:
            raise ViolationError(f"I3 commit {stream}:{older}") from None
        if kept:
            world.say("commit", stream, world.durable.offset(stream))
            world.judge.judge_commit(stream)

    def acknowledge_dead_letter(self, owner: Owner) -> None:
        """Kafka acknowledges one of an owner's dead letters."""
        if not owner.dead_letters:
            return
        world = self.world
        stream, pending, reason = owner.dead_letters.pop(world.random.randrange(len(owner.dead_letters)))
        world.say("dead", stream, pending.offset, reason)
        world.dead[stream][pending.offset] = reason
        world.notice_judge.dead_lettered(owner, stream, pending)
        owner.engine.dead_letter_acknowledged(stream, pending)

    # -- requests ------------------------------------------------------------------------------------------------
    def send(self, owner: Owner) -> None:
        """An owner makes the request whose turn it is."""
        post = owner.dispatcher.next()
        if post is not None:
            self.world.judge.judge_send(owner, post)

    def land(self) -> None:
        """A request arrives at its target, which answers unless it hangs."""
        world = self.world
        flights = [f for f in world.flights if f.outcome is None]
        if not flights:
            return
        flight = world.random.choice(flights)
        mode = world.modes[flight.endpoint]
        if mode == "hang":
            if world.now - flight.post.sent_at > TIMEOUT:
                flight.outcome = FAIL
            return
        poisoned = (flight.endpoint, flight.post.pending.resource) in world.poison
        flight.refuses = (flight.endpoint, flight.post.pending.resource) in world.refused
        flight.outcome = FAIL if mode == OK and (poisoned or flight.refuses) else mode
        if flight.outcome == OK:
            world.judge.judge_receipt(flight)
        if flight.owner not in world.owners:
            world.flights.remove(flight)  # its owner was killed: no process hears the answer

    def answer(self) -> None:
        """An answer arrives at the owner that made the request."""
        world = self.world
        flights = [f for f in world.flights if f.outcome is not None]
        if not flights:
            return
        flight = world.random.choice(flights)
        world.flights.remove(flight)
        post, owner, result = flight.post, flight.owner, flight.outcome
        if owner not in world.owners or result is None:
            return  # its owner was killed: no process hears it
        pending = post.pending
        world.say("answer", pending.stream, pending.offset, flight.endpoint, result, "probe" if post.probe else "")
        if flight.refuses:
            world.say("refusal", pending.stream, pending.offset, flight.endpoint)
        world.judge.answer_heard(flight, result)
        quarantined = {e for e in owner.ledger.tracked.endpoints.values() if e.health.breaker_open}
        owner.engine.answer(post, self._outcome(flight, result), float(world.now - post.sent_at))
        world.judge.judge_quarantines(owner, quarantined)
        world.judge.judge_refusal(flight)

    def _outcome(self, flight: Flight, result: str) -> Any:
        kinds = self.world.kit.outcome
        if result == BUSY:
            return kinds.Outcome(kinds.Verdict.BUSY, float(busy_wait(flight.post.pending)), refused=flight.refuses)
        if flight.refuses:
            return kinds.Outcome(kinds.Verdict.GONE, refused=True) if result == GONE else kinds.REFUSED
        return {OK: kinds.DELIVERED, GONE: kinds.GONE, FAIL: kinds.FAILED}.get(result, kinds.REJECTED)
