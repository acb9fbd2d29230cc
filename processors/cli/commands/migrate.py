"""`hookstream migrate`: the tables of the database, as this release needs them."""

from __future__ import annotations

from hookstream.processors.cli.console import DEFAULT_WAIT_S, Json, Wait, say, say_json


def migrate(*, as_json: Json = False, wait_s: Wait = DEFAULT_WAIT_S) -> None:
    """Bring the database to the schema of this release, in one transaction. May be run as often as you like.

    Needs HOOKSTREAM_DATABASE_URL.
    """
    from hookstream.processors.cli.audited import audit_command
    from hookstream.processors.cli.database import engine_for
    from hookstream.processors.cli.waiting import waiter
    from hookstream.processors.settings import Settings
    from hookstream.subscriptions.migrations import current_revision
    from hookstream.subscriptions.migrations import migrate as migrate_database

    url = Settings.read().database()
    engine = engine_for(url)  # a URL that is none is not waited for
    wait_for = waiter(wait_s)
    before = wait_for("database", lambda: current_revision(engine))
    revision = wait_for("database", lambda: migrate_database(url))
    if revision != before:
        audit_command("database.migrate", {"from": before, "to": revision})
    engine.dispose()
    if as_json:
        say_json({"revision": revision})
    else:
        say(f"the database is at schema revision {revision}")
