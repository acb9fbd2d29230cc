"""What no server can do to the HTTP client: hold it beyond its time, make it buffer, or give it a second answer."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from hookstream.processors.delivery.http.pool import PoolLimits
from hookstream.schemas.attempt import AttemptResult
from tests.support.hostile_server import OK, Behaviour, Conversation, answering, endless, hostile_server, silent
from tests.support.http_posting import SHORT, Clock, http_client, post, run, times_out, until

RunOn = Callable[[Coroutine[Any, Any, None]], None]
MAX_ANSWER = 20_000
FLAT_BYTES = 1_500_000  # the streams of the server, which runs in this process, take most of it


@pytest.fixture(params=["asyncio", "uvloop"])
def run_on(request: pytest.FixtureRequest) -> RunOn:
    return lambda main: run(main, request.param)


async def outcome_of(behave: Behaviour) -> tuple[int | None, AttemptResult | None, bytes]:
    """Post twice to a server that behaves so; both have the same outcome, and no connection is left busy."""
    async with hostile_server(behave) as server, http_client(clock=Clock()) as client:  # time ends nothing
        first = await post(client, server.url())
        second = await post(client, server.url())
        assert (first.status, first.error, first.body) == (second.status, second.error, second.body)
        assert (first.status is None) != (first.error is None)
        return first.status, first.error, first.body


BROKEN = {
    "garbage before the status line": b"hello HTTP/1.1 200 OK\r\n\r\n",
    "not HTTP at all": b"SSH-2.0-OpenSSH_9.6\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok",
    "length that overflows": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "bad chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "chunk size that overflows": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "chunk without its end": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokXX",
    "folded header": b"HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\na : b\r\ncontent-length: 0\r\n\r\n",
    "line feeds alone": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nxxxx",
    "switching without upgrade": b"HTTP/1.1 101 Switching\r\n\r\nxxxx",
    "101 headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 101 + b"content-length: 0\r\n\r\n",
    "one header over the limit": b"HTTP/1.1 200 OK\r\na: " + b"b" * 33_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "a reason over the limit": b"HTTP/1.1 200 " + b"O" * 33_000 + b"\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_a_malformed_answer_is_broken_whatever_status_it_shows(run_on: RunOn, answer: bytes) -> None:
    async def main() -> None:
        assert await outcome_of(answering(answer)) == (None, AttemptResult.BROKEN_ANSWER, b"")

    run_on(main())


WHOLE = {
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "no content that claims some": (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", 204, b""),
    "not modified with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
    "empty body": (b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", 202, b""),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "chunked with trailers": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nretry-after: 1\r\n\r\n",
        200,
        b"ok",
    ),
    "unknown status": (b"HTTP/1.1 999 What\r\ncontent-length: 2\r\n\r\nno", 999, b"no"),
    "redirect": (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", 302, b""),
    "gzip stays as it came": (
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00",
        200,
        b"\x1f\x8b\x08\x00",
    ),
    "upgrade offered but not done": (
        b"HTTP/1.1 200 OK\r\nupgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nok",
        200,
        b"ok",
    ),
    "interim answers first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK,
        200,
        b"ok",
    ),
    "connection close": (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "exactly the limit": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 20000\r\n\r\n" + b"x" * MAX_ANSWER,
        200,
        b"x" * MAX_ANSWER,
    ),
    "one byte more": (b"HTTP/1.1 200 OK\r\ncontent-length: 20001\r\n\r\n" + b"x" * 20_001, 200, b"x" * MAX_ANSWER),
    "100 headers": (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 99 + b"content-length: 2\r\n\r\nok", 200, b"ok"),
}


@pytest.mark.parametrize(("answer", "status", "body"), WHOLE.values(), ids=WHOLE.keys())
def test_an_unusual_answer_counts_by_its_status(run_on: RunOn, answer: bytes, status: int, body: bytes) -> None:
    async def main() -> None:
        assert await outcome_of(answering(answer)) == (status, None, body)

    run_on(main())


@pytest.mark.parametrize("answer", [OK, WHOLE["chunked with trailers"][0], WHOLE["interim answers first"][0]])
def test_an_answer_may_come_byte_by_byte(run_on: RunOn, answer: bytes) -> None:
    async def main() -> None:
        parts = (answer[at : at + 1] for at in range(len(answer)))
        assert await outcome_of(answering(*parts)) == (200, None, b"ok")

    run_on(main())


CUT_SHORT = {
    "in the status line": b"HTTP/1.1 2",
    "in the head": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
    "in the body": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok",
    "in the chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("answer", CUT_SHORT.values(), ids=CUT_SHORT.keys())
def test_an_answer_cut_short_is_broken(run_on: RunOn, answer: bytes, *, reset: bool) -> None:
    async def cut(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(answer)
        if reset:
            conversation.reset()

    async def main() -> None:
        assert await outcome_of(cut) == (None, AttemptResult.BROKEN_ANSWER, b"")

    run_on(main())


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_answer_without_length_ends_with_its_connection(run_on: RunOn, version: bytes) -> None:
    async def main() -> None:
        answer = b"HTTP/" + version + b" 200 OK\r\ncontent-type: text/plain\r\n\r\n"
        assert await outcome_of(answering(answer, b"o", b"k", keep_open=False)) == (200, None, b"ok")

    run_on(main())


def test_a_reset_does_not_end_an_answer_without_length_in_good_order(run_on: RunOn) -> None:
    async def cut(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(b"HTTP/1.0 200 OK\r\n\r\nok")
        conversation.reset()

    async def main() -> None:
        assert await outcome_of(cut) == (None, AttemptResult.BROKEN_ANSWER, b"")

    run_on(main())


async def loris(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await conversation.send(b"a: b\r\n")
        await asyncio.sleep(0.05)


async def loris_body(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while True:
        await conversation.send(b"x")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("behave", [silent, loris, loris_body])
def test_a_slow_answer_ends_as_a_time_out_in_time(run_on: RunOn, behave: Behaviour) -> None:
    async def main() -> None:
        clock = Clock()
        async with hostile_server(behave) as server, http_client(total_timeout_s=30.0, clock=clock) as client:
            answer = await times_out(
                client,
                clock,
                server.url(),
                after_s=30.0,
                when=lambda: bool(server.requests and client.open_connections),
            )
            assert (answer.error, answer.duration_s) == (AttemptResult.TIMEOUT, 30.0)
            await until(lambda: server.open == 0)
            assert client.open_connections == 0

    run_on(main())


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
FLOODS = {
    "body of a gigabyte": (endless(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n", b"x" * 65_536), 200),
    "body without end": (endless(b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 65_536), 200),
    "chunks without end": (endless(CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n"), 200),
    "one huge chunk": (endless(CHUNKED + b"fffffffffff\r\n", b"x" * 65_536), 200),
    "chunks of a byte": (endless(CHUNKED, b"1\r\nx\r\n" * 1000), 200),
    "chunk extensions": (endless(CHUNKED + b"1;", b"x" * 65_536), None),
    "many chunk extensions": (endless(CHUNKED, b"1;" + b"x" * 60_000 + b"\r\nx\r\n"), None),
    "trailers": (endless(CHUNKED + b"0\r\n", b"a: b\r\n" * 1000), None),
    "one trailer": (endless(CHUNKED + b"0\r\na: ", b"b" * 65_536), None),
    "headers": (endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000), None),
    "one header": (endless(b"HTTP/1.1 200 OK\r\na: ", b"b" * 65_536), None),
    "one header's name": (endless(b"HTTP/1.1 200 OK\r\n", b"b" * 65_536), None),
    "a reason": (endless(b"HTTP/1.1 200 ", b"b" * 65_536), None),
    "interim answers": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), None),
    "empty lines": (endless(b"", b"\r\n" * 10_000), None),
}


@pytest.mark.parametrize(("behave", "status"), FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_is_cut_off_early_and_never_buffered(run_on: RunOn, behave: Behaviour, status: int | None) -> None:
    async def main() -> None:
        async with hostile_server(behave) as server, http_client(clock=Clock()) as client:  # time ends nothing
            await post(client, server.url())  # warm: imports, caches
            server.sent_bytes = 0
            tracemalloc.start()
            try:
                answer = await post(client, server.url())
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert answer.status == status
            assert answer.error is (None if status else AttemptResult.BROKEN_ANSWER)
            assert answer.body == (b"x" * MAX_ANSWER if status else b"")
            assert peak < FLAT_BYTES
            await until(lambda: server.open == 0)
            assert client.open_connections == 0

    run_on(main())


SURPLUS = {
    "a whole second answer": b"HTTP/1.1 500 Forged\r\ncontent-length: 6\r\n\r\nforged",
    "the start of one": b"HTTP/1.1 200 OK\r\ncontent-",
    "garbage": b"garbage",
}


@pytest.mark.parametrize("later", [False, True], ids=["at once", "while idle"])
@pytest.mark.parametrize("surplus", SURPLUS.values(), ids=SURPLUS.keys())
def test_bytes_after_an_answer_are_never_the_next_one(run_on: RunOn, surplus: bytes, *, later: bool) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def behave(conversation: Conversation) -> None:
            await conversation.request()
            if later:
                await conversation.send(OK)
                await go_on.wait()
                await conversation.send(surplus)
            else:
                await conversation.send(OK + surplus)
            await conversation.closed()

        async with hostile_server(behave) as server, http_client() as client:
            answer = await post(client, server.url())
            assert (answer.status, answer.body) == (200, b"ok")
            go_on.set()
            await until(lambda: client.open_connections == 0)
            assert (await post(client, server.url())).body == b"ok"
            assert server.accepted == 2

    run_on(main())


LATE = {
    "garbage": b"<html>garbage</html>",
    "a whole second answer": OK,
    "the rest of a body that was longer than it said": b"k\r\n" * 10,
}


@pytest.mark.parametrize("at_once", [1, 8])
@pytest.mark.parametrize("late", LATE.values(), ids=LATE.keys())
def test_a_server_that_says_more_a_moment_later_gets_every_request_and_no_answer_counts_twice(
    run_on: RunOn, late: bytes, at_once: int
) -> None:
    """The receiver has read whatever was answered with 200, and nothing else was answered."""

    async def behave(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(OK)
        await asyncio.sleep(0.001)
        await conversation.send(late)

    async def main() -> None:
        rests = replace(SHORT, pool=PoolLimits())
        # By a clock that stands, what comes a moment later comes while its connection rests, whatever a moment takes.
        async with hostile_server(behave) as server, http_client(rests, clock=Clock()) as client:
            for first in range(0, 152, at_once):
                ids = [b"webhook-id: msg_%d\r\n" % number for number in range(first, first + at_once)]
                answers = await asyncio.gather(*(post(client, server.url(), headers=line) for line in ids))
                assert [(answer.status, answer.error) for answer in answers] == [(200, None)] * at_once
            read = [request.header("webhook-id") for request in server.requests]
            assert set(read) == {f"msg_{number}" for number in range(152)}

    run_on(main())


def test_what_a_server_said_late_is_no_answer_to_a_request_on_its_kept_connection(run_on: RunOn) -> None:
    """The request is made once more, on a fresh connection, and the origin keeps none from then on."""

    async def behave(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(OK)
        await conversation.request()
        await conversation.send(b"late")
        await conversation.closed()

    async def main() -> None:
        async with hostile_server(behave) as server, http_client() as client:
            for connections in (1, 2, 3):
                answer = await post(client, server.url())
                assert (answer.status, server.accepted) == (200, connections)
            assert client.open_connections == 0
            assert len(server.requests) == 4

    run_on(main())


def test_a_flood_of_answers_at_once_gives_one(run_on: RunOn) -> None:
    async def main() -> None:
        assert await outcome_of(answering(OK * 5000)) == (200, None, b"ok")

    run_on(main())
