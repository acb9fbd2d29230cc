"""Where spans go: an OpenTelemetry tracer for one role, exporting over OTLP/HTTP. Imports the extra `otel`.

Everything about the way is OpenTelemetry's own, from its own variables: endpoint, headers, sampler, service name,
limits. Its queue is bounded, and drops spans that it cannot send in time, so no delivery waits for a collector.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer


@contextmanager
def exporting_tracer(role: str) -> Iterator[Tracer]:
    """Give the tracer of a role; what is not exported yet at the end is exported then, for as long as a time-out."""
    name = Resource({"service.name": f"hookstream-{role}", "service.version": version("hookstream")})
    provider = TracerProvider(resource=name.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield provider.get_tracer("hookstream")
    finally:
        provider.shutdown()
