"""The machine's own resolver: its answers, its failures, and that a look-up that hangs holds up nothing."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from hookstream.processors.delivery.http.errors import ResolveError, ShortageError
from hookstream.processors.delivery.http.resolver import SystemResolver


def test_addresses_come_in_the_machine_s_order_and_once() -> None:
    assert asyncio.run(SystemResolver().resolve("127.0.0.1")) == ("127.0.0.1",)


@pytest.mark.parametrize("error", [socket.gaierror(-2, "no name"), UnicodeError("label too long"), OSError("away")])
def test_a_name_without_address_says_so(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> object:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ResolveError):
        asyncio.run(SystemResolver().resolve("nowhere.example"))


def test_a_machine_without_threads_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        monkeypatch.setattr(threading.Thread, "start", fail)
        with pytest.raises(ShortageError, match="can't start new thread"):
            await SystemResolver().resolve("example.com")

    asyncio.run(main())


def test_a_look_up_that_hangs_outlives_the_loop_and_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, let_go = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        hanging.set()
        let_go.wait(30)
        return []

    async def main() -> None:
        asked = asyncio.ensure_future(SystemResolver().resolve("hang.example"))
        while not hanging.is_set():  # noqa: ASYNC110 (a thread says so)
            await asyncio.sleep(0.001)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    before = set(threading.enumerate())  # the last look-up of another test may be about to end
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    asyncio.run(main())
    (thread,) = {thread for thread in threading.enumerate() if thread.name == "resolve"} - before
    assert thread.daemon
    let_go.set()
    thread.join(30)
    assert not thread.is_alive()
