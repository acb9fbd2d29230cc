"""Spans leave the process over OTLP/HTTP, where OpenTelemetry's own variables say; and what happens without it."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hookstream.processors.cli.roles import deliver as deliver_role
from hookstream.processors.errors import SettingsError
from hookstream.processors.settings import Settings
from hookstream.processors.tracing import exporting_tracer


class Collector(HTTPServer):
    """Takes what is exported."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_what_was_recorded_is_exported_before_the_role_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("NO_PROXY", "*")
        with exporting_tracer("deliver") as tracer:
            tracer.start_span("deliver lead.new").end()
        collector.shutdown()
    ((path, body),) = collector.received
    assert path == "/v1/traces"
    assert b"deliver lead.new" in body
    assert b"hookstream-deliver" in body


def test_a_service_name_of_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "webhooks")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with exporting_tracer("deliver") as tracer:
        assert tracer.resource.attributes["service.name"] == "webhooks"  # type: ignore[attr-defined]  # the SDK's
        assert not tracer.start_span("deliver lead.new").is_recording()


def test_asking_for_traces_without_the_extra_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hookstream.processors.tracing", None)
    with ExitStack() as stack, pytest.raises(SettingsError, match=r"HOOKSTREAM_TRACING needs .*otel"):
        deliver_role._spans(Settings(tracing=True), stack)


def test_without_asking_opentelemetry_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hookstream.processors.tracing", None)
    with ExitStack() as stack:
        assert deliver_role._spans(Settings(), stack) is None
