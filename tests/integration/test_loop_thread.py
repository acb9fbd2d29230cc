"""The tests' servers end with every socket closed, also one that they accepted a moment ago."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.delivery.test_hostile_network import HEAD, hostile_servers
from tests.support.hostile_server import endless, silent
from tests.support.targets import Targets
from tests.support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_ROUNDS = 20


@pytest.fixture
def nothing_left_open() -> Iterator[None]:
    """Nothing that was opened meanwhile is collected unclosed."""
    gc.collect()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(warning.message) for warning in seen] == []


def _connect_on(ports: list[int], clients: list[socket.socket]) -> None:
    for port in ports * 10:
        with suppress(OSError):
            clients.append(socket.create_connection(("127.0.0.1", port), timeout=1.0))
            clients[-1].sendall(b"POST / HTTP/1.1\r\n\r\n")


def _end_among_clients(server: AbstractContextManager[object], ports: list[int], moment_s: float) -> None:
    """Let clients connect on while a server that listens ends."""
    clients: list[socket.socket] = []
    connecting = threading.Thread(target=_connect_on, args=(ports, clients))
    connecting.start()
    connecting.join(moment_s)
    server.__exit__(None, None, None)
    connecting.join()
    for client in clients:
        client.close()


@pytest.mark.usefixtures("nothing_left_open")
def test_targets_that_end_while_clients_connect_leave_nothing_open() -> None:
    for turn in range(_ROUNDS):
        targets = Targets().__enter__()
        _end_among_clients(targets, [targets.port], turn % 4 / 4000)


@pytest.mark.usefixtures("nothing_left_open")
def test_hostile_servers_that_end_while_clients_connect_leave_nothing_open() -> None:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    for turn in range(_ROUNDS):
        servers = hostile_servers({"silent": silent, "endless": endless(HEAD, b"x" * 65536)}, certificate)
        ports = [server.port for server in servers.__enter__().values()]
        _end_among_clients(servers, ports, turn % 4 / 1000)


@pytest.mark.usefixtures("nothing_left_open")
def test_a_proxy_that_ends_while_clients_connect_leaves_nothing_open() -> None:
    with Targets() as targets:
        for turn in range(_ROUNDS):
            proxy = TcpProxy(targets.port)
            _end_among_clients(proxy, [proxy.port], turn % 4 / 2000)
