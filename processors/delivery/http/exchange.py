"""One request and its answer: what the caller holds while it is under way, and what the caller gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from hookstream.schemas.attempt import AttemptResult

from .target import Target


@dataclass(slots=True, init=False)
class Answer:
    """How a request ended: exactly one of `status` and `error` is None.

    A status that was read but whose answer then broke (reset, bad framing) is no status: `error` says so. `body` is
    the first 20,000 bytes as they came; a longer one still counts by its status. `retry_after` is the raw header.
    `duration_s` is monotonic, from the call of `post`. `refused`: the answer has a header `webhook-delivery: abort`.
    """

    status: int | None
    error: AttemptResult | None
    body: bytes
    retry_after: str | None
    duration_s: float
    refused: bool

    def __init__(
        self,
        status: int | None,
        error: AttemptResult | None,
        body: bytes,
        retry_after: str | None,
        duration_s: float,
        refused: bool = False,  # noqa: FBT001, FBT002 - the last field
    ) -> None:
        """Take the fields. Written out, because what `dataclass` writes is not compiled with the class."""
        self.status = status
        self.error = error
        self.body = body
        self.retry_after = retry_after
        self.duration_s = duration_s
        self.refused = refused


ReportError: TypeAlias = Callable[[str, BaseException], None]
"""Takes an exception that was not expected, and where it was caught: see `InternalErrors.report`."""


class Abandonable(Protocol):
    """The connection under an exchange."""

    def abandon(self) -> None:
        """Drop the exchange without answering it."""


class Exchange:
    """A request under way; `done` is called once with its answer, or never after `cancel`."""

    __slots__ = ("client", "connecting", "connection", "deadline", "done", "request", "started_at", "target")

    def __init__(
        self,
        target: Target,
        request: bytes,
        done: Callable[[Answer], None],
        started_at: float,
        deadline: float,
        client: str | None = None,
    ) -> None:
        """Hold a request; times are monotonic seconds. `client` is whose it is, for what clients have a share of."""
        self.target = target
        self.request = request
        self.done: Callable[[Answer], None] | None = done
        self.started_at = started_at
        self.deadline = deadline
        self.client = client
        self.connection: Abandonable | None = None
        self.connecting: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Abandon the request and close its connection; `done` is not called afterwards. Nothing if it has ended."""
        if self.done is None:
            return
        self.done = None
        if self.connecting is not None:
            self.connecting.cancel()
        if self.connection is not None:
            self.connection.abandon()
            self.connection = None

    def fail(self, error: AttemptResult, now: float) -> None:
        """End without a status."""
        self.finish(Answer(None, error, b"", None, now - self.started_at))

    def finish(self, answer: Answer) -> None:
        """End with an answer; nothing if it has ended before."""
        done = self.done
        if done is not None:
            self.done = None
            self.connection = None
            done(answer)
