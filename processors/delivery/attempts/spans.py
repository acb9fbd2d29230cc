"""A span for every attempt of a delivery whose trace is sampled. Belongs to the event loop's thread.

What a delivery belongs to is kept beside the engine, by the record's position, and forgotten when it was delivered; at
most so many are kept, and the one seen longest ago goes first: a backlog behind a cursor is read again before it is
sent, and its traces with it. A delivery without a trace, or of one that is not recorded, costs a look at its headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer
from opentelemetry.trace.propagation import set_span_in_context

from hookstream.processors.delivery.http.target import host_shown
from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.trace_context import TraceContext, decode

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.model import Post, StreamIndex
    from hookstream.processors.delivery.http.exchange import Answer

# 100 bytes each; four windows full of sampled deliveries.
_KEPT = 40_000
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_MS, _S = 1_000_000, 1_000_000_000  # in nanoseconds


class AttemptSpans:
    """Remembers which delivery belongs to which trace, and ends a span for each of its attempts."""

    def __init__(self, tracer: Tracer) -> None:
        """Nothing was seen yet."""
        self._tracer = tracer
        self._traces: dict[tuple[StreamIndex, int, int], TraceContext] = {}

    def seen(self, stream: StreamIndex, partition: int, offset: int, traceparent: bytes | None) -> None:
        """Note the trace of a record that was read."""
        trace = None if traceparent is None else decode(traceparent)
        if trace is None or not trace.sampled:
            return
        self._traces[stream, partition, offset] = trace
        if len(self._traces) > _KEPT:
            del self._traces[next(iter(self._traces))]

    def ended(self, post: Post, result: AttemptResult, answer: Answer, *, partition: int, wall_ms: int) -> None:
        """Record one request that has ended at `wall_ms`. Of its target only the host is recorded."""
        pending, delivery = post.pending, post.pending.delivery
        position = (pending.stream, partition, pending.offset)
        trace = self._traces.get(position)
        if trace is None:
            return
        delivered = result is AttemptResult.DELIVERED
        if delivered:
            del self._traces[position]
        parent = NonRecordingSpan(SpanContext(trace.trace_id, trace.span_id, is_remote=True, trace_flags=_SAMPLED))
        attributes: dict[str, str | int | bool] = {
            "hookstream.delivery": delivery.id,
            "hookstream.hook": delivery.hook_id,
            "hookstream.client": delivery.client,
            "hookstream.attempt": post.number,
            "hookstream.probe": post.probe,
            "hookstream.result": str(result),
            "http.request.method": "POST",
            "server.address": host_shown(post.row.target),
        }
        if answer.status is not None:
            attributes["http.response.status_code"] = answer.status
        span = self._tracer.start_span(
            f"deliver {delivery.event}",
            set_span_in_context(parent, Context()),
            SpanKind.CLIENT,
            attributes,
            start_time=wall_ms * _MS - int(answer.duration_s * _S),
        )
        if not delivered:
            span.set_status(Status(StatusCode.ERROR, str(result)))
        span.end(wall_ms * _MS)
