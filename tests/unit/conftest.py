"""Unit tests touch no network: what connects or listens is no unit test, and says so at once."""

from __future__ import annotations

import socket
from typing import NoReturn

import pytest


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_socket: socket.socket, *_: object) -> NoReturn:
        pytest.fail("a unit test opens no sockets; see tests/integration")

    for name in ("bind", "connect", "connect_ex", "listen"):
        monkeypatch.setattr(socket.socket, name, refuse)
