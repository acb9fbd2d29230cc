"""Three real Kafka brokers on loopback, of which a test may lose one: replication factor 3, two in sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.kafka_broker import kafka_runner, new_cluster_id, node_properties, wait_answering, wait_listening
from tests.support.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.machine import Source

NODES = (1, 2, 3)


class KafkaCluster:
    """Nodes 1 to 3, each broker and controller. Addresses and data survive `kill` and `start`."""

    def __init__(self, source: Source, directory: Path) -> None:
        """Prepare three nodes on random ports; nothing is started yet."""
        first = free_port(neighbours=2 * len(NODES) - 1)
        self.ports = {node: first + 2 * (node - 1) for node in NODES}
        voters = ",".join(f"{node}@127.0.0.1:{port + 1}" for node, port in self.ports.items())
        cluster_id = new_cluster_id()
        self._runners = {
            node: kafka_runner(
                source,
                directory / f"node{node}",
                cluster_id=cluster_id,
                properties=node_properties(node=node, port=port, voters=voters, replicas=len(NODES)),
            )
            for node, port in self.ports.items()
        }
        self.bootstrap_servers = ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    @property
    def logs(self) -> list[Path]:
        """Where their output goes."""
        return [runner.log for runner in self._runners.values()]

    def start(self, node: int | None = None) -> None:
        """Start one node again, or all; returns when every running node answers."""
        starting = NODES if node is None else (node,)
        for number in starting:
            self._runners[number].start()
        for number in starting:  # a node listens once it has found a controller, which takes two of them
            wait_listening(self._runners[number], self.ports[number])
        wait_answering(self.bootstrap_servers, brokers=self.running)

    @property
    def running(self) -> int:
        """How many nodes run."""
        return sum(1 for runner in self._runners.values() if runner.running)

    def kill(self, node: int) -> None:
        """SIGKILL one node."""
        self._runners[node].kill()

    def pause(self, node: int) -> None:
        """Freeze one node: connections stay open and nothing answers."""
        self._runners[node].pause()

    def resume(self, node: int) -> None:
        """Thaw it."""
        self._runners[node].resume()

    def close(self) -> None:
        """End it for good."""
        for runner in self._runners.values():
            runner.close()
