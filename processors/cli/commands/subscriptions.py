"""`hookstream subscriptions`: database and `subscriptions` topic agree again after one of them was lost; directly."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hookstream.processors.cli.console import DEFAULT_WAIT_S, Json, Wait, note, say, say_json
from hookstream.processors.cli.json_shapes import client_object

if TYPE_CHECKING:
    from hookstream.schemas.ids import IdKind
    from hookstream.subscriptions.resync import LiftReport

app = typer.Typer(help="Repair the table of hooks in Kafka, which every router and worker reads.")


@app.command("resync")
def resync(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what the database lacks.")] = False,
    wait_s: Wait = DEFAULT_WAIT_S,
    as_json: Json = False,
) -> None:
    """Make the database and the topic agree, after the topic was re-created or the database restored from a backup.

    It copies newer rows from the topic, then publishes every hook, then an end mark: routers and workers refuse a
    re-created topic until they have read the mark. The API may run meanwhile. May be run again at any time. Needs
    HOOKSTREAM_DATABASE_URL, _KAFKA_BOOTSTRAP_SERVERS and _SCHEMA_REGISTRY_URL.
    """
    from hookstream.processors.cli.actor import actor
    from hookstream.processors.cli.database import migrated_database
    from hookstream.processors.cli.deps import real_deps
    from hookstream.processors.cli.progress import counting
    from hookstream.processors.cli.roles.topic_codecs import row_encoder, table_readers
    from hookstream.processors.cli.waiting import waiter
    from hookstream.processors.operations.relays import resync as subscription_resync
    from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
    from hookstream.processors.settings import Settings
    from hookstream.processors.wall_clock import now_ms
    from hookstream.subscriptions.audit import record
    from hookstream.subscriptions.database import transact
    from hookstream.subscriptions.resealing import count_hooks

    settings = Settings.read("kafka_bootstrap_servers", "schema_registry_url", "database_url")
    deps = real_deps(settings)
    wait_for = waiter(wait_s)
    with ExitStack() as stack:
        sessions = wait_for("database", lambda: stack.enter_context(migrated_database(settings.database())))
        open_reader = table_readers(deps)
        if dry_run:
            lift = wait_for(
                "kafka", lambda: subscription_resync.preview(sessions, open_reader, actor=actor(), now_ms=now_ms)
            )
            _print_result(lift, {"dry_run": True}, settings.client_ids, as_json=as_json)
            return
        writer = stack.enter_context(
            SubscriptionWriter(deps.kafka, deps.topics.subscriptions, encode=row_encoder(deps))
        )
        transact(sessions, lambda session: record(session, "subscriptions.resync", {}, actor=actor(), now_ms=now_ms()))
        progress = stack.enter_context(counting("rows", count_hooks(sessions), quiet=as_json))
        report = wait_for(
            "kafka",
            lambda: subscription_resync.resync(
                sessions, writer, open_reader, actor=actor(), now_ms=now_ms, progress=progress
            ),
        )
    done = {"published": report.published, "mark_offset": report.mark_offset, "dry_run": False}
    _print_result(report.lift, done, settings.client_ids, as_json=as_json)


def _print_result(lift: LiftReport, done: dict[str, Any], ids: IdKind, *, as_json: bool) -> None:
    if as_json:
        closed, refused = (
            [{"client": client_object(ids.shown(client)), "event": event} for client, event in keys]
            for keys in (lift.closed, lift.refused)
        )
        found = {"seen": lift.seen, "lifted": lift.lifted, "taken_over": lift.taken_over}
        say_json({**found, "closed": closed, "refused": refused, **done})
        return
    say(f"the topic has rows for {lift.seen} subscription keys; {lift.taken_over} are newer there than in the database")
    for client, event in lift.closed:
        note(f"client {client}, {event}: its id belongs to another hook by now; it has to be registered again")
    for client, event in lift.refused:
        note(f"client {client}, {event}: no database can keep this row of the topic; it is left out")
    if done["dry_run"]:
        note("nothing was changed")
    else:
        say(f"published {done['published']} rows, and the end mark at offset {done['mark_offset']}")
