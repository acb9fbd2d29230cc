"""The parts of a delivery in the worker's main thread, each alone in this process: `python -m benchmarks.worker_parts`.

Prints JSON: microseconds of this thread's CPU per delivery by part, the best of some runs, so that what else the
machine does counts little. `benchmarks.breakdown` runs it under each build.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from unittest.mock import patch

from benchmarks import engine
from hookstream.processors.delivery.attempts import producer
from hookstream.processors.delivery.attempts.lines import AttemptLines
from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.http.address_guard import AddressGuard
from hookstream.processors.delivery.http.client import HttpClient, HttpClientConfig
from hookstream.processors.delivery.http.connection import HttpConnection
from hookstream.processors.delivery.http.connector import Connector
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.delivery.http.pool import PoolLimits
from hookstream.processors.delivery.http.target import parse_target
from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.delivery.worker.internal_errors import InternalErrors
from hookstream.processors.delivery.worker.request_builder import Request, RequestBuilder
from hookstream.processors.delivery.worker.requests_in_flight import RequestDeps, Requesting
from hookstream.processors.kafka import KafkaConfig, make_producer
from hookstream.processors.metrics import Metrics
from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.subscriptions.secrets import MasterKey, SecretBox, hook_context
from tests.support.judging import feed
from tests.support.posts import a_post
from tests.support.values import HOOK

if TYPE_CHECKING:
    from collections.abc import Callable

    from hookstream.processors.delivery.engine.engine import Engine
    from hookstream.processors.delivery.engine.model import Dispatches, Post
    from hookstream.processors.delivery.partitions.partition_commits import PartitionCommits
    from hookstream.processors.delivery.worker.requests_in_flight import Answered
    from hookstream.schemas.hook import Hook

ROUNDS = 7
RECORDS = 20_000
BATCH = 64  # requests in flight of one client, and so about what a turn records
ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}'
TARGET = parse_target("http://receiver.example/t/1")
HEADERS, BODY = b"h: v\r\n" * 40, b"b" * 110  # as long as a delivery's own


def best(run: Callable[[], None], deliveries: int) -> float:
    """CPU microseconds of this thread per delivery, the least of some runs."""
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        run()
        least = min(least, time.thread_time() - began)
    return least / deliveries * 1e6


def decoding() -> float:
    """A record's bytes to a delivery."""
    log = engine.deliveries(RECORDS)
    encode = delivery_encoder(7)
    values = [encode(delivery) for delivery in log]
    decode = delivery_decoder(lambda _: InternalSchema.DELIVERY.text)

    def run() -> None:
        for value in values:
            decode(value)

    return best(run, RECORDS)


def deciding() -> float:
    """The engine: reading, choosing, answering, snapshots."""
    log = engine.deliveries(RECORDS)
    return min(engine.run(log) for _ in range(ROUNDS))


class _Answered:
    """A partition, as requests see it."""

    def __init__(self, served: Engine) -> None:
        self.index = 3
        self.engine = served
        self.commits = cast("PartitionCommits", SimpleNamespace(uncommitted=0))
        self.answering: Answer | None = None


class _Parts:
    """Builds, posts and records nothing: those are parts of their own."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[Answer], None]] = []
        self._request = Request(TARGET, HEADERS, BODY)

    def build(self, _post: Post, _wall_s: int, /) -> Request:
        return self._request

    def post(self, _t: object, _h: bytes, _b: bytes, done: Callable[[Answer], None], _c: str | None, /) -> _Parts:
        self.waiting.append(done)
        return self

    def cancel(self) -> None:
        """Nothing is under way."""

    def add(self, post: Post, result: AttemptResult, answer: Answer, /, *, partition: int, wall_ms: int) -> None:
        """Record nothing."""


def requesting() -> float:
    """Requests under way and their answers, with the engine; both in turns."""
    log = engine.deliveries(RECORDS)

    def run() -> None:
        served, dispatcher = engine.made(log)
        parts, metrics = _Parts(), Metrics()
        deps = RequestDeps(
            dispatcher=dispatcher,
            http=parts,
            builder=parts,
            attempts=parts,
            lines=AttemptLines(),
            spans=None,
            metrics=metrics,
            internal_errors=InternalErrors(metrics),
        )
        requests = Requesting(deps, answered=lambda: None)
        partition = _Answered(served)
        owners: dict[Dispatches, Answered] = {served: partition}
        answer = Answer(200, None, b"{}", None, 0.002)
        position = turn = 0
        while position < RECORDS or parts.waiting:
            turn += 1
            served.advance(turn / 1000, turn)
            for _ in range(min(served.room(LIVE), engine.BATCH, RECORDS - position)):
                served.read(LIVE, position, log[position], 150)
                position += 1
            waiting, parts.waiting = parts.waiting, []
            for done in waiting:
                done(answer)
            requests.take_answers(owners, turn)
            served.end_turn()
            requests.dispatch(owners, (), turn / 1000, 1_795_463_750)

    return best(run, RECORDS)


def building(box: SecretBox, row: Hook) -> float:
    """The request with its signature."""
    builder = RequestBuilder(box, TargetRules().policy())
    posts = [a_post(delivery, row) for delivery in engine.deliveries(RECORDS)]

    def run() -> None:
        for post in posts:
            builder.build(post, 1_795_463_750)

    return best(run, RECORDS)


class _Queue:
    """Where attempt records go; what librdkafka does with them is measured by `handing_over`."""

    def __len__(self) -> int:
        return 0

    def produce_batch(self, _topic: str, records: list[dict[str, bytes]]) -> int:
        return len(records)


def recording(row: Hook) -> float:
    """The attempt record."""
    with patch.object(producer, "make_producer", lambda _: _Queue()):
        attempts = producer.AttemptLog(KafkaConfig(bootstrap_servers="nowhere:9092"), "attempts", schema_id=1)
    posts = [a_post(delivery, row) for delivery in engine.deliveries(RECORDS)]
    answer = Answer(200, None, b'{"ok":true}', None, 0.002)

    def run() -> None:
        for number, post in enumerate(posts):
            attempts.add(post, AttemptResult.DELIVERED, answer, partition=3, wall_ms=1_795_463_750_123)
            if number % BATCH == 0:
                attempts.flush()
        attempts.flush()

    return best(run, RECORDS)


class _NoNames:
    """A resolver that is not asked."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        raise AssertionError(host)

    def close(self) -> None:
        """Nothing is open."""


def handing_over() -> float:
    """What librdkafka does in the caller's thread with attempt records; no broker is there to take them."""
    queue = make_producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0, "error_cb": lambda _: None})

    def run() -> None:
        for _ in range(RECORDS // BATCH):
            queue.produce_batch("attempts", [{"value": b"v" * 200, "key": b"434"} for _ in range(BATCH)])
        queue.purge()
        queue.poll(0)

    return best(run, RECORDS)


async def posting() -> float:
    """The HTTP client on a kept connection, without an event loop's and the kernel's part."""
    now = [1000.0]
    opened: list[HttpConnection] = []

    async def connect(_self: Connector, _url: object, make: Callable[[], HttpConnection], *_: object) -> HttpConnection:
        connection = make()
        connection.connection_made(cast("asyncio.Transport", _Sink()))
        opened.append(connection)
        return connection

    real, Connector.connect = Connector.connect, connect  # type: ignore[method-assign,assignment]
    try:
        client = HttpClient(
            HttpClientConfig(), AddressGuard(), _NoNames(), lambda: now[0], report_error=lambda *_: None
        )
        answers: list[Answer] = []
        # Until the pool trusts the origin, its connection rests after each answer.
        while len(answers) < PoolLimits().rests_to_trust + 2:
            client.post(TARGET, b"", b"{}", answers.append, "1")
            for _ in range(3):  # the first connects, in a task
                await asyncio.sleep(0)
            feed(opened[0], ANSWER)
            now[0] += 1.0
    finally:
        Connector.connect = real  # type: ignore[method-assign]
    (connection,) = opened
    buffer, length = connection.get_buffer(-1), len(ANSWER)
    buffer[:length] = ANSWER
    post, arrived = client.post, connection.buffer_updated

    def done(_answer: Answer) -> None:
        pass

    def run() -> None:
        for _ in range(RECORDS):
            post(TARGET, HEADERS, BODY, done, "1")
            arrived(length)

    found = best(run, RECORDS)
    await client.close()
    return found


class _Sink:
    """A transport that takes everything."""

    def write(self, data: bytes) -> None:
        """Take it."""

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        """Nothing is open."""

    close = abort


def main() -> None:
    """Measure all of them."""
    box = SecretBox((MasterKey(b"k" * 32),))
    sealed = box.seal(b"s" * 32, context=hook_context(HOOK.client, HOOK.event, HOOK.id))
    row = replace(HOOK, secrets=(sealed,), target="http://receiver.example/t/1")
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 500, 100)  # as the worker does
    engine_us = deciding()
    found = {
        "codec": decoding(),
        "engine": engine_us,
        "requests under way": requesting() - engine_us,
        "request and signature": building(box, row),
        "HTTP client": asyncio.run(posting()),
        "attempt record": recording(row),
        "handing that over": handing_over(),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
