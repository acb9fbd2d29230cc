"""The delivery worker as it runs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from hookstream.processors.cli.deps import Deps
from hookstream.processors.delivery.http.client import HttpClientConfig
from hookstream.processors.delivery.http.connector import parse_proxy
from hookstream.processors.delivery.http.errors import InvalidProxyError
from hookstream.processors.delivery.worker.internal_errors import InternalErrors
from hookstream.processors.delivery.worker.restarts import run_with_restarts
from hookstream.processors.delivery.worker.worker import DeliveryWorker
from hookstream.processors.delivery.worker.worker_config import POOL, WorkerConfig
from hookstream.processors.errors import SettingsError
from hookstream.processors.open_files import connections_that_fit, raise_limit
from hookstream.processors.settings import Settings, variable
from hookstream.subscriptions.secrets import SecretBox

from .process import Running
from .start_checks import check_start

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.spans import AttemptSpans
    from hookstream.processors.delivery.engine.policy import EnginePolicy

log = structlog.get_logger("hookstream.deliver")


def run_deliver(deps: Deps, box: SecretBox, running: Running) -> None:
    """Deliver until asked to stop.

    Raises:
        TopicMismatchError: a topic is not what this deployment needs.
        StartRefusedError: a partition's commit, log and state do not fit: an operator has to decide.
        ProcessorError: anything else that ended it; start it again.
        RegistryError: the registry says no.
    """
    settings = deps.settings
    policy, http = fitted(settings.engine_policy(), http_config(settings), open_files=raise_limit())
    config = WorkerConfig(
        kafka=deps.kafka,
        topics=deps.topics,
        catalogue=deps.catalogue,
        policy=policy,
        http=http,
        targets=deps.targets,
        max_event_bytes=settings.max_event_bytes,
        drain_timeout_s=settings.stop_timeout_s,
    )
    stop, health = running.stop, running.health
    internal_errors = InternalErrors(running.metrics)
    with ExitStack() as stack:
        spans = _spans(settings, stack)

        def make() -> DeliveryWorker:
            return DeliveryWorker(
                config,
                deps.registry,
                box,
                stop=stop,
                health=health,
                metrics=running.metrics,
                spans=spans,
                internal_errors=internal_errors,
            )

        health.down("group", "starting")
        check_start(deps, running)
        run_with_restarts(make, stop=stop, health=health, report_error=internal_errors.report)


def fitted(policy: EnginePolicy, http: HttpClientConfig, *, open_files: int) -> tuple[EnginePolicy, HttpClientConfig]:
    """Lower what may be in flight and kept idle to what fits under the limit of open files, with a warning."""
    wanted = policy.process_in_flight
    in_flight, idle = connections_that_fit(open_files, in_flight=wanted, idle=http.pool.max_idle)
    if in_flight < wanted:
        log.warning(
            "less is sent at once: the limit of open files holds no more",
            setting=variable("max_in_flight"),
            limit=open_files,
            wanted=wanted,
            max_in_flight=in_flight,
        )
    pool = replace(http.pool, max_idle=idle, max_idle_per_origin=min(idle, http.pool.max_idle_per_origin))
    return replace(policy, process_in_flight=in_flight), replace(http, pool=pool)


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
