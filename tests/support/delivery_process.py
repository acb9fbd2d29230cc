"""A delivery worker as a process of its own, with everything that a failure needs to be short: run as a script."""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING

from hookstream.processors.delivery.http.client import HttpClientConfig
from hookstream.processors.delivery.http.known_names import NameLimits
from hookstream.processors.delivery.http.pool import PoolLimits
from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.delivery.worker import commit_fence, turns
from hookstream.processors.delivery.worker.worker import DeliveryWorker
from hookstream.processors.delivery.worker.worker_config import WorkerConfig
from hookstream.processors.kafka import GroupProtocol, KafkaConfig
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.logs import configure
from hookstream.processors.metrics import Metrics
from hookstream.processors.operations.embedded import embedded_registry
from hookstream.schemas.catalogue import Catalogue
from tests.support.delivery_stage import LOOPBACK, StageConfig, policy_of

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.spans import AttemptSpans
    from hookstream.processors.delivery.http.resolver import Resolver
    from hookstream.producers.registry import SchemaRegistry


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(StageConfig):
    """A stage's settings, librdkafka's own keys, time-outs of requests, how long names are remembered and rests last.

    Works in a process of its own only: `fenced_after_s`, how long it may be silent and still send; `open_files`, how
    many it may have, 0 for as many as the test has.
    """

    kafka_options: dict[str, str] = field(default_factory=dict)
    connect_timeout_s: float = 5.0
    names_fresh_s: float = 30.0
    rest_s: float = PoolLimits().rest_s
    fenced_after_s: float = 30.0
    open_files: int = 0
    require_https: bool = False
    denied_networks: list[str] = field(default_factory=list)
    allowed_ports: list[int] = field(default_factory=list)

    @property
    def targets(self) -> TargetRules:
        """What the worker may send to; loopback is where the tests listen."""
        return TargetRules(
            allowed_networks=LOOPBACK,
            denied_networks=tuple(map(ip_network, self.denied_networks)),
            allowed_ports=frozenset(self.allowed_ports),
            require_https=self.require_https,
        )

    @property
    def kafka(self) -> KafkaConfig:
        """How the worker reaches Kafka."""
        return KafkaConfig(
            bootstrap_servers=self.bootstrap_servers,
            options=self.kafka_options,
            embedded=self.embedded,
            group_protocol=GroupProtocol(self.group_protocol),
        )


def build_worker(
    settings: WorkerSettings,
    registry: SchemaRegistry,
    *,
    stop: StopSignal,
    health: Health,
    metrics: Metrics,
    resolver: Resolver | None = None,
    spans: AttemptSpans | None = None,
) -> DeliveryWorker:
    """Build the role's worker."""
    config = WorkerConfig(
        kafka=settings.kafka,
        topics=settings.topics,
        catalogue=Catalogue.shipped(),
        policy=policy_of(settings.policy),
        http=HttpClientConfig(
            connect_timeout_s=settings.connect_timeout_s,
            total_timeout_s=settings.attempt_timeout_s,
            pool=PoolLimits(max_idle_per_origin=1024, max_idle=1024, rest_s=settings.rest_s),
            names=NameLimits(fresh_s=settings.names_fresh_s),
        ),
        targets=settings.targets,
        drain_timeout_s=settings.drain_timeout_s,
    )
    return DeliveryWorker(
        config, registry, settings.secrets, stop=stop, health=health, metrics=metrics, resolver=resolver, spans=spans
    )


def main() -> None:
    """Deliver until SIGTERM; the log says `worker is ready` once."""
    settings = WorkerSettings(**json.loads(sys.argv[1]))
    if settings.open_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (settings.open_files, settings.open_files))
    configure(level="info", form="json")
    # The broker's session time-out is 45 s by default and 6 s in tests, so what has to be shorter is shorter here, too.
    commit_fence.FENCED_AFTER_S = turns.SUSPENDED_AFTER_S = settings.fenced_after_s
    registry = embedded_registry(Catalogue.shipped(), settings.topics)  # in the same order: the same ids
    stop, health, metrics = StopSignal(), Health(), Metrics()
    stop.catch_signals()

    def announce() -> None:
        while not health.ready:
            time.sleep(0.01)
        print("worker is ready", flush=True)  # noqa: T201  # the test reads it

    threading.Thread(target=announce, daemon=True).start()
    build_worker(settings, registry, stop=stop, health=health, metrics=metrics).run()


if __name__ == "__main__":
    main()
