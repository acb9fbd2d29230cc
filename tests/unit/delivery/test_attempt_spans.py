"""Which attempts get a span, and what it says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from hookstream.processors.delivery.attempts import spans as attempt_spans
from hookstream.processors.delivery.attempts.spans import AttemptSpans
from hookstream.processors.delivery.engine.model import LIVE, REPLAY
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.trace_context import TraceContext
from tests.support.values import DELIVERY, HOOK

TRACE = TraceContext(0xABC, 0xDEF, sampled=True)
DELIVERED = Answer(204, None, b"", None, 0.25)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> AttemptSpans:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return AttemptSpans(provider.get_tracer("test"))


def a_post(offset: int = 7, number: int = 1) -> Any:
    pending = SimpleNamespace(stream=LIVE, offset=offset, delivery=DELIVERY)
    return SimpleNamespace(pending=pending, row=HOOK, number=number, probe=False)


def end(spans: AttemptSpans, post: Any, result: AttemptResult, answer: Answer) -> None:
    spans.ended(post, result, answer, partition=3, wall_ms=1_000_000)


def test_every_attempt_of_a_sampled_delivery_is_a_span_of_its_trace(
    spans: AttemptSpans, exporter: InMemorySpanExporter
) -> None:
    spans.seen(LIVE, 3, 7, TRACE.encode())
    end(spans, a_post(), AttemptResult.TIMEOUT, Answer(None, AttemptResult.TIMEOUT, b"", None, 15.0))
    end(spans, a_post(number=2), AttemptResult.DELIVERED, DELIVERED)
    failed, delivered = exporter.get_finished_spans()
    for span in (failed, delivered):
        assert span.name == "deliver property.updated"
        assert span.kind is SpanKind.CLIENT
        assert span.context.trace_id == TRACE.trace_id
        assert span.parent is not None
        assert span.parent.span_id == TRACE.span_id
    assert failed.status.status_code is StatusCode.ERROR
    assert (failed.start_time, failed.end_time) == (985_000 * 1_000_000, 1_000_000 * 1_000_000)
    assert delivered.status.status_code is StatusCode.UNSET
    assert delivered.attributes is not None
    assert dict(delivered.attributes) == {
        "hookstream.delivery": DELIVERY.id,
        "hookstream.hook": 223443,
        "hookstream.client": "9999",
        "hookstream.attempt": 2,
        "hookstream.probe": False,
        "hookstream.result": "delivered",
        "http.request.method": "POST",
        "http.response.status_code": 204,
        "server.address": "custom-platform.com",
    }


@pytest.mark.parametrize("header", [None, b"rubbish", TRACE._replace(sampled=False).encode()])
def test_without_a_trace_or_outside_of_the_sample_there_is_none(
    spans: AttemptSpans, exporter: InMemorySpanExporter, header: bytes | None
) -> None:
    spans.seen(LIVE, 3, 7, header)
    end(spans, a_post(), AttemptResult.DELIVERED, DELIVERED)
    assert exporter.get_finished_spans() == ()


def test_another_place_is_another_delivery(spans: AttemptSpans, exporter: InMemorySpanExporter) -> None:
    spans.seen(LIVE, 3, 8, TRACE.encode())
    spans.seen(LIVE, 4, 7, TRACE.encode())
    spans.seen(REPLAY, 3, 7, TRACE.encode())
    end(spans, a_post(), AttemptResult.DELIVERED, DELIVERED)
    assert exporter.get_finished_spans() == ()


def test_what_is_kept_is_bounded_and_the_newest_stay(
    spans: AttemptSpans, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_spans, "_KEPT", 10)
    for offset in range(100):
        spans.seen(LIVE, 3, offset, TRACE.encode())
    for offset in range(100):
        end(spans, a_post(offset), AttemptResult.DELIVERED, DELIVERED)
    assert len(exporter.get_finished_spans()) == 10
