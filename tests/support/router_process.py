"""A router as a process of its own, with settings from the environment and the test's registry: run as a script."""

from __future__ import annotations

from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.logs import configure
from hookstream.processors.metrics import Metrics
from hookstream.processors.routing.router import Router, RouterConfig, run
from hookstream.processors.serving.health import HealthServer
from hookstream.processors.settings import Settings
from tests.support.routing import routing_registry


def main() -> None:
    """Run until SIGTERM."""
    settings = Settings.read()
    configure(level=settings.log_level, form="json")
    stop, health, metrics = StopSignal(), Health(), Metrics()
    stop.catch_signals()
    server = HealthServer(host="127.0.0.1", port=settings.metrics_port_of("router"), health=health, metrics=metrics)
    server.start()
    print(f"port {server.port}", flush=True)  # noqa: T201  # the test reads it
    config = RouterConfig(
        kafka=settings.kafka(),
        topics=settings.topics(),
        catalogue=settings.catalogue(),
        drain_timeout_s=settings.stop_timeout_s,
    )
    registry = routing_registry(config.catalogue, config.topics)
    run(Router(config, registry, stop=stop, health=health, metrics=metrics), stop)
    server.stop()


if __name__ == "__main__":
    main()
