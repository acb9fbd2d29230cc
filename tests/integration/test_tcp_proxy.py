"""The faulty network that other tests rely on does break, and heals."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def echo() -> Iterator[int]:
    """Yield the port of a server that sends back what it reads."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(peer: socket.socket) -> None:
        with peer:
            try:
                while chunk := peer.recv(1024):
                    peer.sendall(chunk)
            except ConnectionError:
                return

    def accept() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(peer,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


@pytest.fixture
def proxy(echo: int) -> Iterator[TcpProxy]:
    """Yield a proxy before the echo server."""
    with TcpProxy(echo) as running:
        yield running


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    """Yield a connection that has carried a byte."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=WITHIN_S) as connection:
        connection.sendall(b"a")
        assert connection.recv(1) == b"a"
        yield connection


def test_a_clean_end_is_passed_on_after_the_last_byte(client: socket.socket, proxy: TcpProxy) -> None:
    client.sendall(b"bye")
    client.shutdown(socket.SHUT_WR)
    received = b""
    while chunk := client.recv(16):
        received += chunk
    assert received == b"bye"
    eventually(lambda: proxy.connections == 0)


def test_a_cut_resets_old_and_new_connections_until_healed(client: socket.socket, proxy: TcpProxy) -> None:
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with (  # the reset may come before the connection is handed over
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), timeout=WITHIN_S) as cut,
    ):
        cut.recv(1)
    proxy.heal()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=WITHIN_S) as healed:
        healed.sendall(b"c")
        assert healed.recv(1) == b"c"


def test_a_black_hole_passes_nothing_until_healed_and_then_everything(client: socket.socket, proxy: TcpProxy) -> None:
    proxy.blackhole()
    client.sendall(b"held")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(4)
    proxy.heal()
    client.settimeout(WITHIN_S)
    assert client.recv(4) == b"held"


def test_a_slow_network_delays_both_ways(client: socket.socket, proxy: TcpProxy) -> None:
    proxy.slow(0.1)
    began = time.monotonic()
    client.sendall(b"s")
    assert client.recv(1) == b"s"
    assert time.monotonic() - began > 0.15, "each way takes 0.1 s, by another clock than this one"


def test_an_upstream_that_is_gone_resets_the_client() -> None:
    # The reset may come while `connect` still waits for its own result, or afterwards.
    with (
        TcpProxy(1) as gone,
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", gone.port), timeout=WITHIN_S) as client,
    ):
        client.recv(1)
