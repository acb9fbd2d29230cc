"""The attempt log as it runs."""

from __future__ import annotations

from sqlalchemy import Engine

from hookstream.processors.cli.deps import Deps
from hookstream.processors.lifecycle import until_available
from hookstream.processors.operations.attempt_recorder import AttemptRecorder
from hookstream.processors.operations.group_reader import GroupReader
from hookstream.processors.wall_clock import now_ms
from hookstream.schemas.codecs.attempts import attempt_decoder
from hookstream.subscriptions.database import open_sessions
from hookstream.subscriptions.errors import DatabaseError
from hookstream.subscriptions.migrations import check_revision

from .process import Running
from .start_checks import check_start


def run_attempt_log(deps: Deps, engine: Engine, running: Running) -> None:
    """Write attempts until asked to stop. `engine` stays the caller's to dispose of.

    Raises:
        TopicMismatchError: a topic is not what this deployment needs.
        ProcessorError: why it failed; start it again.
    """
    stop, health = running.stop, running.health
    health.down("database", "starting")
    check_start(deps, running)
    until_available("database", lambda: check_revision(engine), stop=stop, health=health, retriable=(DatabaseError,))
    recorder = AttemptRecorder(
        open_sessions(engine),
        deps.kafka,
        deps.topics,
        decode=attempt_decoder(deps.registry.schema_text_by_id),
        metrics=running.metrics,
        now_ms=now_ms,
        keep_days=deps.settings.attempt_log_days,
    )
    GroupReader(deps.kafka, recorder).run(stop, health)
