"""Commands that change Kafka directly leave a row in the audit, too, where the deployment's database can be had."""

from __future__ import annotations

from collections.abc import Mapping

from hookstream.processors import wall_clock

from .actor import actor
from .console import note


def audit_command(action: str, detail: Mapping[str, object], *, quiet: bool = False) -> None:
    """Write who does what; a repair must not wait for the database, so without it this only says so, or not if `quiet`.

    What the command needs is Kafka: the database may not be set in its environment, or may be what is being repaired.
    """
    from hookstream.processors.settings import Settings, variable
    from hookstream.subscriptions.audit import record
    from hookstream.subscriptions.database import transact
    from hookstream.subscriptions.errors import DatabaseError

    from .database import migrated_database

    settings = Settings.read()
    if settings.database_url is None:
        if not quiet:
            note(f"not in the audit: {variable('database_url')} is not set")
        return
    now_ms = wall_clock.now_ms()
    try:
        with migrated_database(settings.database()) as sessions:
            transact(sessions, lambda session: record(session, action, detail, actor=actor(), now_ms=now_ms))
    except DatabaseError as exc:
        if not quiet:
            note(f"not in the audit: {exc}")
