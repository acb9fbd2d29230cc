"""The rule that unit tests open no sockets has teeth."""

from __future__ import annotations

import asyncio
import socket

import pytest


def test_connecting_and_listening_fail_the_test() -> None:
    with socket.socket() as one, pytest.raises(pytest.fail.Exception, match="opens no sockets"):
        one.connect(("127.0.0.1", 1))
    with socket.socket() as one, pytest.raises(pytest.fail.Exception, match="opens no sockets"):
        one.bind(("127.0.0.1", 0))


def test_an_event_loop_is_no_socket() -> None:
    assert asyncio.run(asyncio.sleep(0, "fine")) == "fine"
