"""Faults: how each is begun and ended on the real parts."""

from __future__ import annotations

import heapq
import itertools
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.nemesis.history import Ended, Fault, Healed
from tests.nemesis.parts import GROUPS, NODES
from tests.support.processes import ProcessFailedError, http_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.nemesis.history import HistoryFile
    from tests.nemesis.parts import Parts
    from tests.nemesis.plan import Step
    from tests.support.tcp_proxy import TcpProxy

TICK_S = 0.2
_READY_WITHIN_S = 90.0  # of time without any other fault
_SLOW_S = 0.3
_JUMP_S = 3600
_PROBE_S = 0.5


@dataclass
class _Recovering:
    """A role that has to get ready before its fault is over; `waited_s` counts undisturbed time."""

    fault: int
    role: str
    waited_s: float = 0.0


class Nemesis:
    """Breaks and heals by plan; `tick` is called often, from the main thread, which starts all processes."""

    def __init__(self, parts: Parts, endpoints_network: TcpProxy, history: HistoryFile, plan: Sequence[Step]) -> None:
        """Nothing is broken yet."""
        self._parts, self._network, self._history = parts, endpoints_network, history
        self._plan = list(plan)
        self._numbers = itertools.count(1)
        self._active: list[tuple[float, int, Step]] = []
        self._recovering: list[_Recovering] = []
        self._down: set[str] = set()
        self._ticked = time.monotonic()
        self._count = 0
        self.skipped = 0

    @property
    def broken(self) -> list[str]:
        """What is broken at present, for people."""
        return [f"{step.kind} {step.on}" for _, _, step in self._active] + [
            f"{each.role} gets ready" for each in self._recovering
        ]

    @property
    def count(self) -> int:
        """How many faults there were."""
        return self._count

    def tick(self) -> None:
        """Begin and end what is due, and look after roles."""
        now = self._history.now
        while self._active and self._active[0][0] <= now:
            _, fault, step = heapq.heappop(self._active)
            self._heal(fault, step)
        while self._plan and self._plan[0].at <= now:
            self._break(self._plan.pop(0))
        self._look_after_roles()

    def heal_all(self) -> None:
        """End every fault, and begin no more."""
        self._plan.clear()
        while self._active:
            _, fault, step = heapq.heappop(self._active)
            self._heal(fault, step)

    # -- faults --------------------------------------------------------------------------------------------------

    def _break(self, step: Step) -> None:
        struck = {each.on for _, _, each in self._active} | {each.role for each in self._recovering}
        if step.on in struck or ("net-" in step.on and any("net-" in each for each in struck)):
            self.skipped += 1
            return
        fault = next(self._numbers)
        self._count = fault
        self._history.add(Fault(self._history.now, fault, step.kind, step.on))
        self._begin(step)
        heapq.heappush(self._active, (self._history.now + step.lasts, fault, step))

    def _begin(self, step: Step) -> None:
        where = step.on.partition("-")[0]
        if where == "net" or step.on == "endpoints":
            self._break_network(step)
        elif where == "broker":
            self._break_broker(step)
        elif step.on in ("database", "registry"):
            server = self._parts.database if step.on == "database" else self._parts.registry
            {"kill": server.kill, "suspend": server.pause, "restart": server.stop}[step.kind]()
        elif where == "topic":
            self._delete_topic()
        else:
            self._break_role(step)

    def _break_role(self, step: Step) -> None:
        if step.kind == "join":
            self._parts.start(step.on)
            return
        process = self._parts.role(step.on).process
        match step.kind:
            case "kill":
                self._down.add(step.on)
                process.kill()
            case "restart":
                self._down.add(step.on)
                self._terminate(step.on)
            case "suspend":
                process.pause()
            case _:
                sign = step.kind[-1]
                self._parts.running[step.on].offset.write_text(f"{sign}{_JUMP_S}")

    def _break_broker(self, step: Step) -> None:
        runner = self._parts.cluster.runner(int(step.on[-1]))
        acts = {"kill": runner.kill, "suspend": runner.pause, "restart": runner.stop, "full-disk": runner.fill_disk}
        acts[step.kind]()

    def _break_network(self, step: Step) -> None:
        for proxy in self._proxies(step):
            if step.kind.startswith("cut"):
                proxy.cut()
            elif step.kind == "blackhole":
                proxy.blackhole()
            else:
                proxy.slow(_SLOW_S)

    def _proxies(self, step: Step) -> list[TcpProxy]:
        if step.on == "endpoints":
            return [self._network]
        group = step.on.partition("-")[2]
        assert group in GROUPS
        nodes = NODES[:1] if step.kind == "cut-node" else NODES
        return [self._parts.cluster.proxies[group, node] for node in nodes]

    def _heal(self, fault: int, step: Step) -> None:
        where = step.on.partition("-")[0]
        if where == "net" or step.on == "endpoints":
            for proxy in self._proxies(step):
                proxy.heal()
        elif where == "broker":
            self._heal_broker(step)
        elif step.on in ("database", "registry"):
            server = self._parts.database if step.on == "database" else self._parts.registry
            if step.kind == "suspend":
                server.resume()
            else:
                server.start()
        elif where == "topic":
            self._parts.deployment.run("topics", "create")
        else:
            self._heal_role(fault, step)
            return
        self._history.add(Healed(self._history.now, fault))

    def _heal_broker(self, step: Step) -> None:
        node = int(step.on[-1])
        runner = self._parts.cluster.runner(node)
        if step.kind == "suspend":
            runner.resume()
            return
        if step.kind == "full-disk":
            runner.kill()
        self._parts.cluster.start(node)

    def _heal_role(self, fault: int, step: Step) -> None:
        match step.kind:
            case "join":
                self._down.add(step.on)
                self._terminate(step.on)
                self._history.add(Healed(self._history.now, fault))
                return
            case "kill" | "restart":
                self._down.discard(step.on)
                self._parts.start(step.on)
            case "suspend":
                self._parts.role(step.on).process.resume()
            case _:
                self._parts.running[step.on].offset.write_text("+0")
        self._recovering.append(_Recovering(fault, step.on))

    def _terminate(self, name: str) -> None:
        process = self._parts.role(name).process
        try:
            code = process.terminate(40.0)
            if code:
                self._history.add(Ended(self._history.now, name, code, "after SIGTERM"))
        except ProcessFailedError:
            self._history.add(Ended(self._history.now, name, -1, "still runs 40 s after SIGTERM"))
            process.kill()

    def _delete_topic(self) -> None:
        client = AdminClient({"bootstrap.servers": self._parts.cluster.bootstrap_servers})
        topic = self._parts.deployment.topics.attempts
        with suppress(KafkaException):
            for done in client.delete_topics([topic], operation_timeout=10.0).values():
                done.result()

    # -- roles ---------------------------------------------------------------------------------------------------

    def _look_after_roles(self) -> None:
        now = time.monotonic()
        passed, self._ticked = now - self._ticked, now
        for name, running in self._parts.running.items():
            if name not in self._down and running.role is not None and not running.role.process.running:
                self._restart(name)
        for each in list(self._recovering):
            running = self._parts.running[each.role]
            if http_status(f"http://127.0.0.1:{running.port}/readyz", timeout_s=_PROBE_S) == 200:
                self._recovering.remove(each)
                self._history.add(Healed(self._history.now, each.fault))
            elif not self._active:
                each.waited_s += passed
                if each.waited_s > _READY_WITHIN_S:
                    self._recovering.remove(each)
                    self._history.add(Ended(self._history.now, each.role, -1, self._why(each.role)))
                    self._history.add(Healed(self._history.now, each.fault))

    def _restart(self, name: str) -> None:
        """A role ended that was not asked to: write it down, and start it, as a process manager does."""
        process = self._parts.role(name).process
        code = process.exit_code or 0
        self._history.add(Ended(self._history.now, name, code, process.log_tail(1)[-500:]))
        fault = next(self._numbers)
        self._history.add(Fault(self._history.now, fault, "ended", name))
        self._parts.start(name)
        self._recovering.append(_Recovering(fault, name))

    def _why(self, name: str) -> str:
        return self._parts.role(name).unready_because()[:500]
