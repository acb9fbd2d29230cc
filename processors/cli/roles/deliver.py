"""The delivery worker as it runs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from hookstream.processors.cli.parts import Parts
from hookstream.processors.delivery.http.client import HttpClientConfig
from hookstream.processors.delivery.http.connector import parse_proxy
from hookstream.processors.delivery.http.errors import InvalidProxyError
from hookstream.processors.delivery.worker.worker import POOL, DeliveryWorker, WorkerConfig
from hookstream.processors.errors import SettingsError
from hookstream.processors.lifecycle import until_available
from hookstream.processors.settings import Settings, variable
from hookstream.processors.topics import check_topics
from hookstream.subscriptions.secrets import SecretBox

from .process import Running

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.spans import AttemptSpans


def run_deliver(parts: Parts, box: SecretBox, running: Running) -> None:
    """Deliver until asked to stop.

    Raises:
        TopicMismatchError: a topic is not what this deployment needs.
        StartRefusedError: a partition's commit, log and state do not fit: an operator has to decide.
        ProcessorError: anything else that ended it; start it again.
        RegistryError: the registry says no.
    """
    settings = parts.settings
    config = WorkerConfig(
        kafka=parts.kafka,
        topics=parts.topics,
        catalogue=parts.catalogue,
        policy=settings.engine_policy(),
        http=http_config(settings),
        allowed_target_networks=parts.allowed_target_networks,
        max_event_bytes=settings.max_event_bytes,
        drain_timeout_s=settings.stop_timeout_s,
    )
    with ExitStack() as stack:
        worker = DeliveryWorker(
            config,
            parts.registry,
            box,
            stop=running.stop,
            health=running.health,
            metrics=running.metrics,
            spans=_spans(settings, stack),
        )
        until_available(
            "kafka", lambda: check_topics(parts.kafka, parts.specs), stop=running.stop, health=running.health
        )
        worker.run()


def _spans(settings: Settings, stack: ExitStack) -> AttemptSpans | None:
    """Record spans where traces are wanted; OpenTelemetry is not even imported where they are not.

    Raises:
        SettingsError: it is not installed.
    """
    if not settings.tracing:
        return None
    try:
        from hookstream.processors.delivery.attempts.spans import AttemptSpans
        from hookstream.processors.tracing import exporting_tracer
    except ImportError as exc:
        message = f"{variable('tracing')} needs OpenTelemetry: install hookstream[server,otel]"
        raise SettingsError(message) from exc
    return AttemptSpans(stack.enter_context(exporting_tracer("deliver")))


def http_config(settings: Settings) -> HttpClientConfig:
    """How requests are made.

    Raises:
        SettingsError: EGRESS_PROXY is no proxy's URL; it is not repeated, for it may hold a password.
    """
    proxy = settings.proxy()
    if proxy is not None:
        try:
            parse_proxy(proxy)
        except InvalidProxyError as exc:
            message = f"{variable('egress_proxy')}: {exc}"
            raise SettingsError(message) from None
    return HttpClientConfig(
        connect_timeout_s=settings.connect_timeout_s,
        total_timeout_s=settings.attempt_timeout_s,
        egress_proxy=proxy,
        pool=POOL,
    )
