"""A broker with two ways to it: a direct one for the test, and one through a proxy that the test breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.kafka_broker import kafka_runner, new_cluster_id, node_properties, wait_answering, wait_listening
from tests.support.processes import free_port
from tests.support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.machine import Source


class ProxiedKafka:
    """`bootstrap_servers` is the direct way, `proxied_servers` leads to a listener that advertises the proxy."""

    def __init__(self, source: Source, directory: Path) -> None:
        """Start a broker and its proxy."""
        port = free_port(neighbours=2)
        behind = port + 2
        self.proxy = TcpProxy(behind)
        properties = node_properties(node=1, port=port, voters=f"1@127.0.0.1:{port + 1}")
        properties |= {
            "listeners": f"{properties['listeners']},PROXIED://127.0.0.1:{behind}",
            "advertised.listeners": f"{properties['advertised.listeners']},PROXIED://{self.proxy.address}",
            "listener.security.protocol.map": f"{properties['listener.security.protocol.map']},PROXIED:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self.proxied_servers = self.proxy.address
        self._runner = kafka_runner(source, directory, cluster_id=new_cluster_id(), properties=properties)
        self.log = self._runner.log
        self._runner.start()
        wait_listening(self._runner, port)
        wait_answering(self.bootstrap_servers)

    def close(self) -> None:
        """End both."""
        self._runner.close()
        self.proxy.close()
