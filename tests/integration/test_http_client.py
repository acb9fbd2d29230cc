"""The HTTP client against servers that mean well: what it sends, which connection it uses, what it keeps."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from hookstream.processors.delivery.http.address_guard import AddressGuard
from hookstream.processors.delivery.http.client import Answer, parse_target
from hookstream.processors.delivery.http.known_names import NameLimits
from hookstream.processors.delivery.http.pool import PoolLimits
from hookstream.schemas.attempt import AttemptResult
from tests.support.hostile_server import OK, Conversation, answering, hostile_server, silent
from tests.support.http_posting import (
    BODY,
    HEADERS,
    SHORT,
    Clock,
    TableResolver,
    http_client,
    post,
    run,
    times_out,
    until,
)

RunOn = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run_on(request: pytest.FixtureRequest) -> RunOn:
    return lambda main: run(main, request.param)


def test_a_request_carries_what_the_caller_gave_and_nothing_more(run_on: RunOn) -> None:
    async def main() -> None:
        clock = Clock()

        async def a_quarter_of_a_second(conversation: Conversation) -> None:
            await conversation.request()
            clock.now += 0.25
            await conversation.send(OK)

        async with hostile_server(a_quarter_of_a_second) as server, http_client(clock=clock) as client:
            answer = await post(client, server.url("/a/b?c=d", host="target.example"))
            assert (answer.status, answer.error, answer.body, answer.retry_after) == (200, None, b"ok", None)
            assert answer.duration_s == 0.25
            head = server.requests[0].head.decode().split("\r\n")
            assert head == [
                "POST /a/b?c=d HTTP/1.1",
                f"host: target.example:{server.port}",
                f"content-length: {len(BODY)}",
                "content-type: application/json",
                "webhook-id: msg_1",
            ]
            assert server.requests[0].body == BODY

    run_on(main())


def test_a_large_body_arrives_whole(run_on: RunOn) -> None:
    async def main() -> None:
        body = bytes(range(256)) * 8192
        async with hostile_server(answering(OK)) as server, http_client() as client:
            assert (await post(client, server.url(), body)).status == 200
            assert server.requests[0].body == body

    run_on(main())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("retry-after: 120", "120"),
        ("Retry-After: Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:59 GMT"),
        ("x: y", None),
    ],
)
def test_retry_after_is_handed_over_as_it_came(run_on: RunOn, line: str, expected: str | None) -> None:
    async def main() -> None:
        answer = f"HTTP/1.1 503 Busy\r\n{line}\r\ncontent-length: 0\r\n\r\n".encode()
        async with hostile_server(answering(answer)) as server, http_client() as client:
            answered = await post(client, server.url())
            assert (answered.status, answered.retry_after) == (503, expected)

    run_on(main())


def test_an_interim_answer_has_no_say_in_when_to_come_back(run_on: RunOn) -> None:
    async def main() -> None:
        answer = b"HTTP/1.1 103 Early\r\nretry-after: 9\r\n\r\nHTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"
        async with hostile_server(answering(answer)) as server, http_client() as client:
            answered = await post(client, server.url())
            assert (answered.status, answered.retry_after) == (503, None)

    run_on(main())


def test_requests_one_after_the_other_share_a_connection_and_its_look_up(run_on: RunOn) -> None:
    async def main() -> None:
        resolver = TableResolver()
        async with hostile_server(answering(OK)) as server, http_client(resolver=resolver) as client:
            for _ in range(20):
                assert (await post(client, server.url(host="target.example"))).status == 200
            assert server.accepted == 1
            assert resolver.asked == ["target.example"]

    run_on(main())


def test_requests_at_once_have_a_connection_each_and_the_last_used_is_taken_first(run_on: RunOn) -> None:
    async def main() -> None:
        async with hostile_server(answering(OK)) as server, http_client() as client:
            answers = await asyncio.gather(*(post(client, server.url()) for _ in range(64)))
            assert [answer.status for answer in answers] == [200] * 64
            assert server.accepted == client.open_connections == 64
            await asyncio.gather(*(post(client, server.url()) for _ in range(64)))
            assert server.accepted == 64

    run_on(main())


def test_done_may_post_again_and_gets_the_same_connection(run_on: RunOn) -> None:
    async def main() -> None:
        async with hostile_server(answering(OK)) as server, http_client() as client:
            target = parse_target(server.url())
            finished: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            answered = 0

            def done(answer: Answer) -> None:
                nonlocal answered
                assert answer.status == 200
                answered += 1
                if answered == 500:
                    finished.set_result(answered)
                else:
                    client.post(target, HEADERS, BODY, done)

            client.post(target, HEADERS, BODY, done)
            assert await finished == 500
            assert server.accepted == 1

    run_on(main())


def test_a_connection_that_the_server_closed_while_idle_is_not_used_again(run_on: RunOn) -> None:
    async def main() -> None:
        async def once(conversation: Conversation) -> None:
            await conversation.request()
            await conversation.send(OK)

        async with hostile_server(once) as server, http_client() as client:
            for expected in (1, 2, 3):
                assert (await post(client, server.url())).status == 200
                await until(lambda: client.open_connections == 0)
                assert server.accepted == len(server.requests) == expected

    run_on(main())


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_kept_connection_that_ends_without_a_byte_is_retried_once_on_a_fresh_one(
    run_on: RunOn, *, reset: bool
) -> None:
    async def main() -> None:
        async def second_request_ends_it(conversation: Conversation) -> None:
            await conversation.request()
            await conversation.send(OK)
            await conversation.request()
            if reset:
                conversation.reset()

        async with hostile_server(second_request_ends_it) as server, http_client() as client:
            assert (await post(client, server.url())).status == 200
            assert (await post(client, server.url())).status == 200
            assert server.accepted == 2
            assert [request.header("webhook-id") for request in server.requests] == ["msg_1"] * 3

    run_on(main())


def test_a_fresh_connection_that_ends_without_a_byte_is_not_retried(run_on: RunOn) -> None:
    async def main() -> None:
        async def hang_up(conversation: Conversation) -> None:
            await conversation.request()

        async with hostile_server(hang_up) as server, http_client() as client:
            assert (await post(client, server.url())).error is AttemptResult.BROKEN_ANSWER
            assert len(server.requests) == 1

    run_on(main())


def test_a_kept_connection_that_breaks_within_an_answer_is_not_retried(run_on: RunOn) -> None:
    async def main() -> None:
        async def second_answer_breaks(conversation: Conversation) -> None:
            await conversation.request()
            await conversation.send(OK)
            await conversation.request()
            await conversation.send(b"HTTP/1.1 2")

        async with hostile_server(second_answer_breaks) as server, http_client() as client:
            assert (await post(client, server.url())).status == 200
            assert (await post(client, server.url())).error is AttemptResult.BROKEN_ANSWER
            assert len(server.requests) == 2

    run_on(main())


def test_a_retried_request_keeps_its_deadline(run_on: RunOn) -> None:
    async def main() -> None:
        clock = Clock()

        async def slow_then_gone(conversation: Conversation) -> None:
            if conversation.number == 1:
                await conversation.request()
                await conversation.send(OK)
                await conversation.request()
                clock.now += 10.0
            else:
                await silent(conversation)

        async with hostile_server(slow_then_gone) as server, http_client(total_timeout_s=30.0, clock=clock) as client:
            assert (await post(client, server.url())).status == 200
            answer = await times_out(client, clock, server.url(), after_s=20.0, when=lambda: len(server.requests) == 3)
            assert (answer.error, answer.duration_s, server.accepted) == (AttemptResult.TIMEOUT, 30.0, 2)

    run_on(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_a_connection_that_the_server_will_close_is_not_kept(run_on: RunOn, answer: bytes) -> None:
    async def main() -> None:
        async with hostile_server(answering(answer)) as server, http_client() as client:
            assert (await post(client, server.url())).body == b"ok"
            assert client.open_connections == 0
            assert (await post(client, server.url())).body == b"ok"
            assert server.accepted == 2

    run_on(main())


def test_an_idle_connection_is_closed_after_its_time(run_on: RunOn) -> None:
    async def main() -> None:
        clock = Clock()
        config = replace(SHORT, pool=PoolLimits(idle_timeout_s=20.0, sweep_interval_s=0.01, rest_s=0.0))
        async with hostile_server(answering(OK)) as server, http_client(config, clock=clock) as client:
            await post(client, server.url())
            clock.now += 19.0
            client._pool.sweep()
            assert client.open_connections == 1
            clock.now += 1.0
            await until(lambda: client.open_connections == 0)
            await until(lambda: server.open == 0)

    run_on(main())


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (PoolLimits(max_idle_per_origin=2, sweep_interval_s=0.01), 4),
        (PoolLimits(max_idle=3, sweep_interval_s=0.01), 3),
        (PoolLimits(max_age_s=0.0, sweep_interval_s=0.01), 0),
    ],
    ids=["per origin", "in all", "age"],
)
def test_idle_connections_are_bounded(run_on: RunOn, limits: PoolLimits, kept: int) -> None:
    async def main() -> None:
        resolver = TableResolver({"a.example": ("127.0.0.1",), "b.example": ("127.0.0.1",)})
        config = replace(SHORT, pool=limits)
        async with hostile_server(answering(OK)) as server, http_client(config, resolver=resolver) as client:
            urls = [server.url(host=host) for host in ("a.example", "b.example") for _ in range(5)]
            await asyncio.gather(*(post(client, url) for url in urls))
            await until(lambda: client.open_connections == kept and server.open == kept)

    run_on(main())


def test_a_cancelled_request_is_never_answered_and_its_connection_is_closed(run_on: RunOn) -> None:
    async def main() -> None:
        answers: list[Answer] = []
        clock = Clock()
        async with hostile_server(silent) as server, http_client(total_timeout_s=30.0, clock=clock) as client:
            target = parse_target(server.url())
            connecting = client.post(target, HEADERS, BODY, answers.append)
            connecting.cancel()
            connecting.cancel()
            sent = client.post(target, HEADERS, BODY, answers.append)
            await until(lambda: len(server.requests) == 1)
            sent.cancel()
            assert client.open_connections == 0
            await until(lambda: server.open == 0)
            clock.now += 1.0
            answer = await times_out(client, clock, server.url(), after_s=30.0, when=lambda: len(server.requests) == 2)
            assert answer.error is AttemptResult.TIMEOUT  # outlives the others' deadline
            assert answers == []

    run_on(main())


def test_cancelling_an_answered_request_harms_no_other(run_on: RunOn) -> None:
    async def main() -> None:
        async with hostile_server(answering(OK)) as server, http_client() as client:
            answered = asyncio.Event()
            exchange = client.post(parse_target(server.url()), HEADERS, BODY, lambda _: answered.set())
            await answered.wait()
            exchange.cancel()
            assert client.open_connections == 1
            assert (await post(client, server.url())).status == 200
            assert server.accepted == 1

    run_on(main())


def test_closing_abandons_what_is_under_way(run_on: RunOn) -> None:
    async def main() -> None:
        answers: list[Answer] = []
        async with hostile_server(silent) as server, http_client() as client:
            client.post(parse_target(server.url()), HEADERS, BODY, answers.append)
            await until(lambda: len(server.requests) == 1)
            client.post(parse_target(server.url()), HEADERS, BODY, answers.append)
            await client.close()
            await until(lambda: server.open == 0)
            assert answers == []

    run_on(main())


def test_a_refused_connection_says_so(run_on: RunOn) -> None:
    async def main() -> None:
        async with hostile_server(silent) as server:
            closed_port_url = server.url()
        async with http_client() as client:
            assert (await post(client, closed_port_url)).error is AttemptResult.CONNECT_FAILED

    run_on(main())


def test_the_next_address_is_tried_when_the_first_refuses(run_on: RunOn) -> None:
    async def main() -> None:
        resolver = TableResolver({"target.example": ("127.0.0.9", "127.0.0.1")})
        async with hostile_server(answering(OK)) as server, http_client(resolver=resolver) as client:
            assert (await post(client, server.url(host="target.example"))).status == 200

    run_on(main())


def test_a_name_without_address_says_so(run_on: RunOn) -> None:
    async def main() -> None:
        async with http_client() as client:
            assert (await post(client, "http://nowhere.example/")).error is AttemptResult.DNS_FAILED

    run_on(main())


class HangingResolver:
    """Never answers."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Wait for ever."""
        await asyncio.Event().wait()
        raise AssertionError(host)


def test_a_name_server_that_hangs_costs_the_time_for_connecting_and_no_more(run_on: RunOn) -> None:
    async def main() -> None:
        config = replace(SHORT, connect_timeout_s=0.05, total_timeout_s=1000.0)  # longer than `post` waits
        async with http_client(config, resolver=HangingResolver()) as client:
            assert (await post(client, "http://target.example/")).error is AttemptResult.DNS_FAILED

    run_on(main())


def test_a_host_that_accepts_no_connection_costs_the_time_for_connecting_and_no_more(run_on: RunOn) -> None:
    async def main() -> None:
        with socket.socket() as full:  # a backlog that is full and never accepted: SYNs are dropped
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            config = replace(SHORT, connect_timeout_s=0.05, total_timeout_s=1000.0)  # longer than `post` waits
            async with http_client(config) as client:
                assert (await post(client, f"http://127.0.0.1:{port}/")).error is AttemptResult.TIMEOUT
            for filler in fillers:
                filler.close()

    run_on(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "target.example", "both.example"])
def test_a_blocked_address_is_never_connected_to(run_on: RunOn, host: str) -> None:
    async def main() -> None:
        resolver = TableResolver({"target.example": ("127.0.0.1",), "both.example": ("127.0.0.2", "127.0.0.1")})
        guard = AddressGuard([ip_network("127.0.0.2/32")])
        async with hostile_server(answering(OK)) as server, http_client(guard=guard, resolver=resolver) as client:
            assert (await post(client, server.url(host=host))).error is AttemptResult.BLOCKED
            assert server.accepted == 0

    run_on(main())


def test_a_name_that_turns_private_is_blocked_at_the_next_connection(run_on: RunOn) -> None:
    async def main() -> None:
        resolver = TableResolver({"target.example": ("127.0.0.1",)})
        guard = AddressGuard([ip_network("127.0.0.1/32")])

        async def once(conversation: Conversation) -> None:
            await conversation.request()
            await conversation.send(OK)

        forgetful = replace(SHORT, names=NameLimits(fresh_s=0.0, stale_s=0.0))
        async with hostile_server(once) as server, http_client(forgetful, guard=guard, resolver=resolver) as client:
            assert (await post(client, server.url(host="target.example"))).status == 200
            resolver.table["target.example"] = ("127.0.0.2",)
            await until(lambda: client.open_connections == 0)
            assert (await post(client, server.url(host="target.example"))).error is AttemptResult.BLOCKED
            assert server.accepted == 1
            assert resolver.asked == ["target.example"] * 2  # once a connection: vetted is what is connected to

    run_on(main())


def test_a_remembered_address_is_vetted_for_every_connection(run_on: RunOn) -> None:
    async def main() -> None:
        resolver = TableResolver({"target.example": ("127.0.0.2",)})
        guard = AddressGuard([ip_network("127.0.0.1/32")])
        async with hostile_server(answering(OK)) as server, http_client(guard=guard, resolver=resolver) as client:
            for _ in range(2):
                assert (await post(client, server.url(host="target.example"))).error is AttemptResult.BLOCKED
            assert server.accepted == 0
            assert resolver.asked == ["target.example"]

    run_on(main())


def test_an_ipv6_target_is_connected_to(run_on: RunOn) -> None:
    async def main() -> None:
        async with hostile_server(answering(OK), host="::1") as server, http_client() as client:
            assert (await post(client, server.url(host="[::1]"))).status == 200
            assert server.requests[0].header("host") == f"[::1]:{server.port}"

    run_on(main())


def test_one_hanging_target_does_not_delay_another(run_on: RunOn) -> None:
    async def main() -> None:
        async with (
            hostile_server(silent) as hanging,
            hostile_server(answering(OK)) as healthy,
            http_client() as client,
        ):
            answered: list[Answer] = []
            for _ in range(64):
                client.post(parse_target(hanging.url()), HEADERS, BODY, answered.append)
            await until(lambda: len(hanging.requests) == 64)
            for _ in range(50):
                assert (await post(client, healthy.url())).status == 200
            assert not answered

    run_on(main())
