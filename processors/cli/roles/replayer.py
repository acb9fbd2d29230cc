"""The replayer as it runs."""

from __future__ import annotations

from sqlalchemy import Engine

from hookstream.processors.cli.deps import Deps
from hookstream.processors.lifecycle import until_available
from hookstream.processors.operations.replays.replayer import Replayer, ReplayerConfig
from hookstream.subscriptions.database import open_sessions
from hookstream.subscriptions.errors import DatabaseError
from hookstream.subscriptions.migrations import check_revision

from .process import Running
from .start_checks import check_start


def run_replayer(deps: Deps, engine: Engine, running: Running) -> None:
    """Work on replays until asked to stop. `engine` stays the caller's to dispose of.

    Raises:
        TopicMismatchError: a topic is not what this deployment needs.
        ProcessorError: why it failed; start it again.
        RegistryError: the registry says no.
    """
    stop, health = running.stop, running.health
    for part in ("database", "table"):
        health.down(part, "starting")
    check_start(deps, running)
    until_available("database", lambda: check_revision(engine), stop=stop, health=health, retriable=(DatabaseError,))
    config = ReplayerConfig(
        kafka=deps.kafka, topics=deps.topics, catalogue=deps.catalogue, max_body_bytes=deps.settings.max_body_bytes
    )
    replayer = Replayer(config, deps.registry, open_sessions(engine), stop=stop, health=health)
    try:
        replayer.open()
        replayer.run()
    finally:
        replayer.close()
