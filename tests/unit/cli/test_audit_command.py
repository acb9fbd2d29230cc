"""`hookstream audit` as people see it, and which commands the audit has to know."""

from __future__ import annotations

from typing import Any

import typer.main

from hookstream.processors.cli.commands import audit
from hookstream.processors.cli.main import app

ENTRY: dict[str, Any] = {
    "id": 7,
    "at_ms": 1_795_463_750_154,
    "actor": "token:3:acme",
    "action": "hook.change",
    "client": {"id": 434},
    "event": "lead.new",
    "hook": {"id": 223443},
    "detail": {"revision": 2, "target": "https://example.com/leads"},
}
LONG = {
    **ENTRY,
    "actor": "token:12:" + "a name of many characters " * 7,
    "action": "dead-letters.resend",
    "client": None,
    "event": None,
    "hook": None,
    "detail": {"dead_letters": ["0-1", "0-2"], "job": "resend-0123456789abcdef", "nothing": None},
}


def test_what_is_not_wide_is_one_line_an_entry() -> None:
    head, line = audit.lines([ENTRY], None)
    assert head.split() == ["time", "actor", "action", "client", "hook", "detail"]
    assert line.split() == [
        "2026-11-23T19:55:50Z",
        "token:3:acme",
        "hook.change",
        "434",
        "223443",
        "event=lead.new",
        "revision=2",
        "target=https://example.com/leads",
    ]


def test_in_80_columns_the_details_stand_below() -> None:
    lines = audit.lines([ENTRY, LONG], 80)
    assert all(len(line) <= 80 for line in lines)
    assert lines[0] == "time                  actor                 action               client  hook"
    assert lines[2] == "  event=lead.new revision=2 target=https://example.com/leads"
    assert lines[3].split("  ")[1] == "token:12:a name of …"
    assert lines[4] == '  dead_letters=["0-1","0-2"] job=resend-0123456789abcdef'


def test_nothing_that_is_in_the_audit_reaches_the_terminal_as_it_is() -> None:
    entry = {**ENTRY, "actor": "cli \x1b[31mx", "detail": {"reason": "\x1b]0;x\x07"}}
    assert "\x1b" not in "".join([*audit.lines([entry], None), *audit.lines([entry], 80)])


# Every command, by what it changes. A new one has to be put somewhere here.
AUDITED = {
    "token create",
    "token revoke",
    "migrate",
    "topics create",
    "subscriptions resync",
    "secrets rotate",
    "recover",
}
"""They change the database or Kafka directly: `tests/integration/test_cli_audit.py` finds a row of each."""
BY_THE_API = {
    "hooks create",
    "hooks change",
    "hooks delete",
    "endpoints rotate-secret",
    "hooks disable",
    "hooks enable",
    "hooks ping",
    "hooks rotate-secret",
    "deliveries resend",
    "dead-letters resend",
    "pause",
    "resume",
    "retry-now",
    "drain",
    "skip",
    "listen",
    "replay",
    "replay pause",
    "replay resume",
    "replay cancel",
}
"""They ask the API, whose every route is audited: `tests/contract/test_audit_api.py`."""
CHANGES_NOTHING = {
    "audit",
    "lag",
    "token list",
    "topics check",
    "events check",
    "endpoints list",
    "endpoints settings",
    "endpoints show",
    "hooks list",
    "hooks show",
    "hooks attempts",
    "deliveries show",
    "dead-letters list",
    "dead-letters show",
    "replay list",
    "replay show",
}
EVENTS = {"publish", "outbox-relay"}
"""The log of events is the record of what they write; no event waits for a database."""
ON_THIS_MACHINE = {"events new", "demo", "up", "api", "router", "deliver", "attempt-log", "replayer"}
"""Files of the person's own, roles, and deployments of a moment."""


def test_every_command_that_changes_something_is_known_to_the_audit() -> None:
    known = AUDITED | BY_THE_API | CHANGES_NOTHING | EVENTS | ON_THIS_MACHINE
    assert set(_names(typer.main.get_command(app))) ^ known == set()


def _names(command: Any, path: str = "") -> list[str]:
    """The names of all commands, those of groups with their group's."""
    found = [path.strip()] if path and (not hasattr(command, "commands") or command.invoke_without_command) else []
    for name, below in getattr(command, "commands", {}).items():
        found += _names(below, f"{path} {name}")
    return found
