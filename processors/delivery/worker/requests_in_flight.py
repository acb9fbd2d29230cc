"""Requests on their way: from the dispatcher to the HTTP client, and answers back to the engines.

Nothing is done per answer but to note it; the next turn takes all of them. Belongs to the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hookstream.processors.delivery.engine.outcome import DELIVERED, outcome_of, result_of
from hookstream.processors.delivery.http.exchange import Answer, Exchange
from hookstream.schemas.attempt import AttemptResult

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.lines import AttemptLines
    from hookstream.processors.delivery.attempts.producer import AttemptLog
    from hookstream.processors.delivery.attempts.spans import AttemptSpans
    from hookstream.processors.delivery.engine.dispatcher import Dispatcher
    from hookstream.processors.delivery.engine.lanes import Dispatches, Post
    from hookstream.processors.delivery.http.client import HttpClient
    from hookstream.processors.metrics import Metrics

    from .owned_partition import OwnedPartition
    from .request_builder import RequestBuilder


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestParts:
    """What requests are made with."""

    dispatcher: Dispatcher
    http: HttpClient
    builder: RequestBuilder
    attempts: AttemptLog
    lines: AttemptLines
    spans: AttemptSpans | None
    metrics: Metrics


class Requesting:
    """Every request of a worker that has no answer yet."""

    def __init__(self, parts: RequestParts, *, answered: Callable[[], None]) -> None:
        """`answered` is called when an answer waits to be taken."""
        self._parts = parts
        self._answered = answered
        self._answers: list[tuple[Post, Answer]] = []
        self._flights: dict[Post, Exchange | None] = {}

    def dispatch(
        self, owners: Mapping[Dispatches, OwnedPartition], leaving: Collection[OwnedPartition], wall_s: int
    ) -> None:
        """Send everything whose turn it is, but for partitions that are given away."""
        next_post, build, post_http = self._parts.dispatcher.next, self._parts.builder.build, self._parts.http.post
        flights = self._flights
        while (post := next_post()) is not None:
            part = owners.get(post.endpoint.engine)
            if part is None or part in leaving:
                post.endpoint.engine.abandon(post)
                continue
            request = build(post, wall_s)
            if request is None:
                flights[post] = None
                self.take_note(post, Answer(None, AttemptResult.BLOCKED, b"", None, 0.0))
            else:
                flights[post] = post_http(request.target, request.headers, request.body, _Waiting(self, post))

    def cancel(self, post: Post) -> None:
        """Abandon a request: its answer is not taken any more."""
        exchange = self._flights.pop(post, None)
        if exchange is not None:
            exchange.cancel()

    def take_note(self, post: Post, answer: Answer) -> None:
        """Keep an answer for the next turn."""
        self._answers.append((post, answer))
        self._answered()

    def take_answers(self, owners: Mapping[Dispatches, OwnedPartition], wall_ms: int) -> int:
        """Tell the engines what came back; return how many answers that were."""
        answers = self._answers
        if not answers:
            return 0
        self._answers = []
        flights, take = self._flights, self._take
        for post, answer in answers:
            if post in flights:  # else it was abandoned
                del flights[post]
                take(owners[post.endpoint.engine], post, answer, wall_ms)
        return len(answers)

    def _take(self, part: OwnedPartition, post: Post, answer: Answer, wall_ms: int) -> None:
        metrics, status = self._parts.metrics, answer.status
        if status is not None:
            result = result_of(status, retry_after=answer.retry_after is not None)
        else:
            result = answer.error or AttemptResult.BROKEN_ANSWER
        metrics.attempts[result] += 1
        metrics.attempt_seconds.observe(answer.duration_s)
        self._parts.attempts.add(post, result, answer, partition=part.index, wall_ms=wall_ms)
        if self._parts.spans is not None:
            self._parts.spans.ended(post, result, answer, partition=part.index, wall_ms=wall_ms)
        part.progress += 1
        health = post.endpoint.health
        was_sick = health.sick
        if result is AttemptResult.DELIVERED:
            metrics.deliveries["delivered"] += 1
            delivery = post.pending.delivery
            if delivery.replay is None:
                metrics.delivery_seconds.observe((wall_ms - delivery.occurred_at_ms) / 1000)
            part.engine.answer(post, DELIVERED, answer.duration_s)
            if was_sick:
                self._parts.lines.recovered(post, answer)
        else:
            part.answering = answer
            outcome = outcome_of(result, answer.retry_after, wall_s=wall_ms / 1000)
            part.engine.answer(post, outcome, answer.duration_s)
            part.answering = None
            if health.sick and not was_sick:
                self._parts.lines.quarantined(post, result, answer)
            else:
                self._parts.lines.failed(post, result, answer)


class _Waiting:
    """Hands an answer back with the request that it belongs to."""

    __slots__ = ("_post", "_requesting")

    def __init__(self, requesting: Requesting, post: Post) -> None:
        self._requesting = requesting
        self._post = post

    def __call__(self, answer: Answer) -> None:
        self._requesting.take_note(self._post, answer)
