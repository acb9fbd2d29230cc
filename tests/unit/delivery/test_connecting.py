"""Whatever connecting raises is `connect-failed`, and every exchange is answered exactly once."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from hookstream.processors.delivery.http.address_guard import AddressGuard
from hookstream.processors.delivery.http.client import HttpClient, HttpClientConfig
from hookstream.processors.delivery.http.connector import Connector, _open_socket
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.delivery.http.target import parse_target
from hookstream.schemas.attempt import AttemptResult
from tests.support.judging import connected

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET = parse_target("http://h.example:81/")


class Names:
    """Resolves every name to what a test says, or raises it."""

    def __init__(self, found: tuple[str, ...] | BaseException = ("127.0.0.1",)) -> None:
        self.found = found

    async def resolve(self, host: str) -> tuple[str, ...]:
        del host
        if isinstance(self.found, BaseException):
            raise self.found
        return self.found


def posted(
    names: Names, *, times: int = 1, clock: Callable[[], float] = time.monotonic
) -> tuple[list[Answer], list[tuple[str, BaseException]]]:
    """Post, and give what was answered and which exceptions were reported."""
    answers: list[Answer] = []
    reported: list[tuple[str, BaseException]] = []

    async def main() -> None:
        guard = AddressGuard([ip_network("127.0.0.0/8"), ip_network("::1/128")])
        client = HttpClient(
            HttpClientConfig(), guard, names, clock, report_error=lambda where, error: reported.append((where, error))
        )
        for _ in range(times):
            client.post(TARGET, b"", b"{}", answers.append)
        async with asyncio.timeout(10):
            while client._connecting:  # noqa: ASYNC110 - tasks that end by themselves
                await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        await client.close()

    asyncio.run(main())
    return answers, reported


class Socket:
    """`socket.socket`, of which an address family or every one cannot be had; loops have theirs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, errors: dict[int, OSError]) -> None:
        self.errors, self.made = errors, list[int]()
        self.real = socket.socket
        monkeypatch.setattr("hookstream.processors.delivery.http.connector.socket.socket", self)

    def __call__(self, family: int = -1, *args: Any, **kwargs: Any) -> Any:
        if family not in self.errors:
            return self.real(family, *args, **kwargs)
        self.made.append(family)
        raise self.errors[family]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_process_without_descriptors_fails_its_requests_and_says_so(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Socket(monkeypatch, {socket.AF_INET: OSError(number, "none left")})
    answers, reported = posted(Names(("127.0.0.1", "127.0.0.2")), times=3)
    assert [answer.error for answer in answers] == [AttemptResult.CONNECT_FAILED] * 3
    assert len(made.made) == 3, "no other address would have one either"
    assert [where for where, _ in reported] == ["connect"] * 3


def test_a_kernel_without_ipv6_tries_the_next_address(monkeypatch: pytest.MonkeyPatch) -> None:
    unsupported = OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
    made = Socket(monkeypatch, {socket.AF_INET6: unsupported, socket.AF_INET: OSError(errno.ECONNREFUSED, "no")})
    answers, reported = posted(Names(("::1", "127.0.0.1")))
    assert [answer.error for answer in answers] == [AttemptResult.CONNECT_FAILED]
    assert made.made == [socket.AF_INET6, socket.AF_INET]
    assert not reported, "that is no shortage of ours"


@pytest.mark.parametrize(
    "raised",
    [
        RuntimeError("can't start new thread"),
        TypeError("a bug"),
        MemoryError(),
        UnicodeError("label too long"),
        OSError(errno.EMFILE, "look-ups need sockets, too"),
        asyncio.CancelledError(),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_whatever_a_look_up_raises_is_answered_once(raised: BaseException) -> None:
    answers, reported = posted(Names(raised))
    assert [answer.error for answer in answers] == [AttemptResult.CONNECT_FAILED]
    assert len(reported) == (not isinstance(raised, (OSError, asyncio.CancelledError)))


def test_whatever_a_handshake_raises_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object) -> NoReturn:
        raise ValueError("check_hostname requires server_hostname")

    monkeypatch.setattr(Connector, "connect", connect)
    answers, reported = posted(Names())
    assert [answer.error for answer in answers] == [AttemptResult.CONNECT_FAILED]
    assert len(reported) == 1


def test_a_bug_after_the_connection_is_open_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        closing = False
        deadline = float("inf")

        def send(self, exchange: Any) -> NoReturn:
            exchange.connection = self
            raise RuntimeError("unable to perform operation; the handler is closed")

        def abandon(self) -> None:
            pass

    async def connect(*_: object) -> Any:
        return Broken()

    monkeypatch.setattr(Connector, "connect", connect)
    answers, reported = posted(Names())
    assert [answer.error for answer in answers] == [AttemptResult.CONNECT_FAILED]
    assert len(reported) == 1


def test_nothing_is_sent_where_the_process_was_suspended_while_it_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker may have lost the partition meanwhile, and another one sends the delivery."""
    opened, transport = connected(report_error=lambda *_: None)
    now = [1000.0]

    async def connect(*_: object) -> Any:
        now[0] += HttpClientConfig().connect_timeout_s + 0.1
        return opened

    monkeypatch.setattr(Connector, "connect", connect)
    answers, reported = posted(Names(), clock=lambda: now[0])
    assert [answer.error for answer in answers] == [AttemptResult.TIMEOUT]
    assert (transport.written, transport.closing, reported) == (b"", True, [])


def test_a_request_that_is_cancelled_while_it_connects_is_not_answered() -> None:
    answers: list[Answer] = []

    async def main() -> None:
        class Hanging(Names):
            async def resolve(self, host: str) -> tuple[str, ...]:
                await asyncio.Event().wait()
                return await super().resolve(host)

        client = HttpClient(HttpClientConfig(), AddressGuard(), Hanging(), report_error=lambda *_: None)
        exchange = client.post(TARGET, b"", b"{}", answers.append)
        await asyncio.sleep(0)
        exchange.cancel()
        client.post(TARGET, b"", b"{}", answers.append)
        await asyncio.sleep(0)
        await client.close()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert not answers


def test_when_the_first_address_hangs_the_second_is_tried_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first may take half of the time for connecting, and not all of it."""

    async def main() -> tuple[list[str], float]:
        loop = asyncio.get_running_loop()
        tried: list[str] = []
        now = [1000.0]
        monkeypatch.setattr(loop, "time", lambda: now[0])

        class Deadline:
            def __init__(self, when: float) -> None:
                self.when = when

            async def __aenter__(self) -> None:
                pass

            async def __aexit__(self, kind: object, error: BaseException | None, _: object) -> None:
                if isinstance(error, asyncio.CancelledError):
                    now[0] = self.when
                    raise TimeoutError

        async def sock_connect(_socket: object, address: tuple[str, int]) -> None:
            tried.append(address[0])
            if len(tried) == 1:
                raise asyncio.CancelledError  # what a time-out does to what hangs

        monkeypatch.setattr(asyncio, "timeout_at", Deadline)
        monkeypatch.setattr(loop, "sock_connect", sock_connect)
        addresses = AddressGuard([ip_network("127.0.0.0/8")]).vet(["127.0.0.1", "127.0.0.2"])
        connected = await _open_socket(addresses, 81, 1005.0)
        connected.close()
        return tried, now[0]

    tried, then = asyncio.run(main())
    assert tried == ["127.0.0.1", "127.0.0.2"]
    assert then == 1002.5
