"""One connection to a target: writes a request, reads its answer, within limits that no server can stretch.

The connection has no task and no future: the loop calls `buffer_updated`, an `AnswerReader` parses, and the answer goes
to the exchange's callback. What is read is bounded by the reader's limits, and in time by `deadline`, which the pool's
sweep compares with the clock.

Bytes beyond the answer are never taken for the next one: the connection is closed, and the pool notes a server
that says more than its answers. A connection that is not in a state known to be clean (undecided framing, unsent
request bytes, old age) is closed too rather than reused.

Source: RFC 9112 sections 9.3 (persistence), 9.6 (tear-down).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from hookstream.schemas.attempt import AttemptResult

from .answer_reader import AnswerLimits, AnswerReader, Reading
from .errors import BrokenAnswerError
from .exchange import Answer, Exchange, ReportError

_FIRST_FAILURE_STATUS = 300


class ConnectionOwner(Protocol):
    """What a connection needs from the pool it belongs to."""

    def release(self, connection: HttpConnection, now: float) -> None:
        """Take back a connection that can carry another request."""

    def forget(self, connection: HttpConnection) -> None:
        """Take out a connection that can carry no more requests; called more than once."""

    def distrust(self, connection: HttpConnection) -> None:
        """Note that the server says more than its answers."""

    def repeat(self, exchange: Exchange) -> None:
        """Make the request once more, on a fresh connection."""


class HttpConnection(asyncio.BufferedProtocol):
    """A connection that carries one exchange at a time. Belongs to the event loop's thread."""

    __slots__ = (
        "_answer",
        "_buffer",
        "_clock",
        "_exchange",
        "_owner",
        "_report_error",
        "_served",
        "_transport",
        "deadline",
        "opened_at",
        "origin",
        "rests_at",
        "rests_until",
    )

    def __init__(
        self,
        owner: ConnectionOwner,
        origin: str,
        *,
        limits: AnswerLimits,
        buffer: memoryview,
        clock: Callable[[], float],
        report_error: ReportError,
    ) -> None:
        """Make the protocol of a transport to come; `connection_made` follows. `buffer`: see `get_buffer`."""
        self.origin = origin
        self.opened_at = clock()
        self.deadline = float("inf")
        self.rests_at = 0.0  # the pool's: when it rests after its next answer, where its server is trusted
        self.rests_until = 0.0  # 0 while it does not
        self._owner = owner
        self._clock = clock
        self._report_error = report_error
        self._buffer = buffer
        self._answer = AnswerReader(limits)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._served = 0

    @property
    def busy(self) -> bool:
        """Whether an exchange is under way."""
        return self._exchange is not None

    @property
    def closing(self) -> bool:
        """Whether the server or we have ended the connection already."""
        return self._transport is None or self._transport.is_closing()

    def send(self, exchange: Exchange) -> None:
        """Write the request; the exchange is answered later, never from within this call."""
        self._exchange = exchange
        exchange.connection = self
        self.deadline = exchange.deadline
        self._answer.start()
        self._transport.write(exchange.request)  # type: ignore[union-attr]  # connected before it is handed out

    def expire(self) -> None:
        """End what is under way as a time-out, or close quietly if nothing is."""
        if self._exchange is not None:
            self._fail(AttemptResult.TIMEOUT)
        else:
            self.close()

    def abandon(self) -> None:
        """Drop the exchange without answering it, and the connection with it."""
        self._exchange = None
        self._abort()

    def close(self) -> None:
        """Close an idle connection in good order."""
        self._owner.forget(self)
        if self._transport is not None:
            self._transport.close()

    # The loop's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport: of the socket, or of the TLS session on top of it."""
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is always a Transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the buffer that all connections share: it is read into and parsed within one turn of the loop."""
        del sizehint  # TLS hints at one record; a larger buffer takes several
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what arrived; the exchange is answered here as soon as its answer is complete."""
        exchange = self._exchange
        try:
            if exchange is None:  # an idle server that sends: its next answer could not be distinguished from this
                self._owner.distrust(self)
                self._abort()
                return
            answer = self._answer
            try:
                answer.take(self._buffer[:nbytes])
            except BrokenAnswerError as exc:
                if exc.complete:
                    self._owner.distrust(self)
                elif self._served and answer.received == nbytes and not self._begins_an_answer(nbytes):
                    # It belongs to the answer before. Whether the server has read the request is unknown.
                    self._owner.distrust(self)
                    self._repeat(exchange)
                    return
                else:
                    self._fail(AttemptResult.BROKEN_ANSWER)
                    return
            if answer.complete:
                self._finish()
                return
            reading = answer.check()
            if reading is Reading.ENOUGH:
                self._finish()
            elif reading is Reading.TOO_LONG:
                self._fail(AttemptResult.BROKEN_ANSWER)
        except Exception as exc:  # noqa: BLE001 - this answer is given up, not the loop
            self._give_up(exchange, exc)

    def eof_received(self) -> None:
        """End an answer that only the end of the connection delimits; the transport then closes itself."""
        exchange = self._exchange
        try:
            if exchange is None:
                self._owner.forget(self)
            elif self._answer.ends_with_the_connection():
                self._finish()
        except Exception as exc:  # noqa: BLE001 - this answer is given up, not the loop
            self._give_up(exchange, exc)

    def connection_lost(self, error: Exception | None) -> None:
        """End what is under way: repeat it if the server closed a kept connection without a word, else fail it."""
        exchange = self._exchange
        try:
            self._owner.forget(self)
            if exchange is None:
                return
            if error is None and self._answer.ends_with_the_connection():
                # A TLS session that ended without saying so (close_notify), which many old servers do: uvloop reports
                # no end of input for it. A device on the way may have cut the body short, but not the head, and only
                # the status counts.
                self._finish()
            elif self._served and not self._answer.received:
                # The server closed while idle and our request crossed it. It may still have been read: that makes it
                # one more request of the same attempt, with the same webhook-id, which the receiver may already expect.
                self._repeat(exchange)
            else:
                self._fail(AttemptResult.BROKEN_ANSWER)
        except Exception as exc:  # noqa: BLE001 - this answer is given up, not the loop
            self._give_up(exchange, exc)

    # Steps of the above

    def _finish(self) -> None:
        """Give the connection back or close it, then answer the caller."""
        exchange = self._exchange
        transport = self._transport
        if exchange is None or transport is None:
            return
        self._exchange = None
        self._served += 1
        now = self._clock()
        answer = self._answer
        status, body = answer.status, answer.body
        failed = status >= _FIRST_FAILURE_STATUS
        retry_after, refused = (answer.retry_after(), answer.refuses()) if failed else (None, False)
        if answer.reusable and not transport.is_closing() and not transport.get_write_buffer_size():
            self._owner.release(self, now)
        else:
            self._abort()
        exchange.finish(Answer(status, None, body, retry_after, now - exchange.started_at, refused))

    def _begins_an_answer(self, nbytes: int) -> bool:
        """Whether the first bytes that came can be the start of a status line; empty lines may precede it."""
        return b"HTTP/".startswith(bytes(self._buffer[:nbytes]).lstrip(b"\r\n")[:5])

    def _repeat(self, exchange: Exchange) -> None:
        """Have the request made once more, on a fresh connection, which does not repeat it again."""
        self._exchange = None
        self._abort()
        self._owner.repeat(exchange)

    def _fail(self, error: AttemptResult) -> None:
        exchange = self._exchange
        self._exchange = None
        self._abort()
        if exchange is not None:
            exchange.fail(error, self._clock())

    def _give_up(self, exchange: Exchange | None, error: Exception) -> None:
        """End an exchange, if it is not answered yet, and this connection after an exception of our own code."""
        self._report_error("answer", error)
        self._exchange = None
        if exchange is not None:
            exchange.fail(AttemptResult.INTERNAL_ERROR, self._clock())
        self._abort()

    def _abort(self) -> None:
        """Close at once, whatever is unread or unsent."""
        self._owner.forget(self)
        if self._transport is not None:
            self._transport.abort()
