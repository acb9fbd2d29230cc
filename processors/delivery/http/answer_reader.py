"""Reads one answer after another of a connection: httptools parses, this keeps what counts, within limits.

- the head, interim (1xx) answers included: 16 KiB, noticed within one more read of that size, and 100 headers;
- the body: 20,000 bytes; the answer counts by its status then, and the rest is not read;
- what frames the body (chunk sizes, chunk extensions, trailers): 128 KiB.

Source: RFC 9112 section 6.3 (message body length).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from .errors import BrokenAnswerError

_FIRST_FINAL_STATUS = 200


class Reading(Enum):
    """What an answer that was read so far is."""

    UNFINISHED = "unfinished"
    TOO_LONG = "too long"
    ENOUGH = "enough"
    """Its body is longer than what is kept: it counts by its status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLimits:
    """How much of an answer is read, in bytes and headers."""

    max_head_bytes: int = 16_384
    max_headers: int = 100
    max_body_bytes: int = 20_000
    max_framing_bytes: int = 131_072


class AnswerReader:
    """The answers of one connection, one at a time. httptools calls the methods whose names start with `on_`."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_feed",
        "_headers",
        "_in_body",
        "_limits",
        "_more_body",
        "_parser",
        "complete",
        "received",
        "reusable",
        "status",
    )

    def __init__(self, limits: AnswerLimits) -> None:
        """Expect an answer."""
        self._limits = limits
        self._parser = HttpResponseParser(self)
        self._feed = self._parser.feed_data
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = b""
        self._more_body = bytearray()
        self._body_bytes = 0
        self._in_body = False
        self.received = 0
        """Bytes of the present answer, or of what came in its place."""
        self.status = 0
        """Valid when the answer is complete, long enough or ended by the end of the connection."""
        self.complete = False
        self.reusable = False
        """Whether another request may follow on the connection, by what the answer says."""

    def start(self) -> None:
        """Expect the next answer."""
        self.received = 0
        self._body_bytes = 0
        self._in_body = False
        self.complete = False
        self.reusable = False
        self._headers.clear()
        self._body = b""
        if self._more_body:
            self._more_body = bytearray()

    def take(self, data: memoryview) -> None:
        """Parse what arrived.

        Raises:
            BrokenAnswerError: it is no answer, or it follows a complete one.
            Exception: what a bug in a callback below raised.
        """
        self.received += len(data)
        try:
            self._feed(data)
        except (HttpParserError, HttpParserUpgrade) as exc:
            if isinstance(exc, HttpParserCallbackError) and not isinstance(exc.__context__, HttpParserError):
                raise  # not the server's fault: one of the callbacks below has a bug
            self.reusable = False
            raise BrokenAnswerError(complete=self.complete) from exc

    def check(self) -> Reading:
        """Compare an answer that is not complete with the limits."""
        limits = self._limits
        if not self._in_body:
            return Reading.TOO_LONG if self.received > limits.max_head_bytes else Reading.UNFINISHED
        if self._body_bytes > limits.max_body_bytes:
            self.status = self._parser.get_status_code()
            return Reading.ENOUGH
        if self.received - self._body_bytes > limits.max_head_bytes + limits.max_framing_bytes:
            return Reading.TOO_LONG
        return Reading.UNFINISHED

    def ends_with_the_connection(self) -> bool:
        """Whether the head is whole and says nothing of the body's length; then the status is noted.

        Only HTTP/1.0 servers and old proxies leave it to the end of the connection.
        """
        if not self._in_body or any(
            name.lower() == b"content-length"
            or (name.lower() == b"transfer-encoding" and value.lower().rstrip().endswith(b"chunked"))
            for name, value in self._headers
        ):
            return False
        self.status = self._parser.get_status_code()
        return True

    @property
    def body(self) -> bytes:
        """What is kept of the body, as it came: an encoded body stays encoded."""
        body = self._body + self._more_body if self._more_body else self._body
        return body[: self._limits.max_body_bytes]

    def retry_after(self) -> str | None:
        """The raw header."""
        for name, value in self._headers:
            if name.lower() == b"retry-after":
                return value.decode("latin-1")
        return None

    def refuses(self) -> bool:
        """Whether a header `webhook-delivery` says `abort`: in any case, alone or in a list, in one header or several.

        Source: RFC 9110 section 5.6.1 (lists), 5.3 (a header that is repeated is a list).
        """
        return any(
            name.lower() == b"webhook-delivery"
            and any(word.strip(b" \t").lower() == b"abort" for word in value.split(b","))
            for name, value in self._headers
        )

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """Refuse a second answer: one request has one answer."""
        if self.complete:
            self.reusable = False
            raise HttpParserError("bytes after the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers count as headers, and are not kept."""
        if not self._in_body:
            self._headers.append((name, value))
            if len(self._headers) > self._limits.max_headers:
                raise HttpParserError("too many headers")

    def on_headers_complete(self) -> None:
        """Pass from head to body: from here on other limits hold."""
        self._in_body = True

    def on_body(self, piece: bytes) -> None:
        """Keep the body up to its limit."""
        if not self._body_bytes:
            self._body = piece  # all of it, nearly always
        elif self._body_bytes <= self._limits.max_body_bytes:
            self._more_body += piece
        self._body_bytes += len(piece)

    def on_message_complete(self) -> None:
        """Note that the answer is whole, unless it is an interim one."""
        self.status = self._parser.get_status_code()
        if self.status < _FIRST_FINAL_STATUS:
            self._in_body = False
            self._headers.clear()
            return
        self.reusable = self._parser.should_keep_alive()
        self.complete = True
