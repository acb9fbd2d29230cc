"""The engine's world at the caps: many clients whose endpoints hang, some that answer quickly, and places for few.

A tick is a tenth of a second: every record is read, every request whose turn it is is made, and every answer that is
due comes. The judge is the world's; what it adds is the isolation of clients from each other:

I15 a client whose endpoints answer quickly is never kept waiting by clients whose endpoints hang: not with a few
requests in flight, from the first tick on; not with its first, though nothing is known of it; and with many once those
that hang have been noticed. Places are counted, and neither cap is exceeded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, Revision
from tests.support.engine_judge import Judge
from tests.support.engine_model import LIVE, Flight, Owner, ViolationError
from tests.support.engine_simulation import Simulation
from tests.support.engine_world import World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hookstream.processors.delivery.engine.model import Endpoint, Post
    from hookstream.processors.delivery.engine.policy import EnginePolicy
    from tests.support.engine_model import Kit

PROCESS_CAP, CLIENT_CAP = 768, 24
FEW, MANY, NEW, LATE = 1, 2, 3, 4  # clients whose endpoints answer at once, with so much to send
HANGING = range(10, 140)
FIRST_WAVE, SECOND_WAVE_AT = 90, 100  # the second one finds no room
EVENTS = ("a", "b")
MIXED = "c"  # one more hook of those that hang, whose endpoint would answer
TIMEOUT = 150
NOTICED = 2 * TIMEOUT  # until then those that hang have been waited for twice
TICKS = 330
TURNS, ASKS_FOR_MORE = 46, 65  # those that answer at first begin to hang all at once, then write much
# Records of how many resources, every so many ticks, from which tick on.
QUICK = {FEW: (2, 3, 0), MANY: (12, 5, 0), NEW: (2, 4, 20), LATE: (1, 4, 44)}


class ManyClientsJudge(Judge):
    """Checks only what is about caps: the rest is checked in the small world, where many clients do not hide it."""

    def __init__(self, world: World) -> None:
        """Begin with no request in flight."""
        super().__init__(world)
        self.most_in_flight = 0

    def judge_send(self, owner: Owner, post: Post) -> None:
        """Put a request on the wire."""
        record = post.pending.delivery
        self.world.flights.append(Flight(post, owner, (record.client, post.endpoint.target)))

    def judge_receipt(self, flight: Flight) -> None:
        """In order and once, without looking at the whole log for each."""
        pending = flight.post.pending
        self.received[LIVE][pending.offset] += 1
        lane = pending.delivery.hook_id, pending.resource
        if self.received[LIVE][pending.offset] > 1 or self.last.get(lane, -1) > pending.offset:
            raise ViolationError(f"I2 {pending.offset} received after {self.last[lane]}, or again")
        self.last[lane] = pending.offset

    def judge_caps(self, owner: Owner) -> None:
        """Places are counted, and there are no more than the caps say."""
        in_flight = len(owner.engine.posts_in_flight)
        self.most_in_flight = max(self.most_in_flight, in_flight)
        if owner.dispatcher.in_flight != in_flight or in_flight > PROCESS_CAP:
            raise ViolationError(f"I15 {in_flight} in flight, {owner.dispatcher.in_flight} counted, cap {PROCESS_CAP}")
        for name, client in owner.ledger.tracked.clients.items():
            if client.in_flight > CLIENT_CAP:
                raise ViolationError(f"I15 client {name} has {client.in_flight} in flight")

    def judge_waiting_clients(self) -> None:
        """Nothing that could be sent to an endpoint that answers is waiting."""
        for endpoint in self.world.owner.ledger.tracked.endpoints.values():
            client = int(endpoint.client_id)
            if client in QUICK and (client != MANY or self.world.now > NOTICED):
                waiting = self._waiting(endpoint)
                if waiting:
                    raise ViolationError(f"I15 client {client} is kept waiting with {waiting}")

    @staticmethod
    def _waiting(endpoint: Endpoint) -> list[int]:
        """Heads of lanes that are not in flight, although the endpoint's own limit would let them be."""
        if endpoint.in_flight >= endpoint.health.limit:
            return []
        lanes = (lane for lane in endpoint.lanes.values() if not lane.in_flight)
        return [lane.windows[LIVE][0].offset for lane in lanes if lane.windows[LIVE]]


class ManyClientsWorld(World):
    """A world with room for many requests, in which nothing expires and no hook is disabled."""

    judge: ManyClientsJudge

    def _judge(self) -> ManyClientsJudge:
        return ManyClientsJudge(self)

    def _policy(self) -> EnginePolicy:
        return replace(
            super()._policy(),
            window_records=9_000,
            read_ahead_records=9_000,
            buffer_records=256,
            resource_buffer_records=16,
            max_resource_cursors=256,
            tail_records=1_024,
            concurrency_start=13,
            concurrency_fast_s=10.0,
            process_in_flight=PROCESS_CAP,
            client_in_flight=CLIENT_CAP,
            expire_after_s=1e6,
            disable_after_s=1e6,
            notice_every_s=1e6,  # nothing is forgotten
        )


class ManyClients(Simulation):
    """Seeds differ in whether hooks that hang are retargeted all the time, and in the order in which clients come."""

    def __init__(self, seed: int, kit: Kit | None = None) -> None:
        """Publish the hooks of all clients and start."""
        world = ManyClientsWorld(seed, kit, records=0)
        super().__init__(world)
        self.caps_judge = world.judge
        self.retargeting = seed % 2 == 1
        for row in list(world.latest.values()):
            world.publish(replace(row, revision=Revision(row.revision + 1), state=HookState.DELETED))
        for client in (*QUICK, *HANGING):
            for event in (*EVENTS, MIXED) if client in HANGING else EVENTS[:1]:
                self.hook(client, event)
        self.read_rows()
        self.coming = list(HANGING)
        world.random.shuffle(self.coming)

    # -- what happens --------------------------------------------------------------------------------------------
    def hook(self, client: int, event: str) -> None:
        """A hook with a target of its own."""
        old = self.world.latest.get((str(client), event))
        self.world.publish(
            Hook(
                id=HookId(self.world.next_hook),
                client=ClientId(str(client)),
                event=EventName(event),
                target=f"{event}-0",
                state=HookState.ENABLED,
                revision=Revision(1 if old is None else old.revision + 1),
                secrets=(),
            )
        )
        self.world.next_hook += 1

    def retarget(self) -> None:
        """One hook of some clients that hang moves to an address that was never used."""
        for client in self.world.random.sample(HANGING, 8):
            row = self.world.latest[str(client), self.world.random.choice(EVENTS)]
            self.judge.disturbed.add(row.id)
            target = f"{row.event}-{row.revision}"
            self.world.publish(replace(row, revision=Revision(row.revision + 1), target=target))
        self.read_rows()

    def read_rows(self) -> None:
        """The owner hears of every row at once."""
        while self.world.owner.table.offset < len(self.world.rows):
            self.world.read_row(self.world.owner)

    def append(self, client: int, event: str, resource: int) -> None:
        """An event of a client is routed."""
        log = self.world.logs[LIVE]
        log.append(self.world.delivery(f"e{len(log)}", self.world.latest[str(client), event], resource))

    def write(self) -> None:
        """Those that answer write at their pace; those that hang come two a tick, with a burst, and write on."""
        for client, (resources, every, first) in QUICK.items():
            if self.world.now >= first and self.world.now % every == 0:
                self.burst(client, resources, EVENTS[:1])
        if self.coming and (len(HANGING) - len(self.coming) < FIRST_WAVE or self.world.now > SECOND_WAVE_AT):
            for client in (self.coming.pop(), self.coming.pop()):
                self.burst(client, 14, EVENTS)
                self.burst(client, 1, (MIXED,))
        if self.world.now in (TURNS, ASKS_FOR_MORE):
            for client in set(HANGING) - set(self.coming):
                if client % 8 == 0:
                    self.burst(client, 1 if self.world.now == TURNS else 14, EVENTS)
        if not self.coming:
            chance = self.world.random
            self.append(chance.choice(HANGING), chance.choice(EVENTS), chance.randrange(30))

    def burst(self, client: int, resources: int, events: Iterable[str]) -> None:
        """A record of each of so many resources, for each event."""
        for resource in range(resources):
            for event in events:
                self.append(client, event, resource)

    def tick(self) -> None:
        """A tenth of a second."""
        self.world.now += 1
        owner = self.world.owner
        owner.engine.advance(float(self.world.now), self.world.wall_ms)
        if not self.world.healing:
            self.write()
            if self.retargeting and self.world.now % 2 == 0:
                self.retarget()
        self.read_all()
        for _ in range(2):
            self.send_all()
            self.caps_judge.judge_waiting_clients()
            self.land_all()
        owner.engine.end_turn()
        for _ in range(4):
            self.actions.scan()

    def read_all(self) -> None:
        """Live reading reads what there is."""
        engine, log = self.world.owner.engine, self.world.logs[LIVE]
        while (position := engine.views[LIVE].position) < len(log) and engine.room(LIVE) > 0:
            record = log[position]
            assert record is not None
            engine.read(LIVE, position, record, 100)

    def send_all(self) -> None:
        """Every request whose turn it is is made, as the worker does."""
        owner = self.world.owner
        while (post := owner.dispatcher.next()) is not None:
            self.judge.judge_send(owner, post)
        self.caps_judge.judge_caps(owner)

    def land_all(self) -> None:
        """Those that answer do so at once; the others never: their requests end by time-out."""
        flights, self.world.flights = self.world.flights, []
        for flight in flights:
            post, kinds = flight.post, self.world.kit.outcome
            age = float(self.world.now - post.sent_at)
            if self.world.healing or not self.hangs(post.endpoint):
                self.judge.judge_receipt(flight)
                self.world.owner.engine.answer(post, kinds.DELIVERED, age)
            elif age >= TIMEOUT:
                self.world.owner.engine.answer(post, kinds.FAILED, age)
            else:
                self.world.flights.append(flight)

    def hangs(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint does not answer; one in eight answers at first, and no engine can know."""
        client = int(endpoint.client_id)
        mixed = endpoint.target.startswith(MIXED)
        return client in HANGING and not mixed and (client % 8 != 0 or self.world.now >= TURNS)

    def live(self) -> None:
        """Many clients come and go on; then all endpoints are well, and everything is delivered."""
        while self.world.now < TICKS:
            self.tick()
        if self.caps_judge.most_in_flight < PROCESS_CAP // 2:
            raise ViolationError(f"I15 the many clients never fill the caps: {self.caps_judge.most_in_flight}")
        self.world.healing = True
        for _ in range(TICKS):
            self.tick()
            if all(self.judge.received[LIVE][offset] for offset in range(len(self.world.logs[LIVE]))):
                return
        raise ViolationError(f"I8 not drained: {self.world.describe()}")


def check_many_clients(seed: int, kit: Kit | None = None) -> tuple[ManyClients, str | None]:
    """Run one world of many clients; return it with the violation, if there was one."""
    world = ManyClients(seed, kit)
    try:
        world.live()
    except ViolationError as violation:
        return world, str(violation)
    return world, None
