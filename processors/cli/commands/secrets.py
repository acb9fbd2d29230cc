"""`hookstream secrets`: the master key that hooks' secrets are sealed with, directly on the database."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from hookstream.processors.cli.console import DEFAULT_WAIT_S, Json, Wait, note, say, say_json
from hookstream.processors.deadline import Deadline
from hookstream.processors.wall_clock import now_ms

app = typer.Typer(help="Rotate the master key that encrypts the secrets of hooks; works on the database directly.")

_LOOK_EVERY_S = 0.2


@app.command("rotate")
def rotate(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the secrets under each key.")] = False,
    wait_s: Wait = DEFAULT_WAIT_S,
    as_json: Json = False,
) -> None:
    """Encrypt every hook's secrets under HOOKSTREAM_SECRET_KEY; HOOKSTREAM_SECRET_KEY_PREVIOUS decrypts older ones.

    Give every worker and API both keys first. Deliveries go on meanwhile; integrators see nothing. The exit code is 0
    once nothing needs a previous key, and everything is published: then you may remove it. May be run again at any
    time. Needs HOOKSTREAM_DATABASE_URL; the API's relay publishes what changes.
    """
    from hookstream.processors.cli.actor import actor
    from hookstream.processors.cli.database import migrated_database
    from hookstream.processors.cli.deps import secret_box
    from hookstream.processors.cli.progress import counting
    from hookstream.processors.settings import Settings
    from hookstream.subscriptions.audit import record
    from hookstream.subscriptions.database import transact
    from hookstream.subscriptions.resealing import (
        ResealReport,
        count_hooks,
        count_sealed,
        count_unpublished,
        reseal_all,
    )

    settings = Settings.read("secret_key", "database_url")
    box = secret_box(*settings.keys())
    report = ResealReport()
    with migrated_database(settings.database()) as sessions:
        if not dry_run:
            transact(
                sessions,
                lambda session: record(session, "secrets.rotate", {}, actor=actor(), now_ms=now_ms()),
            )
            with counting("hooks", count_hooks(sessions), quiet=as_json) as progress:
                report = reseal_all(sessions, box, actor=actor(), now_ms=now_ms, progress=progress)
        counts = count_sealed(sessions, box)
        unpublished = count_unpublished(sessions)
        deadline = Deadline.after(wait_s)
        while unpublished and not dry_run and not deadline.over:
            time.sleep(_LOOK_EVERY_S)
            unpublished = count_unpublished(sessions)
    if as_json:
        say_json(
            {
                "key": counts.current,
                "under": dict(counts.under),
                "hooks": report.hooks,
                "answers": report.answers,
                "unopenable_hooks": report.unopenable,
                "unpublished": unpublished,
                "dry_run": dry_run,
            }
        )
    else:
        if not dry_run:
            say(f"sealed again: the secrets of {report.hooks} hooks, {report.answers} answers that are kept for a day")
        for key, count in sorted(counts.under.items()):
            say(f"{count} under key {key}{' (the present one)' if key == counts.current else ''}")
        for hook_id in report.unopenable:
            note(f"hook {hook_id} is sealed under none of these keys")
        if unpublished:
            note(f"{unpublished} rows are not published yet: is the API running? Keep the previous keys until they are")
        elif not counts.others:
            say("no previous key is needed any more")
    if not dry_run and (counts.others or unpublished):
        raise typer.Exit(1)
