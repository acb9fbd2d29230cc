"""`hookstream demo`: the whole way of every event, in seconds, with nothing installed beside hookstream."""

from __future__ import annotations

import time

from hookstream.processors.cli.console import CommandError, Json, say_json


def demo(*, as_json: Json = False) -> None:
    """Register a hook for every event, publish them all, and check every delivery: arrival, order and signature.

    Kafka, the registry, the database, all roles and a receiver run in this one process and are gone when it ends.
    The exit code is 0 only if every delivery arrived, in order per resource, with a valid signature.
    """
    started = time.monotonic()
    from rich.console import Console

    from .demo_run import print_report, run_demo

    console = Console(quiet=as_json)
    report = run_demo(console, started)
    if not as_json:
        print_report(report, console)
        return
    say_json(report.fields())
    if report.problems:
        raise CommandError("the demo failed: `problems` says how")
