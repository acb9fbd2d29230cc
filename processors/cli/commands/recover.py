"""`hookstream recover`: partitions that workers refuse to start, mended as an operator decides; directly on Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hookstream.processors.cli.console import DEFAULT_WAIT_S, Json, Wait, note, say, say_json, say_table

if TYPE_CHECKING:
    from hookstream.processors.operations.recover import Finding


def recover(
    *,
    keep_owed: Annotated[
        bool, typer.Option("--keep-owed", help="Deliver everything that is or may be pending, some of it again.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Deliver nothing that is pending; go on at the group's offset or the end."),
    ] = False,
    partition: Annotated[list[int] | None, typer.Option(min=0, help="Only this partition; may be repeated.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only show what would be done.")] = False,
    wait_s: Wait = DEFAULT_WAIT_S,
    as_json: Json = False,
) -> None:
    """Repair the partitions that `hookstream deliver` refuses to start; those that it starts are left alone.

    Stop all workers first: a live group is refused. Needs HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS. Run it again as
    often as you like, also after a kill.
    """
    if keep_owed == forget:
        raise typer.BadParameter("give either --keep-owed or --forget")
    from hookstream.processors.cli.actor import actor
    from hookstream.processors.cli.audited import audit_command
    from hookstream.processors.cli.waiting import waiter
    from hookstream.processors.delivery.checkpoints.partition_recovery import PendingDeliveries
    from hookstream.processors.operations.recover import GroupRecovery
    from hookstream.processors.settings import Settings

    settings = Settings.read()
    pending = PendingDeliveries.KEEP if keep_owed else PendingDeliveries.FORGET
    wait_for = waiter(wait_s)
    recovery = GroupRecovery(settings.kafka(), settings.topics())
    try:
        findings = wait_for("kafka", lambda: recovery.survey(pending, partition or None))
        unknown = set(partition or ()) - {finding.evidence.found.partition for finding in findings}
        if unknown:
            raise typer.BadParameter(f"there is no partition {min(unknown)}")
        if yes:
            mended = [finding.evidence.found.partition for finding in findings if finding.evidence.refused]
            audit_command("partitions.recover", {"pending": pending.value, "partitions": mended})
            recovery.mend(findings, pending=pending, actor=actor())
        _print_result(findings, done=yes, as_json=as_json)
    finally:
        recovery.close()


def _print_result(findings: list[Finding], *, done: bool, as_json: bool) -> None:
    shown = [_shown(finding) for finding in findings]
    if as_json:
        say_json({"partitions": shown, "dry_run": not done})
        return
    refused = [row for row in shown if row["refused"]]
    if not refused:
        say("every partition starts as it is; there is nothing to recover")
        return
    head = ("partition", "committed", "log", "begins at", "read again", "owed dropped", "refused because")
    say_table(
        head,
        [
            (
                f"{row['topic']}:{row['partition']}",
                "-" if row["committed"] is None else row["committed"],
                f"{row['first_offset']}..{row['end_offset']}",
                row["begins_at"],
                row["read_again"],
                row["owed_dropped"],
                row["refused"],
            )
            for row in refused
        ],
    )
    if not done:
        note("nothing was changed: this is what --yes does")


def _shown(finding: Finding) -> dict[str, Any]:
    found, recovery = finding.evidence.found, finding.recovery
    low, high = finding.evidence.watermarks
    return {
        "topic": found.topic,
        "partition": found.partition,
        "committed": found.offset,
        "first_offset": low,
        "end_offset": high,
        "refused": finding.evidence.refused,
        "begins_at": None if recovery is None else recovery.offset,
        "read_again": 0 if recovery is None else recovery.again,
        "owed_dropped": 0 if recovery is None else recovery.cursors_dropped,
    }
