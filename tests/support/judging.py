"""Everything between a request's turn and what its answer means, without sockets: one engine, its requests.

The engine, the dispatcher, what judges and what encodes attempts are the shipped ones; answers are the test's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from hookstream.processors.delivery.attempts.bytes import AttemptBytes
from hookstream.processors.delivery.attempts.lines import AttemptLines
from hookstream.processors.delivery.engine.dispatcher import Dispatcher
from hookstream.processors.delivery.engine.engine import Engine, StreamStart
from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.engine.outcome import judge
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.engine.tracker import SettledSet
from hookstream.processors.delivery.http.answer_reader import AnswerLimits
from hookstream.processors.delivery.http.connection import HttpConnection
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.delivery.http.target import parse_target
from hookstream.processors.delivery.worker.internal_errors import InternalErrors
from hookstream.processors.delivery.worker.request_builder import Request
from hookstream.processors.delivery.worker.requests_in_flight import Judge, RequestDeps, Requesting
from hookstream.processors.metrics import Metrics
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import Hook, HookId, HookState, Revision
from tests.support.values import DELIVERY, HOOK

WALL_MS = 1_790_000_100_000


class Builder:
    """Builds the least that a request is."""

    def build(self, post: Any, _wall_s: int) -> Request | None:
        return Request(parse_target(post.row.target), b"", b"{}")


class Http:
    """Takes requests; the test answers them."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[Answer], None]] = []

    def post(
        self, _target: object, _headers: bytes, _body: bytes, done: Callable[[Answer], None], _client: object
    ) -> Any:
        self.waiting.append(done)
        return SimpleNamespace(cancel=lambda: None)


class Attempts:
    """Encodes each attempt as the real one does, and keeps what it was."""

    def __init__(self) -> None:
        self.bytes = AttemptBytes(1)
        self.results: list[str] = []

    def add(self, post: Any, result: Any, answer: Answer, *, partition: int, wall_ms: int) -> None:
        self.bytes.encode(post, result, answer, partition=partition, wall_ms=wall_ms)
        self.results.append(str(result))


class Table(dict[tuple[str, str], Hook]):
    """The hooks there are."""

    def get(self, client: str, event: str) -> Hook | None:  # type: ignore[override]
        return super().get((client, event))


class Bench:
    """One partition; each record that `read` gives it is of a resource of its own, so that all may be sent at once."""

    def __init__(
        self, *, builder: Any = None, http: Any = None, policy: EnginePolicy | None = None, judged_by: Judge = judge
    ) -> None:
        self.now, self.offset = 1000.0, 0
        self.table = Table()
        self.metrics = Metrics()
        self.internal_errors = InternalErrors(self.metrics, lambda: self.now)
        self.http, self.attempts = http or Http(), Attempts()
        self.policy = policy or EnginePolicy()
        dispatcher = Dispatcher(self.policy)
        start = StreamStart(0, SettledSet(0), EMPTY_STATE)
        effects = SimpleNamespace(dead_letter=lambda *_: None, notify=lambda *_: None, stale=lambda *_: None)
        self.engine = Engine(
            policy=self.policy,
            table=self.table,
            dispatcher=dispatcher,
            effects=effects,
            decode=lambda value: value,  # type: ignore[arg-type,return-value]
            random=lambda: 0.5,
            starts=(start, start),
            now=self.now,
            wall_ms=WALL_MS,
        )
        self.part: Any = SimpleNamespace(
            index=3, commits=SimpleNamespace(uncommitted=0), answering=None, engine=self.engine
        )
        self.parts = RequestDeps(
            dispatcher=dispatcher,
            http=self.http,
            builder=builder or Builder(),
            attempts=self.attempts,
            lines=AttemptLines(lambda: self.now),
            spans=None,
            metrics=self.metrics,
            internal_errors=self.internal_errors,
        )
        self.requesting = Requesting(self.parts, answered=lambda: None, judged_by=judged_by)

    def hook(self, client: int = 434, target: str = "http://h.example/x") -> Hook:
        """Add an enabled hook of a client."""
        row = replace(
            HOOK,
            id=HookId(client * 10),
            client=ClientId(str(client)),
            target=target,
            state=HookState.ENABLED,
            revision=Revision(1),
            not_before_ms=0,
            rate_limit_per_s=None,
        )
        self.table[row.client, row.event] = row
        return row

    def read(self, hook: Hook, records: int = 1) -> None:
        """Let live reading read deliveries of a hook."""
        for _ in range(records):
            delivery = replace(
                DELIVERY,
                event=hook.event,
                client=hook.client,
                concept_id=str(self.offset),
                hook_id=hook.id,
                hook_revision=hook.revision,
                replay=None,
                replayed_at_ms=0,
            )
            self.engine.read(LIVE, self.offset, delivery, 100)
            self.offset += 1

    def turn(self, *, seconds: float = 0.0) -> int:
        """Have a turn; return how many requests it sent, or failed to send."""
        self.now += seconds
        self.engine.advance(self.now, WALL_MS + int((self.now - 1000) * 1000))
        self.requesting.take_answers({self.engine: self.part}, WALL_MS)
        self.engine.end_turn()
        before = self._asked()
        self.requesting.dispatch({self.engine: self.part}, (), self.now, WALL_MS // 1000)
        return self._asked() - before

    def _asked(self) -> int:
        """How many requests were made, with those that wait for an answer."""
        return sum(self.metrics.worker.attempts.values()) + len(self.http.waiting) + len(self.requesting._answers)

    def answer(self, answer: Answer) -> None:
        """Answer every request that waits, and let the engine hear of it."""
        waiting, self.http.waiting = self.http.waiting, []
        for done in waiting:
            done(answer)
        self.turn()


class Transport:
    """A transport that keeps what is written and says what the test wants."""

    def __init__(self) -> None:
        self.written = b""
        self.unwritten = 0
        self.closing = False
        self.raises: Exception | None = None

    def write(self, data: bytes) -> None:
        if self.raises is not None:
            raise self.raises
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unwritten

    def abort(self) -> None:
        self.closing = True

    close = abort


class Owner:
    """The pool of one connection: what became of it."""

    def __init__(self) -> None:
        self.released: list[HttpConnection] = []
        self.repeated: list[Any] = []
        self.distrusted = 0

    def distrust(self, _connection: HttpConnection) -> None:
        self.distrusted += 1

    def release(self, connection: HttpConnection, _now: float) -> None:
        self.released.append(connection)

    def forget(self, _connection: HttpConnection) -> None:
        pass

    def repeat(self, exchange: Any) -> None:
        self.repeated.append(exchange)


def connected(
    owner: Any = None, *, report_error: Callable[[str, BaseException], None], transport: Transport | None = None
) -> tuple[HttpConnection, Transport]:
    """A connection on a transport of the test's own."""
    transport = transport or Transport()
    connection = HttpConnection(
        owner or Owner(),
        "http://h.example:80",
        limits=AnswerLimits(),
        buffer=memoryview(bytearray(16_384)),
        clock=lambda: 1000.0,
        report_error=report_error,
    )
    connection.connection_made(transport)  # type: ignore[arg-type]
    return connection, transport


def feed(connection: HttpConnection, data: bytes) -> None:
    """Let bytes arrive, 16 KiB at a time."""
    while data:
        part, data = data[:16_384], data[16_384:]
        connection.get_buffer(-1)[: len(part)] = part
        connection.buffer_updated(len(part))
