"""Promise: a hostile network changes nothing: no answer but a 2xx counts, and no other endpoint notices."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

import trustme

from hookstream.schemas.attempt import AttemptResult
from tests.support.hostile_server import answering, endless, hostile_server, silent
from tests.support.loop_thread import LoopThread
from tests.support.targets import OK, Reply
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.delivery_world import DeliveryWorld
    from tests.support.hostile_server import Behaviour, Conversation, HostileServer
    from tests.support.processes import Processes

SECRET = "token=hunter2"
HEAD = b"HTTP/1.1 200 OK\r\n"


async def one_byte_of_head_at_a_time(conversation: Conversation) -> None:
    """Never finish the head."""
    await conversation.request()
    await conversation.send(HEAD)
    while True:
        await conversation.send(b"x")
        await asyncio.sleep(0.05)


async def reset_in_the_body(conversation: Conversation) -> None:
    """Promise a body and break off."""
    await conversation.request()
    await conversation.send(HEAD + b"content-length: 1000\r\n\r\nhalf")
    conversation.reset()


CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
BEHAVIOURS: Mapping[str, Behaviour] = {
    "endless-head": endless(HEAD, b"x-more: " + b"y" * 1000 + b"\r\n"),
    "slow-head": one_byte_of_head_at_a_time,
    "hang": silent,
    "reset": reset_in_the_body,
    "bad-chunks": answering(CHUNKED + b"zz\r\nnonsense", keep_open=False),
    "no-http": answering(b"SSH-2.0-OpenSSH_9.6\r\n", keep_open=False),
}


def says_more(late: bytes) -> Behaviour:
    """Answer 200, say something more a millisecond later, and hang up."""

    async def behave(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(HEAD + b"content-length: 2\r\n\r\nok")
        await asyncio.sleep(0.001)
        await conversation.send(late)

    return behave


SAYS_MORE: Mapping[str, Behaviour] = {
    "body": says_more(b"</html>"),
    "answer": says_more(HEAD + b"content-length: 2\r\n\r\nok"),
}


@contextmanager
def hostile_servers(
    behaviours: Mapping[str, Behaviour], certificate: trustme.LeafCert
) -> Iterator[Mapping[str, HostileServer]]:
    """One server for each behaviour, and one whose certificate no authority has signed, in a thread of their own."""
    thread = LoopThread("hostile")
    stack = AsyncExitStack()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    async def enter() -> dict[str, HostileServer]:
        entered = {name: await stack.enter_async_context(hostile_server(b)) for name, b in behaviours.items()}
        ok = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        entered["self-signed"] = await stack.enter_async_context(hostile_server(ok, context=context))
        return entered

    try:
        yield thread.call(enter())
    finally:
        thread.call(stack.aclose())
        thread.close()


def test_every_way_to_misbehave_ends_in_a_retry_and_hurts_no_other(world: DeliveryWorld, processes: Processes) -> None:
    """Targets that hang, drip, reset, babble or lie get nothing counted as delivered, and their neighbours get all.

    What they are owed arrives when their hooks point elsewhere. No log line holds the query of a target.
    """
    with hostile_servers(BEHAVIOURS, trustme.CA().issue_cert("127.0.0.1")) as servers:
        names = list(servers)
        hooks = [world.hook(n, n, servers[name].url(f"/hook?{SECRET}")) for n, name in enumerate(names, 1)]
        good = world.hook(99, 99, world.targets.url("good"))
        world.publish(*hooks, good)
        worker = world.spawn(processes, attempt_timeout_s=1.0, connect_timeout_s=1.0)
        for hook in hooks:
            world.send(hook, range(5), partition=0)
        ours = world.send(good, range(300), partition=0)
        world.wait_all(of=ours)
        eventually(lambda: world.commit_of()[0] == 5 * len(hooks) + 300, describe="what is hostile is owed")
        assert all(server.accepted for name, server in servers.items() if name != "self-signed")

        def results() -> set[tuple[int, AttemptResult]]:
            return {(attempt.hook_id, attempt.result) for attempt in world.attempts()}

        told = {(hooks[names.index("hang")].id, AttemptResult.TIMEOUT)}
        told.add((hooks[names.index("self-signed")].id, AttemptResult.TLS_FAILED))
        eventually(lambda: told <= results(), describe="what failed is told")
    assert {hook_id for hook_id, result in results() if result is AttemptResult.DELIVERED} == {good.id}
    assert SECRET not in worker.log_text()

    world.publish(*(world.hook(h.id, h.client, world.targets.url(f"moved{h.id}"), revision=2) for h in hooks))
    world.check_promises()


ABSURD = (
    "Fri, 31 Dec 99999999999 23:59:59 GMT",
    "Fri, 31 Dec 9999 23:59:59 -9999",
    "Fri, 99999999999999999999 Dec 2026 23:59:59 GMT",
    "9" * 5000,
    "-1",
    "soon",
)


def test_an_answer_that_names_no_time_ends_nothing(world: DeliveryWorld, processes: Processes) -> None:
    """Endpoints that ask for silence until an impossible date wait like any busy one, and no other endpoint does."""
    names = [f"absurd{n}" for n in range(len(ABSURD))]
    busy, good = world.hooks(*names), world.hook(99, 99, world.targets.url("good"))
    world.publish(*busy, good)
    headers = {f"/{name}": {"retry-after": text} for name, text in zip(names, ABSURD, strict=True)}
    world.targets.answer = lambda seen: Reply(429, headers[seen.path]) if seen.path in headers else OK
    worker = world.spawn(processes)
    for hook in busy:
        world.send(hook, range(3), partition=0)
    world.wait_all(of=world.send(good, range(100), partition=0))
    eventually(lambda: all(world.targets.to(name) for name in names), describe="every one was asked")
    world.targets.answer = lambda _seen: OK
    world.check_promises()
    assert worker.terminate() == 0
    assert {a.result for a in world.attempts()} == {AttemptResult.BUSY, AttemptResult.DELIVERED}
    assert "internal error" not in worker.log_text()


def test_a_server_that_says_more_than_its_answers_gets_everything_once_read(world: DeliveryWorld) -> None:
    """Servers that send more body, or a second 200, just after their answer get each of 150 deliveries at once.

    None fails, no endpoint is quarantined, and nothing counts as delivered that its receiver has not read.
    """
    with hostile_servers(SAYS_MORE, trustme.CA().issue_cert("127.0.0.1")) as servers:
        hooks = [world.hook(n, n, servers[name].url("/hook")) for n, name in enumerate(SAYS_MORE, 1)]
        world.publish(*hooks)
        # On a busy machine the server's millisecond is longer than a connection rests: so it rests for longer, too.
        world.start(rest_s=5.0)
        sent = {name: world.send(hook, range(150), partition=0) for name, hook in zip(SAYS_MORE, hooks, strict=True)}
        eventually(lambda: world.commit_of()[0] == 300, describe="they are settled")
        eventually(lambda: len(world.attempts()) >= 300, describe="every attempt is told")
        for name, deliveries in sent.items():
            read = {request.header("webhook-id") for request in servers[name].requests}
            assert read == {delivery.id for delivery in deliveries}
    attempts = world.attempts()
    assert {attempt.result for attempt in attempts} == {AttemptResult.DELIVERED}
    assert len(attempts) == 300


def test_a_redirect_is_a_failure_and_never_followed(world: DeliveryWorld) -> None:
    """A redirect, to wherever, is a failure like any other answer: no request goes there."""
    (hook,) = world.hooks("moved")
    trap = world.targets.url("trap")
    world.targets.answer = lambda seen: Reply(302, {"location": trap}) if seen.path == "/moved" else OK
    world.start()
    world.send(hook, range(10), partition=0)
    eventually(lambda: world.commit_of()[0] == 10, describe="they are owed")
    eventually(lambda: len(world.targets.to("moved")) >= 3)
    assert not world.targets.to("trap")
    eventually(lambda: AttemptResult.REDIRECTED in {attempt.result for attempt in world.attempts()})
    world.targets.answer = lambda _seen: OK
    assert world.check_promises() == 0


class Names:
    """A name server that knows two names."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Resolve."""
        return {"good.example": ("127.0.0.1",), "denied.example": ("127.0.0.2",)}[host]


def test_what_an_operator_forbids_gets_no_request_whenever_it_was_registered(world: DeliveryWorld) -> None:
    """Workers send to no forbidden network, port or scheme, also where the hook is older than the rule; it is owed."""
    port = world.targets.port
    urls = {
        "name in a denied network": f"http://denied.example:{port}/name",
        "address in a denied network": f"http://127.0.0.2:{port}/address",
        "port that is not allowed": "http://good.example:1/port",
        "good": f"http://good.example:{port}/good",
    }
    hooks = [world.hook(n, n, url) for n, url in enumerate(urls.values(), 1)]
    world.publish(*hooks)

    def blocked() -> set[int]:
        return {attempt.hook_id for attempt in world.attempts() if attempt.result is AttemptResult.BLOCKED}

    worker = world.start(resolver=Names(), denied_networks=["127.0.0.2/32"], allowed_ports=[port])
    for hook in hooks:
        world.send(hook, [1], partition=0)
    eventually(lambda: blocked() == {1, 2, 3}, describe="what is forbidden is not sent")
    world.wait_all(of=world.sent[-1:])
    worker.stop()
    worker = world.start(resolver=Names(), require_https=True)
    world.send(hooks[-1], [2], partition=0)
    eventually(lambda: blocked() == {1, 2, 3, 4}, describe="http is not sent")
    worker.stop()
    assert {seen.path for seen in world.targets.requests} == {"/good"}
    assert len(world.targets.requests) == 1


class Rebinding:
    """A name server that gives a public address first and a private one from then on."""

    def __init__(self) -> None:
        self.private = False
        self.asked = 0

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Resolve."""
        self.asked += 1
        assert host == "rebinding.example"
        return ("10.0.0.1",) if self.private else ("127.0.0.1",)


def test_a_name_that_turns_private_is_blocked(world: DeliveryWorld) -> None:
    """Workers do not connect to a target whose name moved to a private address; its deliveries stay pending."""
    resolver = Rebinding()
    hook = world.hook(1, 1, f"http://rebinding.example:{world.targets.port}/one")
    world.publish(hook)
    worker = world.start(resolver=resolver)
    world.wait_all(of=world.send(hook, [1], partition=0))
    worker.stop()
    resolver.private = True
    world.start(resolver=resolver, names_fresh_s=0.1)
    world.send(hook, range(5), partition=0)
    eventually(lambda: world.commit_of()[0] == 6, describe="they are owed")
    assert len(world.targets.requests) == 1
    eventually(lambda: AttemptResult.BLOCKED in {attempt.result for attempt in world.attempts()})
    resolver.private = False
    assert world.check_promises() == 0
