"""Requests on their way: from the dispatcher to the HTTP client, and answers back to the engines.

Nothing is done per answer but to note it; the next turn takes them. Belongs to the event loop's thread.

Answers are bytes that others choose. Whatever our code raises while one request is built, sent, answered or judged ends
that attempt as `internal-error` and nothing else; what only records it (the attempt log, spans, lines of log) changes
nothing in what became of it. Only the engine's own turn is not guarded so: it is given a verdict and bounded numbers,
and after an exception it is unknown what it would commit (docs/adr/0014-internal-errors.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import structlog

from hookstream.processors.delivery.attempts.lines import AttemptLines
from hookstream.processors.delivery.attempts.spans import AttemptSpans
from hookstream.processors.delivery.engine.engine import Engine
from hookstream.processors.delivery.engine.model import Dispatches, Post
from hookstream.processors.delivery.engine.outcome import FAILED, Outcome, judge
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.delivery.http.target import Target
from hookstream.processors.delivery.partitions.partition_commits import PartitionCommits
from hookstream.processors.metrics import Metrics
from hookstream.schemas.attempt import AttemptResult

from .brake import Brake
from .internal_errors import InternalErrors
from .request_builder import Request

# Requests of which nothing good is known, and failures, can come by the thousand at once: as many as 60 clients have
# hooks, and 15 s later their time-outs. A turn takes some, so that between turns all others are served.
_OTHERS_PER_TURN = 16
_FAILURES_PER_TURN = 32
# Looked up once: compiled code looks into the module and the class for each other mention.
_DELIVERED: Final = AttemptResult.DELIVERED
_INTERNAL_ERROR: Final = AttemptResult.INTERNAL_ERROR

log = structlog.get_logger("hookstream.deliver")


Judge: TypeAlias = Callable[..., tuple[AttemptResult, Outcome]]
"""What an answer means: `engine.outcome.judge`."""


class Cancellable(Protocol):
    """A request under way."""

    def cancel(self) -> None:
        """Abandon it."""


class Posting(Protocol):
    """What makes requests: an `HttpClient`."""

    def post(
        self, target: Target, headers: bytes, body: bytes, done: Callable[[Answer], None], client: str | None, /
    ) -> Cancellable:
        """Make one; `done` is called once, later."""


class Building(Protocol):
    """What builds requests: a `RequestBuilder`."""

    def build(self, post: Post, wall_s: int, /) -> Request | None:
        """Build one; None where none can be made."""


class Recording(Protocol):
    """What records attempts: an `AttemptLog`."""

    def add(self, post: Post, result: AttemptResult, answer: Answer, /, *, partition: int, wall_ms: int) -> None:
        """Note one request that has ended."""


class Dispatching(Protocol):
    """What says whose turn it is: a `Dispatcher`."""

    def next(self, *, quick_only: bool) -> Post | None:
        """The next request, if there is one."""


class Answered(Protocol):
    """A partition whose requests are answered: an `OwnedPartition`."""

    index: int
    engine: Engine
    commits: PartitionCommits
    answering: Answer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDeps:
    """What requests are made with."""

    dispatcher: Dispatching
    http: Posting
    builder: Building
    attempts: Recording
    lines: AttemptLines
    spans: AttemptSpans | None
    metrics: Metrics
    internal_errors: InternalErrors


class Requesting:
    """Every request of a worker that has no answer yet."""

    def __init__(self, deps: RequestDeps, *, answered: Callable[[], None], judged_by: Judge = judge) -> None:
        """`answered` is called when an answer waits to be taken."""
        self._deps = deps
        self._answered = answered
        self._judge = judged_by
        self._answers: list[tuple[Post, Answer]] = []
        self._failures: deque[tuple[Post, Answer]] = deque()  # requests that ended without an answer
        self._flights: dict[Post, Cancellable | None] = {}
        self._brake = Brake()
        self._numbers = deps.metrics.worker

    @property
    def braked(self) -> bool:
        """Whether every request fails by an exception of our own code, so that few are sent."""
        return self._brake.on

    def dispatch(
        self, owners: Mapping[Dispatches, Answered], leaving: Collection[Answered], now: float, wall_s: int
    ) -> None:
        """Send everything whose turn it is, but for partitions that are given away; `now` is monotonic seconds."""
        next_post, brake = self._deps.dispatcher.next, self._brake
        unsent: list[Post] = []
        others = _OTHERS_PER_TURN
        while not brake.on or brake.admits(now):
            post = next_post(quick_only=not others)
            if post is None:
                break
            partition = owners.get(post.endpoint.engine)
            if partition is None or partition in leaving:
                unsent.append(post)  # not abandoned yet: a probe would be due again, and next, without end
            else:
                if others and not post.endpoint.quick:
                    others -= 1
                self._send(post, wall_s)
        for post in unsent:
            post.endpoint.engine.abandon(post)
        if not others:
            self._answered()

    def _send(self, post: Post, wall_s: int) -> None:
        self._flights[post] = None
        where = "build"
        try:
            request = self._deps.builder.build(post, wall_s)
            if request is None:
                self.take_note(post, Answer(None, AttemptResult.BLOCKED, b"", None, 0.0))
                return
            where = "send"
            waiting = _Waiting(self, post)
            self._flights[post] = self._deps.http.post(
                request.target, request.headers, request.body, waiting, post.row.client
            )
        except Exception as exc:  # noqa: BLE001 - this request is given up, not the loop
            self._report(where, exc, post)
            self.take_note(post, Answer(None, AttemptResult.INTERNAL_ERROR, b"", None, 0.0))

    def cancel(self, post: Post) -> None:
        """Abandon a request: its answer is not taken any more."""
        exchange = self._flights.pop(post, None)
        if exchange is not None:
            exchange.cancel()

    def cancel_all(self) -> None:
        """Abandon every request."""
        for post in list(self._flights):
            self.cancel(post)

    def take_note(self, post: Post, answer: Answer) -> None:
        """Keep an answer for the next turn."""
        (self._failures if answer.status is None else self._answers).append((post, answer))
        self._answered()

    def take_answers(self, owners: Mapping[Dispatches, Answered], wall_ms: int) -> int:
        """Give the engines what came back, of failures some; return how many answers that were."""
        answers, failures = self._answers, self._failures
        if not (answers or failures):
            return 0
        self._answers = []
        if failures:
            answers += [failures.popleft() for _ in range(min(len(failures), _FAILURES_PER_TURN))]
            if failures:
                self._answered()
        flights, take = self._flights, self._take
        for post, answer in answers:
            if post in flights:  # else it was abandoned
                del flights[post]
                take(owners[post.endpoint.engine], post, answer, wall_ms)
        return len(answers)

    def _take(self, partition: Answered, post: Post, answer: Answer, wall_ms: int) -> None:
        metrics = self._numbers
        try:
            result, outcome = self._judge(
                answer.status, answer.error, answer.retry_after, wall_s=wall_ms / 1000, refused=answer.refused
            )
        except Exception as exc:  # noqa: BLE001 - this attempt is given up, not the loop
            self._report("judge", exc, post)
            result, outcome = _INTERNAL_ERROR, FAILED
        if result is _INTERNAL_ERROR:
            self._brake_after(post)
        elif answer.status is not None and self._brake.worked():
            log.warning("answers can be judged again; sending goes on")
        metrics.attempts[result] += 1
        metrics.attempt_seconds.observe(answer.duration_s)
        partition.commits.uncommitted += 1
        health = post.endpoint.health
        was_open = health.breaker_open
        self._record(partition, post, result, answer, wall_ms)
        if result is _DELIVERED:
            metrics.deliveries["delivered"] += 1
            delivery = post.pending.delivery
            if delivery.replay is None:
                metrics.delivery_seconds.observe((wall_ms - delivery.occurred_at_ms) / 1000)
            partition.engine.answer(post, outcome, answer.duration_s)
            if was_open:
                self._log_line(post, result, answer, was_open=was_open)
        else:
            partition.answering = answer
            partition.engine.answer(post, outcome, answer.duration_s)
            partition.answering = None
            self._log_line(post, result, answer, was_open=was_open)

    def _record(self, partition: Answered, post: Post, result: AttemptResult, answer: Answer, wall_ms: int) -> None:
        """Record it in the attempt log and the traces; an exception of theirs is no failure of the attempt."""
        try:
            self._deps.attempts.add(post, result, answer, partition=partition.index, wall_ms=wall_ms)
            if self._deps.spans is not None:
                self._deps.spans.ended(post, result, answer, partition=partition.index, wall_ms=wall_ms)
        except Exception as exc:  # noqa: BLE001 - the record is given up
            self._report("record", exc, post)

    def _log_line(self, post: Post, result: AttemptResult, answer: Answer, *, was_open: bool) -> None:
        """Write a line of log; an exception of that is no failure of the attempt."""
        lines = self._deps.lines
        try:
            if was_open and not post.endpoint.health.breaker_open:
                lines.recovered(post, result, answer)
            elif post.endpoint.health.breaker_open and not was_open:
                lines.quarantined(post, result, answer)
            else:
                lines.failed(post, result, answer)
        except Exception as exc:  # noqa: BLE001 - the line is given up
            self._report("record", exc, post)

    def _brake_after(self, post: Post) -> None:
        if self._brake.failed(post.endpoint.client_id):
            log.critical("every request fails by an internal error; few are sent until one works")

    def _report(self, where: str, error: Exception, post: Post) -> None:
        delivery = post.pending.delivery
        self._deps.internal_errors.report(
            where, error, delivery=delivery.id, hook=delivery.hook_id, client=delivery.client, attempt=post.number
        )


class _Waiting:
    """Hands an answer back with the request that it belongs to."""

    __slots__ = ("_post", "_requesting")

    def __init__(self, requesting: Requesting, post: Post) -> None:
        self._requesting = requesting
        self._post = post

    def __call__(self, answer: Answer) -> None:
        self._requesting.take_note(self._post, answer)
