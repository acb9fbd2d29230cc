"""`hookstream migrate`: the tables of the database, as this release needs them."""

from __future__ import annotations

from hookstream.processors.cli.console import DEFAULT_WAIT_S, Json, Wait, say, say_json


def migrate(*, as_json: Json = False, wait_s: Wait = DEFAULT_WAIT_S) -> None:
    """Bring the database to the schema of this release, in one transaction. May be run as often as you like.

    Needs HOOKSTREAM_DATABASE_URL.
    """
    from hookstream.processors.cli.database import engine_for
    from hookstream.processors.cli.waiting import waiter
    from hookstream.processors.settings import Settings
    from hookstream.subscriptions.migrations import migrate as migrate_database

    url = Settings.read().database()
    engine_for(url).dispose()  # a URL that is none is not waited for
    revision = waiter(wait_s)("database", lambda: migrate_database(url))
    if as_json:
        say_json({"revision": revision})
    else:
        say(f"the database is at schema revision {revision}")
