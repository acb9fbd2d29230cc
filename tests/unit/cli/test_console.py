"""What reaches a terminal, and what does not."""

from __future__ import annotations

import ast
import io
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import typer
from rich.console import Console

from hookstream.processors.cli import console
from hookstream.processors.cli import main as cli
from hookstream.processors.cli.commands import dead_letters, deliveries, hooks, lag, publish, replay
from hookstream.processors.cli.commands.publish_file import Published
from hookstream.processors.cli.trial import demo_view
from hookstream.processors.cli.trial.demo_receiver import Arrival
from tests.support.repository import ROOT, python_files

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "\x1b]0;owned\x07"
CLEAR = "\x1b[2J\x9b2J"
HOSTILE = f"{TITLE}{CLEAR}\u202e\ud800\nhookstream: all is well"


class FakeApi:
    """Answers every question with the same document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def get(self, _path: str, **_query: object) -> dict[str, Any]:
        return self._document


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the API answer with a document to whatever a command asks."""

    def arrange(document: dict[str, Any]) -> None:
        @contextmanager
        def fake_api() -> Iterator[Any]:
            yield FakeApi(document)

        for module in (dead_letters, deliveries, hooks, lag, replay):
            monkeypatch.setattr(module, "open_api", fake_api)

    return arrange


def obeyed(text: str) -> list[str]:
    """Characters that a terminal would obey, but for the end of a line."""
    return [char for char in text if not char.isprintable() and char != "\n"]


DEAD_LETTER = {
    "id": "0-7", "client": 434, "hook_id": 1, "event": "lead.new", "reason": HOSTILE, "kept_at_ms": 0,
    "last_status": 500, "delivery_id": "msg_1", "detail": HOSTILE, "last_answer": HOSTILE,
}  # fmt: skip
HOOK = {"id": 1, "client": {"id": 434}, "event": "lead.new", "state": HOSTILE, "target": f"http://h/{HOSTILE}"}
ENDPOINT = {
    "id": "434-5bd0a1f3c2e48796", "state": HOSTILE, "behind": 1, "behind_exact": True, "replays_behind": 0,
    "oldest_undelivered_at_ms": 0, "next_attempt_at_ms": 0, "last_success_at_ms": None,
    "last_error": {"at_ms": 0, "result": HOSTILE, "status": None}, "target": "http://[fd00::5]:9/h",
}  # fmt: skip
DELIVERY = {
    "id": "msg_1", "state": "dead", "event": HOSTILE, "concept": {"namespace": HOSTILE, "id": 1}, "arrived_at_ms": 0,
    "hook": {"id": 1}, "client": {"id": 434}, "dead_letter": {"reason": HOSTILE, "died_at_ms": 0, "detail": HOSTILE},
}  # fmt: skip
PROGRESS = {"scanned": 0, "sent": 0}
REPLAY = {
    "id": 1, "state": "failed", "client": None, "from_ms": 0, "to_ms": 0, "count": None, "window": None,
    "progress": PROGRESS, "reason": HOSTILE,
}  # fmt: skip


@pytest.mark.parametrize(
    ("args", "document"),
    [
        (["dead-letters", "show", "0-7"], {"dead_letter": DEAD_LETTER}),
        (["dead-letters", "list"], {"dead_letters": [DEAD_LETTER], "next_cursor": None}),
        (["hooks", "show", "1"], {"hook": HOOK}),
        (["hooks", "list"], {"hooks": [HOOK], "next_cursor": None}),
        (["lag"], {"endpoints": [ENDPOINT], "next_cursor": None, "unknown": [HOSTILE]}),
        (["deliveries", "show", "msg_1"], {"delivery": DELIVERY, "attempts": [], "next_cursor": None}),
        (["replay", "show", "1"], {"replay": REPLAY}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_outsiders_wrote_is_shown_and_not_obeyed(
    answer: Any, capsys: pytest.CaptureFixture[str], args: list[str], document: dict[str, Any]
) -> None:
    answer(document)
    for more in ([], ["--json"]):
        assert cli.run([*args, *more]) == 0
        out, err = capsys.readouterr()
        assert obeyed(out + err) == []
        assert r"]0;owned" in out
        assert not any(line.startswith("hookstream: ") for line in (out + err).splitlines())


def test_what_the_api_complains_of_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise console.CommandError(f"the API answered 409: {HOSTILE}")

    monkeypatch.setattr(cli, "app", fail)
    assert cli.run(["lag"]) == 1
    assert capsys.readouterr().err == (
        "hookstream: the API answered 409: \\x1b]0;owned\\x07\\x1b[2J\\x9b2J\\u202e\\ud800 hookstream: all is well\n"
    )


def test_lines_of_a_file_that_failed_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        publish._print_result(Published(0, [(1, HOSTILE)]), dry_run=False, as_json=False)
    assert obeyed(capsys.readouterr().err) == []


def rendered(*parts: object) -> str:
    """What rich makes of them, on a terminal without colours."""
    out = io.StringIO()
    Console(file=out, width=300, force_terminal=True, color_system=None).print(*parts)
    return out.getvalue()


def test_a_watched_table_shows_text_as_it_is_and_obeys_nothing() -> None:
    targets = ("http://[fd00::5]:9/h", "http://h/[bold]x", "http://h/:smile:", f"http://h/{HOSTILE}")
    shown = rendered(
        lag._screen(
            {
                "at_ms": 0,
                "endpoints": [{**ENDPOINT, "target": each} for each in targets],
                "more": True,
                "unknown": [f"[red] {HOSTILE}"],
            }
        )
    )
    for target in targets[:-1]:
        assert target in shown
    assert "unknown: [red] " in shown
    assert obeyed(shown) == []


def test_the_demo_s_receiver_shows_what_came_as_it_is() -> None:
    out = io.StringIO()
    arrival = Arrival(
        path=f"/[red]{HOSTILE}", webhook_id="", sequence="", attempt="", body=b"{}", latency_ms=1.0, fault=None
    )
    demo_view._Lines(Console(file=out, width=300))(arrival)
    assert "[red]" in out.getvalue()
    assert obeyed(out.getvalue()) == []


def test_json_is_for_programs_and_holds_everything(capsys: pytest.CaptureFixture[str]) -> None:
    console.say_json({"detail": HOSTILE})
    assert json.loads(capsys.readouterr().out)["detail"] == HOSTILE


def test_what_an_encoding_lacks_is_shown_as_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="latin-1", write_through=True))
    console.escape_unencodable()
    console.say("Zoë 日")
    assert raw.getvalue() == b"Zo\xeb \\u65e5\n"


@pytest.mark.parametrize("unix_ms", [2**63 - 1, -(2**63), 253_402_300_800_000, -62_135_596_800_001])
def test_a_time_that_no_calendar_has_is_a_number(unix_ms: int) -> None:
    """Whoever writes a topic can write any time into a record, and a list holds many records."""
    assert console.shown_time(unix_ms) == f"{unix_ms} ms"
    assert console.shown_time(1_500) == "1970-01-01T00:00:01Z"


def test_one_module_prints() -> None:
    """Every other way to a terminal would go around `printable`."""
    ways = {"typer.echo", "typer.secho", "print", "sys.stdout.write", "sys.stderr.write", "rich.print"}
    found = [
        f"{path.name}:{node.lineno}"
        for path in python_files("processors/cli")
        if path.name not in ("console.py", "entry.py")  # the latter cannot import it, and prints its own words alone
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ways
    ]
    assert found == []


def test_rows_of_rich_s_tables_are_made_of_cells() -> None:
    """A plain string would be read as markup, and eat `[fd00::5]`."""
    made = ("as_cell(", "*map(as_cell,", "Text(", "signatures if", "latency")  # the last two are the demo's own words
    found = [
        f"{path.name}:{node.lineno}: {ast.unparse(argument)}"
        for path in python_files("processors/cli")
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_row"
        for argument in node.args
        if not ast.unparse(argument).startswith(made)
    ]
    assert found == []
