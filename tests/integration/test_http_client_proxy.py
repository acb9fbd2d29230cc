"""The way through an egress proxy: CONNECT for every target, the proxy vets, and a hostile proxy gains nothing."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from hookstream.processors.delivery.http.address_guard import AddressGuard
from hookstream.processors.delivery.http.client import HttpClientConfig
from hookstream.processors.delivery.http.connector import parse_proxy
from hookstream.processors.delivery.http.errors import InvalidProxyError
from hookstream.schemas.attempt import AttemptResult
from tests.support.hostile_server import OK, Behaviour, Conversation, answering, endless, hostile_server, silent
from tests.support.http_posting import SHORT, TableResolver, http_client, post, run, until

RunOn = Callable[[Coroutine[Any, Any, None]], None]
NAME = "target.example"


@pytest.fixture(params=["asyncio", "uvloop"])
def run_on(request: pytest.FixtureRequest) -> RunOn:
    return lambda main: run(main, request.param)


def through(port: int, credentials: str = "") -> HttpClientConfig:
    return replace(SHORT, egress_proxy=f"http://{credentials}127.0.0.1:{port}")


def tunnelling(port: int) -> Behaviour:
    """Be a proxy: agree, then carry bytes both ways to a port of this machine, whatever name was asked for."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    async def behave(conversation: Conversation) -> None:
        await conversation.request()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await conversation.send(b"HTTP/1.1 200 Connection established\r\nproxy-agent: test\r\n\r\n")
            await asyncio.gather(carry(conversation.reader, writer), carry(reader, conversation.writer))
        finally:
            writer.close()

    return behave


def test_an_http_target_is_reached_through_a_tunnel_that_is_kept(run_on: RunOn) -> None:
    async def main() -> None:
        resolver = TableResolver({})
        async with (
            hostile_server(answering(OK)) as target,
            hostile_server(tunnelling(target.port)) as proxy,
            http_client(through(proxy.port), guard=AddressGuard(), resolver=ProxyResolver(resolver)) as client,
        ):
            for _ in range(3):
                assert (await post(client, f"http://{NAME}/hook")).status == 200
            assert [request.head.decode().split("\r\n") for request in proxy.requests] == [
                [f"CONNECT {NAME}:80 HTTP/1.1", f"host: {NAME}:80"]
            ]
            assert target.requests[0].head.startswith(b"POST /hook HTTP/1.1\r\nhost: target.example\r\n")
            assert len(target.requests) == 3
            assert resolver.asked == []  # the proxy resolves, and vets

    run_on(main())


class ProxyResolver:
    """Knows the proxy alone."""

    def __init__(self, others: TableResolver) -> None:
        self.others = others

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Answer for the proxy; ask the others' table for any other name."""
        return ("127.0.0.1",) if host == "127.0.0.1" else await self.others.resolve(host)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize(("certified", "expected"), [(NAME, 200), ("other.example", AttemptResult.TLS_FAILED)])
def test_an_https_target_shows_a_certificate_of_its_name_through_the_tunnel(
    run_on: RunOn, authority: trustme.CA, tmp_path: Path, certified: str, expected: object
) -> None:
    async def main() -> None:
        ca_file = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(certified).configure_cert(context)
        async with (
            hostile_server(answering(OK), context=context) as target,
            hostile_server(tunnelling(target.port)) as proxy,
            http_client(through(proxy.port), resolver=ProxyResolver(TableResolver({})), ca_file=ca_file) as client,
        ):
            for _ in range(3):
                answer = await post(client, f"https://{NAME}/")
                assert (answer.status or answer.error) == expected
            assert proxy.requests[0].head.startswith(b"CONNECT target.example:443 HTTP/1.1\r\n")
            if expected == 200:
                assert (proxy.accepted, target.accepted) == (1, 1)
        await until(lambda: proxy.open == 0)

    run_on(main())


def test_credentials_of_the_proxy_go_to_the_proxy_alone(run_on: RunOn) -> None:
    async def main() -> None:
        async with (
            hostile_server(answering(OK)) as target,
            hostile_server(tunnelling(target.port)) as proxy,
            http_client(through(proxy.port, "user:p%40ss@"), resolver=ProxyResolver(TableResolver({}))) as client,
        ):
            assert (await post(client, f"http://{NAME}/")).status == 200
            expected = "Basic " + base64.b64encode(b"user:p@ss").decode()
            assert proxy.requests[0].header("proxy-authorization") == expected
            assert b"authorization" not in target.requests[0].head

    run_on(main())


@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nlink: </x>\r\n\r\n" * 3])
@pytest.mark.parametrize("at_once", [True, False])
def test_interim_answers_of_the_proxy_are_skipped(run_on: RunOn, interim: bytes, *, at_once: bool) -> None:
    async def main() -> None:
        async with hostile_server(answering(OK)) as target:

            async def interim_first(conversation: Conversation) -> None:
                if at_once:
                    conversation.writer.write(interim)
                else:
                    for at in range(len(interim)):
                        await conversation.send(interim[at : at + 1])
                await tunnelling(target.port)(conversation)

            async with (
                hostile_server(interim_first) as proxy,
                http_client(through(proxy.port), resolver=ProxyResolver(TableResolver({}))) as client,
            ):
                assert (await post(client, f"http://{NAME}/")).status == 200

    run_on(main())


REFUSALS = {
    "forbidden": (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", AttemptResult.BLOCKED),
    "wants credentials": (b"HTTP/1.1 407 Auth\r\nproxy-authenticate: Basic\r\n\r\n", AttemptResult.CONNECT_FAILED),
    "cannot reach it": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", AttemptResult.CONNECT_FAILED),
    "redirects": (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\n\r\n", AttemptResult.CONNECT_FAILED),
    "interim only": (b"HTTP/1.1 100 Continue\r\n\r\n", AttemptResult.CONNECT_FAILED),
    "interim, then a refusal": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n",
        AttemptResult.BLOCKED,
    ),
    "switches protocols": (b"HTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", AttemptResult.CONNECT_FAILED),
    "no HTTP": (b"SSH-2.0\r\n\r\n", AttemptResult.CONNECT_FAILED),
    "no status": (b"HTTP/1.1 OK\r\n\r\n", AttemptResult.CONNECT_FAILED),
    "HTTP/2": (b"HTTP/2 200 OK\r\n\r\n", AttemptResult.CONNECT_FAILED),
    "hangs up": (b"", AttemptResult.CONNECT_FAILED),
    "hangs up in the head": (b"HTTP/1.1 200 OK\r\nx: y\r\n", AttemptResult.CONNECT_FAILED),
    "speaks for the target": (b"HTTP/1.1 200 OK\r\n\r\n" + OK, AttemptResult.CONNECT_FAILED),
}


@pytest.mark.parametrize(("answer", "expected"), REFUSALS.values(), ids=REFUSALS.keys())
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_or_misbehaves_ends_the_attempt(
    run_on: RunOn, answer: bytes, expected: AttemptResult, scheme: str
) -> None:
    async def main() -> None:
        async def behave(conversation: Conversation) -> None:
            await conversation.request()
            await conversation.send(answer)

        async with (
            hostile_server(behave) as proxy,
            http_client(through(proxy.port), resolver=ProxyResolver(TableResolver({}))) as client,
        ):
            assert (await post(client, f"{scheme}://{NAME}/")).error is expected
            await until(lambda: proxy.open == 0)
            assert client.open_connections == 0

    run_on(main())


@pytest.mark.parametrize(
    "flood",
    [
        endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10),
    ],
    ids=["headers", "interim answers"],
)
def test_a_proxy_that_floods_is_cut_off(run_on: RunOn, flood: Behaviour) -> None:
    async def main() -> None:
        async with (
            hostile_server(flood) as proxy,
            http_client(through(proxy.port), resolver=ProxyResolver(TableResolver({}))) as client,
        ):
            assert (await post(client, f"http://{NAME}/")).error is AttemptResult.CONNECT_FAILED
            await until(lambda: proxy.open == 0)

    run_on(main())


def test_a_proxy_that_hangs_costs_the_time_for_connecting_and_no_more(run_on: RunOn) -> None:
    async def main() -> None:
        async with hostile_server(silent) as proxy:
            config = replace(through(proxy.port), connect_timeout_s=0.2, total_timeout_s=1000.0)  # than `post` waits
            async with http_client(config, resolver=ProxyResolver(TableResolver({}))) as client:
                assert (await post(client, f"http://{NAME}/")).error is AttemptResult.TIMEOUT
                await until(lambda: proxy.open == 0)

    run_on(main())


def test_an_address_in_the_url_is_vetted_here_as_well(run_on: RunOn) -> None:
    async def main() -> None:
        async with (
            hostile_server(answering(OK)) as proxy,
            http_client(through(proxy.port), guard=AddressGuard(), resolver=ProxyResolver(TableResolver({}))) as client,
        ):
            assert (await post(client, "http://169.254.169.254/latest/meta-data")).error is AttemptResult.BLOCKED
            assert proxy.accepted == 0

    run_on(main())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy:3128",
        "https://proxy:3128",
        "socks5://proxy:1080",
        "http://proxy",
        "http://proxy:x",
        "http://p:1/path",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(InvalidProxyError) as caught:
        parse_proxy(url)
    assert not url or url not in str(caught.value)
