"""What the shell gets: one line on stderr, and an exit code that says whose fault it was."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hookstream.processors.cli import main as cli
from hookstream.processors.cli.console import CommandError
from hookstream.processors.cli.help_panels import Panel
from hookstream.processors.delivery.engine import engine
from hookstream.processors.errors import KafkaUnavailableError, SettingsError
from hookstream.producers.errors import ProducerConfigError, QueueFullError
from hookstream.schemas.errors import InvalidSchemaError, UnknownEventError
from hookstream.subscriptions.errors import DatabaseUnavailableError

COMMANDS = (
    ("demo",),
    ("up",),
    ("topics", "create"),
    ("topics", "check"),
    ("events", "new"),
    ("events", "check"),
    ("migrate",),
    ("token", "create"),
    ("token", "list"),
    ("token", "revoke"),
    ("api",),
    ("router",),
    ("deliver",),
    ("outbox-relay",),
    ("publish",),
    ("hooks", "list"),
    ("hooks", "show"),
    ("lag",),
)


@pytest.mark.parametrize("command", [(), *COMMANDS], ids=" ".join)
def test_every_command_has_help_that_says_what_it_does(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"Usage: hookstream{''.join(f' {word}' for word in command)}")
    assert len(out.split("\n\n")[1].strip()) > 20, "no sentence under the usage"
    assert err == ""


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 0
    out = capsys.readouterr().out
    for name, *_ in COMMANDS:
        assert f"  {name} " in out


@pytest.mark.parametrize("group", [(), ("hooks",), ("replay",), ("dead-letters",)], ids=" ".join)
def test_help_fits_eighty_columns_and_cuts_no_sentence(
    group: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.run([*group, "--help"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "..." not in out.replace("COMMAND [ARGS]...", "")


def test_commands_stand_under_headings_in_the_order_of_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    headings = [line.removesuffix(":") for line in capsys.readouterr().out.splitlines() if line.endswith(":")]
    assert headings == ["Options", *(panel.value for panel in Panel)]
    command: Any = typer.main.get_command(cli.app)
    assert {each.rich_help_panel for each in command.commands.values()} == {panel.value for panel in Panel}


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its words."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*path, name))
    if not getattr(command, "commands", {}) or getattr(command, "invoke_without_command", False):
        yield " ".join(path), command


def test_all_but_what_runs_for_ever_or_writes_a_file_print_json() -> None:
    silent = {
        words
        for words, command in leaves(typer.main.get_command(cli.app))
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    roles = {"api", "router", "deliver", "attempt-log", "replayer", "outbox-relay"}
    assert silent - roles == {"up", "events new"}


def test_completion_can_be_shown_and_completes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash")
    with pytest.raises(SystemExit) as shown:
        cli.run(["--show-completion"])
    assert not shown.value.code
    assert "_HOOKSTREAM_COMPLETE=complete_bash" in capsys.readouterr().out
    for name, value in (
        ("_HOOKSTREAM_COMPLETE", "complete_bash"),
        ("COMP_WORDS", "hookstream lag --state q"),
        ("COMP_CWORD", "3"),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as completed:
        cli.run([])
    assert not completed.value.code
    assert capsys.readouterr().out.split() == ["quarantined"]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    number, kind = capsys.readouterr().out.split(maxsplit=1)
    assert number == importlib.metadata.version("hookstream")
    assert kind.strip() == ("(compiled)" if Path(str(engine.__file__)).suffix == ".so" else "(pure Python)")


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["topics"],
        ["topics", "drop"],
        ["api", "--nonsense"],
        ["token", "create"],
        ["token", "revoke", "x"],
        ["publish"],
        ["publish", "lead.new"],
        ["publish", "lead.new", "--client", "1", "--id", "2", "--file", "x"],
        ["publish", "lead.new", "--client", "-1", "--id", "2"],
        ["publish", "--file", "x", "--client", "3"],
        ["publish", "--file", "x", "--rate", "0"],
        ["hooks", "show"],
        ["up", "--port", "70000"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_one_line_and_exit_code_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hookstream: ")
    assert len(err.splitlines()) == 1
    assert "--help`)" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("HOOKSTREAM_X is not set"), 2),
        (InvalidSchemaError("no folder"), 2),
        (ProducerConfigError("acks is fixed"), 2),
        (CommandError("port taken"), 1),
        (KafkaUnavailableError("no answer"), 1),
        (QueueFullError("full"), 1),
        (UnknownEventError("unknown"), 1),
        (DatabaseUnavailableError("away"), 1),
    ],
)
def test_an_error_of_ours_is_one_line(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    assert cli.run(["demo"]) == code
    assert capsys.readouterr().err == f"hookstream: {error}\n"


def test_a_defect_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(ZeroDivisionError):
        cli.run(["demo"])


def test_help_imports_nothing_that_only_runs() -> None:
    heavy = (
        "confluent_kafka",
        "sqlalchemy",
        "fastapi",
        "uvicorn",
        "pydantic",
        "httpx",
        "fastavro",
        "rich",
        "structlog",
    )
    script = (
        "import sys; from hookstream.processors.cli import main; main.run(['--help']);"
        f" print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603  # our own program, and no shell
    assert done.stderr == "[]\n"
