"""The trace that the calling service is in: where it traces with OpenTelemetry, its events belong to that trace.

Nothing has to be configured, and nothing is installed for it: a service that traces has OpenTelemetry's API already.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hookstream.schemas.trace_context import TraceContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

_current_span: Callable[[], Span] | None = None
with suppress(ImportError):
    from opentelemetry.trace import get_current_span

    _current_span = get_current_span


def current_traceparent() -> bytes | None:
    """Give the header's value for what happens now in this thread or task; None outside of any trace."""
    if _current_span is None:
        return None
    context = _current_span().get_span_context()
    if not context.is_valid:
        return None
    return TraceContext(context.trace_id, context.span_id, context.trace_flags.sampled).encode()
