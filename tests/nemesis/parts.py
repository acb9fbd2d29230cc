"""The real parts of a run: three brokers behind proxies, a registry, a database, and the roles as processes."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hookstream.schemas.topics import TopicNames
from tests.nemesis.plan import CLOCKS
from tests.support import machine
from tests.support.deployment import Deployment, Role
from tests.support.forks import ForkServer
from tests.support.kafka_broker import kafka_runner, new_cluster_id, node_properties, wait_answering, wait_listening
from tests.support.machine import Part, Source
from tests.support.postgres import new_database, server_of
from tests.support.processes import Processes, free_port
from tests.support.registry import ApicurioRegistry
from tests.support.runners import Runner
from tests.support.tcp_proxy import TcpProxy

NODES = (1, 2, 3)
GROUPS = ("router", "deliver", "others")


class ProxiedCluster:
    """Three brokers; each group of roles has its own listener on each of them, behind a proxy of its own."""

    def __init__(self, source: Source, directory: Path) -> None:
        """Start them."""
        each = 2 + len(GROUPS)
        first = free_port(neighbours=each * len(NODES) - 1)
        self.ports = {node: first + each * (node - 1) for node in NODES}
        self.proxies = {
            (group, node): TcpProxy(self.ports[node] + 2 + at) for node in NODES for at, group in enumerate(GROUPS)
        }
        voters = ",".join(f"{node}@127.0.0.1:{port + 1}" for node, port in self.ports.items())
        cluster_id = new_cluster_id()
        self._runners: dict[int, Runner] = {
            node: kafka_runner(
                source, directory / f"node{node}", cluster_id=cluster_id, properties=self._properties(node, voters)
            )
            for node in NODES
        }
        self.bootstrap_servers = ",".join(f"127.0.0.1:{port}" for port in self.ports.values())
        for runner in self._runners.values():
            runner.start()
        for node in NODES:
            wait_listening(self._runners[node], self.ports[node])
        wait_answering(self.bootstrap_servers, brokers=len(NODES), deadline_s=120)

    def _properties(self, node: int, voters: str) -> dict[str, str]:
        port = self.ports[node]
        found = node_properties(node=node, port=port, voters=voters, replicas=len(NODES))
        for at, group in enumerate(GROUPS):
            name = group.upper()
            found["listeners"] += f",{name}://127.0.0.1:{port + 2 + at}"
            found["advertised.listeners"] += f",{name}://{self.proxies[group, node].address}"
            found["listener.security.protocol.map"] += f",{name}:PLAINTEXT"
        return found | {"inter.broker.listener.name": "PLAINTEXT"}

    def servers_of(self, group: str) -> str:
        """Where a group of roles finds the brokers."""
        return ",".join(self.proxies[group, node].address for node in NODES)

    def runner(self, node: int) -> Runner:
        """What runs a broker."""
        return self._runners[node]

    def start(self, node: int) -> None:
        """Start a broker again, and wait until it listens."""
        self._runners[node].start()
        wait_listening(self._runners[node], self.ports[node], deadline_s=120)

    def close(self) -> None:
        """End them all."""
        for runner in self._runners.values():
            runner.close()
        for proxy in self.proxies.values():
            proxy.close()


@dataclass
class Running:
    """A role that is kept running, on the same port each time; `offset` is the file that moves its clock."""

    name: str
    command: str
    group: str
    port: int
    offset: Path
    role: Role | None = None


class Parts:
    """Everything that runs. Close it, or everything ends with this process."""

    def __init__(self, directory: Path) -> None:
        """Start what roles need, make topics and tables; the roles are started by `start`."""
        self._stack = ExitStack()
        self.directory = directory
        self.running: dict[str, Running] = {}
        try:
            self.cluster = ProxiedCluster(_source(Part.KAFKA), directory / "kafka")
            self._stack.callback(self.cluster.close)
            self.registry = ApicurioRegistry(_source(Part.REGISTRY), directory / "registry")
            self._stack.callback(self.registry.close)
            self.registry.start()
            self.database = server_of(_source(Part.POSTGRES), directory)
            self._stack.callback(self.database.close)
            self.database.start()
            # Starting a role takes seconds of CPU, a fork none; a clock is moved before a role is imported.
            for folder in ("forked", "started"):
                (directory / folder).mkdir(parents=True)
            self._forked = Processes(directory / "forked", self._stack.enter_context(ForkServer(directory)))
            self._stack.callback(self._forked.close)
            self._started = Processes(directory / "started")
            self._stack.callback(self._started.close)
            self.outbox_url = self._stack.enter_context(contextmanager(new_database)(self.database.url))
            self.deployment = Deployment(
                self.cluster.bootstrap_servers,
                self.registry.url,
                self._stack.enter_context(contextmanager(new_database)(self.database.url)),
                TopicNames("nemesis."),
                self._forked,
            )
            self.deployment.env |= {
                "HOOKSTREAM_ATTEMPT_TIMEOUT_S": "5",
                "HOOKSTREAM_DENIED_TARGET_NETWORKS": "",
                "HOOKSTREAM_LOG_FORMAT": "json",
            }
            self.deployment.prepare()
        except BaseException:
            self.close()
            raise

    def start(self, name: str) -> Role:
        """Start a role, or start it again."""
        running = self.running.get(name)
        if running is None:
            command = name.rpartition("-")[0]
            group = command if command in GROUPS else "others"
            running = self.running[name] = Running(name, command, group, free_port(), self.directory / f"{name}.clock")
            running.offset.write_text("+0")
        own = "HOOKSTREAM_API_PORT" if running.command == "api" else "HOOKSTREAM_METRICS_PORT"
        env = self.deployment.env | {
            own: str(running.port),
            "HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS": self.cluster.servers_of(running.group),
        }
        if running.command == "outbox-relay":
            env["HOOKSTREAM_DATABASE_URL"] = self.outbox_url
        if name in CLOCKS:
            module = ("-m", "tests.nemesis.shifted_clock", running.offset, running.command)
            process = self._started.python(*module, env=env, name=name)
        else:
            process = self._forked.hookstream(running.command, env=env)
        running.role = Role(process, running.port)
        return running.role

    def role(self, name: str) -> Role:
        """A role that was started."""
        role = self.running[name].role
        assert role is not None
        return role

    def close(self) -> None:
        """End everything."""
        self._stack.close()


def _source(part: Part) -> Source:
    source = machine.choose(machine.own(machine.ORDER[part]), lambda each: machine.available(part, each))
    if source is None:
        raise RuntimeError(machine.missing(part))
    return source
