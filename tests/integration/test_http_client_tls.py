"""TLS with real handshakes: who is believed, who is not, and that a session carries many requests."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from hookstream.schemas.attempt import AttemptResult
from tests.support.hostile_server import OK, Conversation, answering, endless, hostile_server, silent
from tests.support.http_posting import SHORT, Clock, http_client, post, run, times_out, until

RunOn = Callable[[Coroutine[Any, Any, None]], None]
NAME = "target.example"


@pytest.fixture(params=["asyncio", "uvloop"])
def run_on(request: pytest.FixtureRequest) -> RunOn:
    return lambda main: run(main, request.param)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_share_a_session_with_a_target_whose_certificate_names_it(
    run_on: RunOn, authority: trustme.CA, ca_file: Path, version: ssl.TLSVersion
) -> None:
    async def main() -> None:
        context = serving(authority.issue_cert(NAME))
        context.minimum_version = context.maximum_version = version
        async with hostile_server(answering(OK), context=context) as server, http_client(ca_file=ca_file) as client:
            for _ in range(5):
                answer = await post(client, server.url(host=NAME))
                assert (answer.status, answer.error, answer.body) == (200, None, b"ok")
            assert server.accepted == 1

    run_on(main())


def test_an_address_in_the_url_is_compared_with_the_certificate(
    run_on: RunOn, authority: trustme.CA, ca_file: Path
) -> None:
    async def main() -> None:
        context = serving(authority.issue_cert("127.0.0.1"))
        async with hostile_server(answering(OK), context=context) as server, http_client(ca_file=ca_file) as client:
            assert (await post(client, server.url())).status == 200
            assert (await post(client, server.url(host=NAME))).error is AttemptResult.TLS_FAILED

    run_on(main())


def untrusted(authority: trustme.CA) -> trustme.LeafCert:
    del authority
    return trustme.CA().issue_cert(NAME)


def expired(authority: trustme.CA) -> trustme.LeafCert:
    now = datetime.now(tz=UTC)
    return authority.issue_cert(NAME, not_before=now - timedelta(days=9), not_after=now - timedelta(days=2))


def of_another_host(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("other.example", "sub.target.example")


def of_a_common_name_alone(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(common_name=NAME)


@pytest.mark.parametrize("issue", [untrusted, expired, of_another_host, of_a_common_name_alone])
def test_a_certificate_of_another_name_ends_the_attempt_before_the_request(
    run_on: RunOn, authority: trustme.CA, ca_file: Path, issue: Callable[[trustme.CA], trustme.LeafCert]
) -> None:
    async def main() -> None:
        async with (
            hostile_server(answering(OK), context=serving(issue(authority))) as server,
            http_client(ca_file=ca_file) as client,
        ):
            assert (await post(client, server.url(host=NAME))).error is AttemptResult.TLS_FAILED
            assert server.requests == []
            assert client.open_connections == 0

    run_on(main())


def test_the_system_s_authorities_do_not_know_a_private_one(run_on: RunOn, authority: trustme.CA) -> None:
    async def main() -> None:
        context = serving(authority.issue_cert(NAME))
        async with hostile_server(answering(OK), context=context) as server, http_client() as client:
            assert (await post(client, server.url(host=NAME))).error is AttemptResult.TLS_FAILED

    run_on(main())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_below_1_2_is_refused(run_on: RunOn, authority: trustme.CA, ca_file: Path) -> None:
    async def main() -> None:
        context = serving(authority.issue_cert(NAME))
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        async with hostile_server(answering(OK), context=context) as server, http_client(ca_file=ca_file) as client:
            assert (await post(client, server.url(host=NAME))).error is AttemptResult.TLS_FAILED

    run_on(main())


async def hang_up(conversation: Conversation) -> None:
    await conversation.reader.read(1)


@pytest.mark.parametrize("behave", [answering(OK), hang_up], ids=["plain HTTP", "hangs up"])
def test_a_server_without_tls_is_a_tls_failure(
    run_on: RunOn, behave: Callable[[Conversation], Coroutine[Any, Any, None]]
) -> None:
    async def garbage(conversation: Conversation) -> None:
        await conversation.reader.read(1)
        await conversation.send(OK)

    async def main() -> None:
        async with hostile_server(hang_up if behave is hang_up else garbage) as server, http_client() as client:
            url = server.url(host=NAME).replace("http:", "https:")
            assert (await post(client, url)).error is AttemptResult.TLS_FAILED
            await until(lambda: server.open == 0)

    run_on(main())


def test_a_handshake_that_hangs_costs_the_time_for_connecting_and_no_more(run_on: RunOn) -> None:
    async def never(conversation: Conversation) -> None:
        await conversation.closed()

    async def main() -> None:
        config = replace(SHORT, connect_timeout_s=0.2, total_timeout_s=1000.0)  # longer than `post` waits
        async with hostile_server(never) as server, http_client(config) as client:
            answer = await post(client, server.url(host=NAME).replace("http:", "https:"))
            assert answer.error is AttemptResult.TIMEOUT
            await until(lambda: server.open == 0)

    run_on(main())


def test_the_limits_hold_over_tls(run_on: RunOn, authority: trustme.CA, ca_file: Path) -> None:
    async def main() -> None:
        context = serving(authority.issue_cert(NAME))
        body = endless(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n", b"x" * 65_536)
        async with hostile_server(body, context=context) as server, http_client(ca_file=ca_file) as client:
            answer = await post(client, server.url(host=NAME))
            assert (answer.status, answer.body) == (200, b"x" * 20_000)
            assert client.open_connections == 0
            await until(lambda: server.open == 0)
        clock = Clock()
        async with (
            hostile_server(silent, context=context) as server,
            http_client(ca_file=ca_file, total_timeout_s=30.0, clock=clock) as client,
        ):
            url = server.url(host=NAME)
            answer = await times_out(client, clock, url, after_s=30.0, when=lambda: bool(server.requests))
            assert (answer.error, answer.duration_s) == (AttemptResult.TIMEOUT, 30.0)

    run_on(main())


def test_a_kept_session_that_ends_without_a_byte_is_retried_once(
    run_on: RunOn, authority: trustme.CA, ca_file: Path
) -> None:
    async def second_request_ends_it(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(OK)
        await conversation.request()

    async def main() -> None:
        context = serving(authority.issue_cert(NAME))
        async with (
            hostile_server(second_request_ends_it, context=context) as server,
            http_client(ca_file=ca_file) as client,
        ):
            assert (await post(client, server.url(host=NAME))).status == 200
            assert (await post(client, server.url(host=NAME))).status == 200
            assert server.accepted == 2

    run_on(main())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 500 No\r\ncontent-type: text/plain\r\n\r\n", 500),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", AttemptResult.BROKEN_ANSWER),
        (b"HTTP/1.1 200 OK\r\n", AttemptResult.BROKEN_ANSWER),
    ],
    ids=["no length", "no length, failure", "cut short", "in the head"],
)
def test_an_answer_that_ends_with_a_session_that_does_not_say_so_counts_by_its_status(
    run_on: RunOn, authority: trustme.CA, ca_file: Path, head: bytes, expected: object, version: ssl.TLSVersion
) -> None:
    async def main() -> None:
        context = serving(authority.issue_cert(NAME))
        context.minimum_version = context.maximum_version = version

        async def end_in_silence(conversation: Conversation) -> None:
            await conversation.request()
            await conversation.send(head + b"ok")
            await conversation.end_without_close_notify()

        async with (
            hostile_server(end_in_silence, context=context) as server,
            http_client(ca_file=ca_file) as client,
        ):
            answer = await post(client, server.url(host=NAME))
            assert (answer.status or answer.error) == expected
            assert client.open_connections == 0

    run_on(main())


def test_many_sessions_at_once(run_on: RunOn, authority: trustme.CA, ca_file: Path) -> None:
    async def main() -> None:
        context = serving(authority.issue_cert(NAME))
        async with hostile_server(answering(OK), context=context) as server, http_client(ca_file=ca_file) as client:
            for _ in range(3):
                answers = await asyncio.gather(*(post(client, server.url(host=NAME)) for _ in range(32)))
                assert {answer.status for answer in answers} == {200}
            assert server.accepted == 32

    run_on(main())
