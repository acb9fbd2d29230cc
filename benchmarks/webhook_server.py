"""A webhook server end to end beside hookstream's whole pipeline: `python -m benchmarks server [--quick]`.

The same events are published through each one's HTTP API, to the same receiver, over the same number of connections:
ten clients, one endpoint each. hookstream runs as api, router, deliver and attempt-log, with its broker and its
database; WebhookX as one process with its database and Redis. First everything is published as fast as it is accepted,
once as a simple user does and once the fastest way that each has: lists of 100 events, or a source that acknowledges
what only Redis has. Then a rate is kept: while everybody is well, while one target of ten answers 503 and for a while
after it is well again, and while all of the sender's own processes are killed by SIGKILL and started again at once; the
load publishes again what was not accepted, with the same ids. CPU is told of each process, databases, Redis and broker
included, per delivery.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import httpx

from benchmarks import webhookx as peer
from benchmarks.figures import Figure, of_peer, ratios
from benchmarks.http_load import HOOKSTREAM, WEBHOOKX, Plan
from benchmarks.load import EVENT
from benchmarks.postgres import database
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import shared, wait_received
from benchmarks.stack import READY_WITHIN_S, Stack, broker, done_by, until
from benchmarks.usage import children, family_cpu_seconds, family_mib
from hookstream.schemas.event import ClientId
from hookstream.subscriptions.database import open_database, open_sessions, transact
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import Role as TokenRole
from hookstream.subscriptions.tokens import TokenRequest, issue_token
from tests.support.processes import free_port

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from benchmarks.stack import Received, Role
    from tests.support.processes import Process

T = TypeVar("T")
CLIENTS = range(1, 11)
FAILING, WELL = 1, range(2, 11)
PUBLISHER = 0
BROKEN = 503
BATCH = 100
WARM_UP = 500
SETTLED_S = 20.0
# So many to a client that each of them comes several times in every scene: else there is no order to keep.
RESOURCES = 20
# How long each target takes in the scene of the kill, so that requests are under way when it comes.
ANSWER_S = 0.1
# A target is level with the load when it has what was due so long ago.
LEVEL_S = 1.0
NAME = "WebhookX "
SERVERS = ("database", "broker", "redis")
ROLES = ("router", "deliver", "attempt-log")
MORE_IS_WORSE = (
    "CPU", "fastest CPU", "memory", "memory of its own processes", "p50", "p99", "others' p99", "others' max",
    "requests to the dead target", "backlog after healing", "ready again", "gap of the kill", "all after the kill",
)  # fmt: skip
MORE_IS_BETTER = ("accepted", "delivered", "fastest accepted", "fastest delivered")
SIZES = (
    Size("events", 20_000, 1_000, "events published as fast as they are accepted"),
    Size("connections", 16, 16, "connections of the load"),
    Size("rate", 200.0, 100.0, "events a second of the other scenes"),
    Size("healthy-seconds", 30.0, 3.0, "how long everybody is well"),
    Size("dead-seconds", 45.0, 5.0, "how long one target is dead"),
    Size("after-seconds", 15.0, 4.0, "how long the load goes on after healing"),
    Size("kill-seconds", 30.0, 6.0, "how long the load lasts in which everything is killed, half-way"),
    Size("retry-seconds", 60, 7, "after how long WebhookX tries again what failed; 60 is its own choice"),
    Size("settle-seconds", 150.0, 15.0, "how long to wait for what is missing after healing and after the kill"),
)


@dataclass(slots=True, kw_only=True)
class Side:
    """A sender that runs: how to publish to it, its processes by name, and how to kill and start it.

    `plan` and `fastest` have no events yet.
    """

    stack: Stack
    plan: Plan
    fastest: Plan
    parts: Mapping[str, Sequence[int]]
    kill_and_start: Callable[[], None]
    published: int = field(default=0)

    def next(self, plan: Plan, events: int, rate_per_s: float = 0.0, *, ids: bool = False) -> Plan:
        """The plan of the next load; its events are numbered after those of the one before."""
        found = replace(plan, events=events, rate_per_s=rate_per_s, ids=ids, first=self.published)
        self.published += events
        return found

    def load(self, plan: Plan) -> Process:
        """Begin to publish, with the receiver's counts at zero."""
        self.stack.receiver.reset(keep=True)
        return self.stack.processes.python("-m", "benchmarks.http_load", plan.json(), name="load")

    def cpu_s(self) -> dict[str, float]:
        """CPU time so far, by part."""
        return {name: sum(map(family_cpu_seconds, pids)) for name, pids in self.parts.items()}


@contextmanager
def noticed(what: AbstractContextManager[T]) -> Iterator[tuple[T, Sequence[int]]]:
    """Enter a context; beside what it gives, the processes that it started: none where they run in a container."""
    before = children(os.getpid())
    with what as found:
        yield found, [pid for pid in children(os.getpid()) if pid not in before]


@contextmanager
def ours(servers: str, brokers: Sequence[int], options: argparse.Namespace) -> Iterator[Side]:
    """hookstream, all of it."""
    with ExitStack() as closing:
        stack = closing.enter_context(Stack(servers))
        url, databases = closing.enter_context(noticed(database()))
        tokens, port = tokens_of(url), free_port()
        also = {"DATABASE_URL": url, "API_PORT": str(port), "API_PUBLISH_RATE": "0"}
        running: dict[str, Process] = {}

        def start() -> None:
            running["api"] = stack.role("api", also=also).process
            roles: dict[str, Role] = {name: stack.role(name, also={"DATABASE_URL": url}) for name in ROLES}
            running.update({name: role.process for name, role in roles.items()})
            for role in roles.values():
                role.wait_ready()
            running["api"].wait_ready(f"http://127.0.0.1:{port}/readyz", READY_WITHIN_S)

        def kill_and_start() -> None:
            for process in running.values():
                process.kill()
            start()

        start()
        for client in CLIENTS:
            register(port, tokens[client], f"{stack.receiver.url}/t/{client}")
        plan = Plan(
            port=port,
            kind=HOOKSTREAM,
            path="/events",
            token=tokens[PUBLISHER],
            clients=tuple(CLIENTS),
            events=0,
            resources=RESOURCES,
            connections=options.connections,
        )
        parts = {name: (process.pid,) for name, process in running.items()}
        yield Side(
            stack=stack,
            plan=plan,
            fastest=replace(plan, batch=BATCH),
            parts={**parts, "database": databases, "broker": brokers},
            kill_and_start=kill_and_start,
        )
        for process in running.values():
            process.terminate(60.0)


def tokens_of(url: str) -> dict[int, str]:
    """Make the tables, and tokens: of each client, and of a service that may publish."""
    migrate(url)
    engine = open_database(url)
    sessions = open_sessions(engine)

    def issue(role: TokenRole, client: int) -> str:
        of = None if client == PUBLISHER else ClientId(str(client))
        request = TokenRequest(role=role, client=of, name="x", expires_at_ms=None)
        return transact(sessions, lambda s: issue_token(s, request, actor="benchmark", now_ms=1)).token

    found = {client: issue(TokenRole.INTEGRATOR, client) for client in CLIENTS}
    found[PUBLISHER] = issue(TokenRole.PLATFORM, PUBLISHER)
    engine.dispose()
    return found


def register(port: int, token: str, target: str) -> None:
    """Register a hook, and wait until every router works by it.

    Raises:
        NotMeasuredError: not in time.
    """
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {token}"}, timeout=30.0
    ) as api:
        made = api.post("/hooks", json={"hook": {"event": EVENT, "target": target}}).raise_for_status()
        place = f"/hooks/{made.json()['hook']['id']}"
        until(lambda: bool(api.get(place).json()["hook"]["effective"]), READY_WITHIN_S, what=f"{place} effective")


@contextmanager
def theirs(servers: str, options: argparse.Namespace) -> Iterator[Side]:
    """WebhookX. The broker idles meanwhile."""
    with ExitStack() as closing:
        stack = closing.enter_context(Stack(servers))
        url, databases = closing.enter_context(noticed(database()))
        found = closing.enter_context(peer.webhookx(stack, url, CLIENTS, retry_s=options.retry_seconds))

        def kill_and_start() -> None:
            found.server.kill()
            found.start()

        plan = Plan(
            port=found.ports.proxy,
            kind=WEBHOOKX,
            path=peer.SYNCHRONOUS,
            clients=tuple(CLIENTS),
            events=0,
            resources=RESOURCES,
            connections=options.connections,
        )
        yield Side(
            stack=stack,
            plan=plan,
            fastest=replace(plan, path=peer.ASYNCHRONOUS),
            parts={"webhookx": (found.server.pid,), "database": databases, "redis": (found.redis.pid,)},
            kill_and_start=kill_and_start,
        )


def all_arrived(side: Side, load: Process, events: int, deadline_s: float) -> tuple[dict[str, float], Received]:
    """Wait for a load, then for what it published; what it did and what arrived."""
    done = done_by(load, deadline_s + 60.0)
    wait_received(side.stack, CLIENTS, events, deadline_s)
    return done, side.stack.receiver.stats()


def burst(side: Side, plan: Plan, events: int, options: argparse.Namespace) -> list[Figure]:
    """Publish as fast as it is accepted."""
    before = side.cpu_s()
    done, found = all_arrived(side, side.load(side.next(plan, events)), events, options.settle_seconds)
    after = side.cpu_s()
    each = {name: (after[name] - before[name]) / max(1, found.distinct) * 1e6 for name in after if side.parts[name]}
    return [
        Figure(name="accepted", value=done["rate"], unit="/s"),
        Figure(name="delivered", value=found.distinct / found.seconds if found.seconds else 0.0, unit="/s"),
        Figure(name="CPU", value=sum(each.values()), unit="µs/delivery"),
        *(Figure(name=f"CPU of {name}", value=value, unit="µs/delivery") for name, value in each.items()),
        Figure(name="CPU of the load", value=done["cpu_s"] / events * 1e6, unit="µs/event"),
        *counts("", events, found),
    ]


def counts(name: str, events: int, found: Received) -> list[Figure]:
    """What must be none."""
    return [
        Figure(name=f"{name}lost", value=events - found.distinct, at_most=0),
        Figure(name=f"{name}duplicates", value=found.duplicates),
        Figure(name=f"{name}out of order", value=found.out_of_order, at_most=0),
    ]


def healthy(side: Side, options: argparse.Namespace) -> list[Figure]:
    """Keep the rate while everybody is well."""
    events = int(options.rate * options.healthy_seconds)
    load = side.load(side.next(side.plan, events, options.rate))
    _, found = all_arrived(side, load, events, options.healthy_seconds + SETTLED_S)
    return [
        Figure(name="p50", value=found.p50_ms, unit="ms"),
        Figure(name="p99", value=found.p99_ms, unit="ms"),
        *counts("healthy ", events, found),
    ]


def dead(side: Side, options: argparse.Namespace) -> list[Figure]:
    """Keep the rate while one target is dead, heal it, and keep the rate for a while longer."""
    receiver, seconds = side.stack.receiver, options.dead_seconds + options.after_seconds
    events = int(options.rate * seconds)
    wanted, owed = (shared(events, CLIENTS, of) for of in (WELL, (FAILING,)))
    receiver.fault(FAILING, status=BROKEN)
    load = side.load(side.next(side.plan, events, options.rate))
    began = time.monotonic()
    time.sleep(options.dead_seconds)
    others, knocks = receiver.stats(only=WELL), len(receiver.refusals(FAILING))
    receiver.heal(FAILING)
    healed_s = time.monotonic() - began
    behind = shared(int(options.rate * healed_s), CLIENTS, (FAILING,)) - receiver.count(only=(FAILING,)).distinct

    def level() -> bool:
        due = int(options.rate * min(seconds, time.monotonic() - began - LEVEL_S))
        return receiver.count(only=(FAILING,)).distinct >= shared(due, CLIENTS, (FAILING,))

    back_s = seconds_until(level, options.settle_seconds)
    done_by(load, seconds + 60.0)
    wait_received(side.stack, WELL, wanted, SETTLED_S)
    wait_received(side.stack, (FAILING,), owed, SETTLED_S)
    backlog, everybody = receiver.stats(only=(FAILING,)), receiver.stats()
    return [
        Figure(name="others' p99", value=others.p99_ms, unit="ms"),
        Figure(name="others' max", value=others.max_ms, unit="ms"),
        Figure(name="others not delivered", value=wanted - receiver.count(only=WELL).distinct, at_most=0),
        Figure(name="requests to the dead target", value=knocks / healed_s * 60, unit="/min"),
        Figure(name="backlog", value=behind),
        Figure(name="backlog after healing", value=back_s, unit="s"),
        Figure(name="its events not delivered", value=owed - backlog.distinct, at_most=0),
        Figure(name="dead out of order", value=everybody.out_of_order, at_most=0),
        Figure(name="dead duplicates", value=everybody.duplicates),
    ]


def seconds_until(happened: Callable[[], bool], deadline_s: float) -> float:
    """How long it took until something happened; the deadline where it did not."""
    began = time.monotonic()
    while not happened() and time.monotonic() - began < deadline_s:
        time.sleep(0.05)
    return time.monotonic() - began


def kill(side: Side, options: argparse.Namespace) -> list[Figure]:
    """Keep the rate while everything of the sender's own is killed and started again; targets take their time."""
    receiver, events = side.stack.receiver, int(options.rate * options.kill_seconds)
    load = side.load(side.next(side.plan, events, options.rate, ids=True))
    receiver.fault("*", delay_s=ANSWER_S)
    time.sleep(options.kill_seconds / 2)
    killed = time.monotonic()
    side.kill_and_start()
    ready_s = time.monotonic() - killed
    done = done_by(load, options.kill_seconds + 120.0)
    wait_received(side.stack, CLIENTS, events, options.settle_seconds)
    all_s, found = time.monotonic() - killed, receiver.stats()
    receiver.heal("*")
    return [
        *counts("kill ", events, found),
        Figure(name="ready again", value=ready_s, unit="s"),
        Figure(name="gap of the kill", value=found.max_ms / 1000, unit="s"),
        Figure(name="all after the kill", value=all_s, unit="s"),
        Figure(name="requests repeated", value=done["repeated"]),
    ]


def everything(side: Side, options: argparse.Namespace) -> list[Figure]:
    """All scenes of one side, after a warm-up of both ways."""
    for plan in (side.plan, side.fastest):
        burst(side, plan, WARM_UP, options)
    plain = burst(side, side.plan, options.events, options)
    fastest = burst(side, side.fastest, options.events, options)
    memory = {name: sum(map(family_mib, pids)) for name, pids in side.parts.items()}
    own = sum(mib for name, mib in memory.items() if name not in SERVERS)
    return [
        *plain,
        *(replace(each, name=f"fastest {each.name}") for each in fastest),
        Figure(name="memory", value=sum(memory.values()), unit="MiB"),
        Figure(name="memory of its own processes", value=own, unit="MiB"),
        *healthy(side, options),
        *dead(side, options),
        *kill(side, options),
    ]


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Ours, then theirs, with the same broker and receiver."""
    reason = "WebhookX left out" if options.no_peer else peer.missing()
    with noticed(broker()) as (servers, brokers):
        with ours(servers, brokers, options) as side:
            own = everything(side, options)
        if reason is not None:
            return own, [reason]
        with theirs(servers, options) as side:
            found = everything(side, options)
    compared = [*ratios(own, found, MORE_IS_WORSE), *ratios(found, own, MORE_IS_BETTER)]
    return [*own, *of_peer(NAME, [*found, *compared])], [peer.version()]


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-peer", action="store_true", help="leave WebhookX out")


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES, more=_more)
    main("server", chosen, lambda: measure(chosen))
