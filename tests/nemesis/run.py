"""A run: parts, traffic, operators and nemesis together, until the time is over and everything has arrived."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from hookstream.producers.registry import SchemaRegistry
from tests.nemesis.book import Book
from tests.nemesis.breaking import TICK_S, Nemesis
from tests.nemesis.endpoints import KINDS, Endpoints, path_of
from tests.nemesis.history import DeadLettered, Finished, HistoryFile, HookMade, Run, State
from tests.nemesis.operators import Operators
from tests.nemesis.parts import Parts
from tests.nemesis.plan import ROLES, commands, faults
from tests.nemesis.traffic import Traffic
from tests.nemesis.watcher import Watcher, dead_letters
from tests.support.deployment import Caller
from tests.support.repository import ROOT
from tests.support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_EVENTS = ("lead.new", "property.updated")
_SETTLE_EVERY_S = 10.0
_MOST_ASKED = 200
CLIENTS = len(KINDS) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to run. `rate`: events a second; `settle_s`: how long to wait at the end for what is pending."""

    seed: int
    minutes: float
    rate: float
    settle_s: float
    directory: Path


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown while it runs."""

    elapsed_s: float
    phase: str
    acknowledged: int
    arrived: int
    faults: int
    broken: list[str]


def commit_of_code() -> str:
    """The short name of the commit that runs."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - the developer's own git
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def run(options: Options, path: Path, show: Callable[[Shown], None]) -> None:
    """Run to the end, and leave the history at `path`; an interrupted run leaves what it has."""
    with ExitStack() as stack:
        parts = Parts(options.directory)
        stack.callback(parts.close)
        history, book = HistoryFile(path), Book()
        stack.callback(history.close)
        history.add(Run(history.now, options.seed, options.minutes, commit_of_code(), time.time() - history.now))
        endpoints = stack.enter_context(Endpoints(history, book, options.seed))
        network = stack.enter_context(TcpProxy(endpoints.port))
        for name in ROLES:
            if name != "outbox-relay-1":
                parts.start(name)
        traffic = Traffic(parts, history, book, options.seed)
        parts.start("outbox-relay-1")
        for name in ROLES:
            parts.role(name).wait_ready(120)
        operators = Operators(Caller(parts.role("api-1").url, parts.deployment.token("operator")), history, book)
        hooks = _register(operators, endpoints, network)
        _Course(options, parts, history, book, show).run(endpoints, network, traffic, operators, hooks)


def _register(operators: Operators, endpoints: Endpoints, network: TcpProxy) -> list[HookMade]:
    hooks = []
    for index, kind in enumerate(KINDS):
        client = 1 + index % CLIENTS
        path = path_of(index, client)
        target = f"http://{network.address}/{path}" if kind.proxied else endpoints.url(path)
        hooks.append(operators.register(index, client, _EVENTS[index // CLIENTS], target, f"/{path}"))
    operators.wait_effective(hooks[-1])
    return hooks


@dataclass
class _Course:
    """The phases of a run."""

    options: Options
    parts: Parts
    history: HistoryFile
    book: Book
    show: Callable[[Shown], None]
    registry: SchemaRegistry = field(init=False)

    def run(
        self,
        endpoints: Endpoints,
        network: TcpProxy,
        traffic: Traffic,
        operators: Operators,
        hooks: list[HookMade],
    ) -> None:
        """Break things for as long as was asked, then let everything arrive."""
        self.registry = SchemaRegistry(self.parts.registry.url)
        options, began = self.options, self.history.now
        plan = [replace(step, at=step.at + began) for step in faults(options.seed, options.minutes)]
        asked = [replace(each, at=each.at + began) for each in commands(options.seed, options.minutes)]
        nemesis = Nemesis(self.parts, network, self.history, plan)
        watcher = Watcher(self.parts, self.history)
        by_outbox = [hook for hook in hooks if KINDS[int(hook.path.split("/")[1])].outbox]
        traffic.start([hook for hook in hooks if hook not in by_outbox], by_outbox, options.rate)
        operators.start(hooks, asked)
        ends = began + options.minutes * 60
        self._until(lambda: self.history.now >= ends, nemesis, "under the nemesis")
        nemesis.heal_all()
        traffic.stop()
        self._until(lambda: not nemesis.broken, nemesis, "everything gets ready")
        operators.stop()
        endpoints.healed = True
        self._settle(nemesis, operators)
        watcher.stop()
        self._write_ends(operators)

    def _until(self, over: Callable[[], bool], nemesis: Nemesis, phase: str) -> None:
        while not over():
            nemesis.tick()
            acknowledged, arrived = self.book.counts
            self.show(Shown(self.history.now, phase, acknowledged, arrived, nemesis.count, nemesis.broken))
            time.sleep(TICK_S)

    def _settle(self, nemesis: Nemesis, operators: Operators) -> None:
        """Wait until everything has arrived, and have it attempted at once now and then."""
        ends, again = self.history.now + self.options.settle_s, self.history.now

        def settled() -> bool:
            nonlocal again
            if not self.book.pending() and not operators.replaying:
                return True
            if self.history.now >= again:
                operators.settle()
                with suppress(KafkaException):
                    self.book.dead(delivery for delivery, _ in dead_letters(self.parts, self.registry))
                again = self.history.now + _SETTLE_EVERY_S
            return self.history.now >= ends

        self._until(settled, nemesis, "what is pending arrives")

    def _write_ends(self, operators: Operators) -> None:
        for delivery, reason in dead_letters(self.parts, self.registry):
            self.history.add(DeadLettered(self.history.now, delivery, reason))
        for delivery in list(self.book.pending())[:_MOST_ASKED]:
            self.history.add(State(self.history.now, delivery, operators.state_of(delivery)))
        self.history.add(Finished(self.history.now))
