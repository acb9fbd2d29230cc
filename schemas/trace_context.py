"""The trace that an event belongs to, as a record header that every package reads the same way.

One header, `traceparent`, as OpenTelemetry's Kafka clients write it. `ce_traceparent`, where CloudEvents clients keep
the context in which an event was made, is read where the other is missing.

Source: W3C Trace Context, section 3.2; CloudEvents, Distributed Tracing extension.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

HEADER = "traceparent"
CLOUD_EVENTS_HEADER = "ce_traceparent"

Headers: TypeAlias = dict[str, str | bytes | None] | list[tuple[str, str | bytes | None]] | None
"""A record's headers, as the Kafka client types them."""

_BYTES = 55  # of version 00; a longer one is a later version's, which this release cannot continue
_FORM = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1


class TraceContext(NamedTuple):
    """A place in a trace. `sampled`: whoever began it records it."""

    trace_id: int
    span_id: int
    sampled: bool

    def encode(self) -> bytes:
        """Write it as a header's value."""
        return b"00-%032x-%016x-%02x" % (self.trace_id, self.span_id, self.sampled)


def find(headers: Headers) -> bytes | None:
    """Give the header's value, None where there is none of the right length; its form is for `decode` to judge."""
    second: bytes | None = None
    for name, value in headers.items() if isinstance(headers, dict) else headers or ():
        if isinstance(value, bytes) and len(value) == _BYTES:
            if name == HEADER:
                return value
            if name == CLOUD_EVENTS_HEADER:
                second = value
    return second


def decode(value: bytes) -> TraceContext | None:
    """Read a header's value; None where it is not one: a broken one counts as none."""
    found = _FORM.fullmatch(value)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    if not trace_id or not span_id:
        return None
    return TraceContext(trace_id, span_id, bool(flags & _SAMPLED))
