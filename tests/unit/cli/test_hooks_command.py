"""What `hookstream hooks` and `hookstream endpoints` ask of the API, and what they print."""

from __future__ import annotations

import io
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors.cli import main as cli
from hookstream.processors.cli.commands import endpoint_views, hooks
from hookstream.processors.cli.console import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "434-5bd0a1f3c2e48796"
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"  # of the standard's own text
HOOK = {"id": 5, "event": "lead.new", "target": "https://x.example/", "client": {"id": 434}, "effective": True}
ENDPOINT: dict[str, Any] = {
    "id": NAME, "client": {"id": 434}, "target": "https://x.example/", "state": "quarantined", "behind": 3,
    "behind_exact": False, "replays_behind": 1, "oldest_undelivered_at_ms": 1_700_000_000_000,
    "next_attempt_at_ms": None, "failing_since_ms": 1_700_000_000_000, "last_success_at_ms": None,
    "last_error": {"at_ms": 1_700_000_000_000, "result": "timeout", "status": None},
    "hooks": [{"id": 5, "event": "lead.new", "state": "enabled", "behind": 3}],
}  # fmt: skip
SETTINGS = {
    "endpoint": NAME, "paused": True, "skip_before_ms": None, "retry_at_ms": None, "skipped": [], "published": True,
    "asked_by": None, "reason": None,
}  # fmt: skip


class FakeApi:
    """Answers everything, and keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, object]] = []

    def get(self, path: str, **_query: object) -> dict[str, Any]:
        if path.endswith("/settings"):
            return {"settings": SETTINGS}
        if path.startswith("/hooks/"):
            return {"hook": HOOK}
        return {"endpoint": ENDPOINT, "endpoints": [ENDPOINT], "next_cursor": None}

    def post(self, path: str, body: object) -> dict[str, Any]:
        self.sent.append(("POST", path, body))
        rotated = {**ENDPOINT, "secret": SECRET, "old_secrets_until_ms": 1_700_000_000_000}
        return {"hooks": [HOOK], "secret": SECRET, "endpoint": rotated}

    def patch(self, path: str, body: object) -> dict[str, Any]:
        self.sent.append(("PATCH", path, body))
        return {"hook": HOOK}

    def delete(self, path: str) -> None:
        self.sent.append(("DELETE", path, None))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()

    @contextmanager
    def opened() -> Iterator[Any]:
        yield fake

    for module in (hooks, endpoint_views):
        monkeypatch.setattr(module, "open_api", opened)
    return fake


@pytest.mark.parametrize(
    ("args", "sent"),
    [
        (
            ("create", "--event", "lead.new", "--event", "user.new", "--target", "https://x.example/"),
            ("POST", "/hooks", {"hooks": {"events": ["lead.new", "user.new"], "target": "https://x.example/"}}),
        ),
        (
            ("create", "--event", "*", "--target", "t", "--client", "434"),
            ("POST", "/hooks", {"hooks": {"events": ["*"], "target": "t", "client": "434"}}),
        ),
        (("change", "5", "--target", "t"), ("PATCH", "/hooks/5", {"hook": {"target": "t"}})),
        (
            ("change", "5", "--target", "t", "--rate-limit", "2.5"),
            ("PATCH", "/hooks/5", {"hook": {"target": "t", "rate_limit_per_second": 2.5}}),
        ),
        (("change", "5", "--no-rate-limit"), ("PATCH", "/hooks/5", {"hook": {"rate_limit_per_second": None}})),
        (("delete", "5", "--yes"), ("DELETE", "/hooks/5", None)),
    ],
)
def test_what_is_asked_of_the_api(api: FakeApi, args: tuple[str, ...], sent: tuple[str, str, object]) -> None:
    assert cli.run(["hooks", *args]) == 0
    assert api.sent == [sent]


def test_a_creation_prints_the_secret_once(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    del api
    wanted = ["hooks", "create", "--event", "lead.new", "--target", "t"]
    assert cli.run(wanted) == 0
    assert capsys.readouterr().out.splitlines() == [
        "id  client  event     target",
        "5   434     lead.new  https://x.example/",
        f"secret  {SECRET}",
    ]
    assert cli.run([*wanted, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["secret"] == SECRET


def test_a_creation_shows_the_secret_and_waits_until_routers_know_the_hook(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []
    said = ""
    answers = iter([False, True])

    def get(path: str, **_query: object) -> dict[str, Any]:
        nonlocal said
        captured = capsys.readouterr()
        shown.append(captured.out)
        said += captured.err
        assert path == "/hooks/5"
        return {"hook": {**HOOK, "effective": next(answers)}}

    monkeypatch.setattr(api, "get", get)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    wanted = ["hooks", "create", "--event", "lead.new", "--target", "t"]
    assert cli.run([*wanted, "--json"]) == 0
    assert json.loads(shown[0])["secret"] == SECRET, "before it waits"
    assert "--no-wait goes on at once" in said
    assert list(answers) == []
    assert cli.run([*wanted, "--no-wait"]) == 0


def test_hooks_are_registered_though_it_is_not_known_whether_routers_know_them(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def get(_path: str, **_query: object) -> dict[str, Any]:
        raise CommandError("the API answered 503: the database does not answer")

    monkeypatch.setattr(api, "get", get)
    assert cli.run(["hooks", "create", "--event", "lead.new", "--target", "t"]) == 0
    assert "registered, but" in capsys.readouterr().err


@pytest.mark.parametrize("stdin", [True, False])
def test_a_secret_is_brought_in_a_file_and_not_in_an_argument(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stdin: bool
) -> None:
    """Arguments are seen by everyone on the machine."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SECRET}\n"))
    where = "-" if stdin else str(file)
    assert cli.run(["hooks", "create", "--event", "*", "--target", "t", "--secret-file", where]) == 0
    assert api.sent == [("POST", "/hooks", {"hooks": {"events": ["*"], "target": "t", "secret": SECRET}})]


def test_a_file_that_cannot_be_read_is_one_line(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("none", "binary"):
        where = str(tmp_path / name)
        assert cli.run(["hooks", "create", "--event", "*", "--target", "t", "--secret-file", where]) == 1
        assert capsys.readouterr().err.startswith("hookstream: the file of the secret cannot be read: ")
    assert api.sent == []


@pytest.mark.parametrize(
    "args",
    [
        ("hooks", "create", "--target", "t"),
        ("hooks", "create", "--event", "lead.new"),
        ("hooks", "change", "5"),
        ("hooks", "change", "5", "--rate-limit", "1", "--no-rate-limit"),
        ("hooks", "delete"),
        ("endpoints", "show"),
        ("endpoints", "show", NAME, "--hook", "5"),
        ("endpoints", "settings", "nonsense"),
    ],
)
def test_a_wrong_call_asks_nothing(api: FakeApi, args: tuple[str, ...]) -> None:
    assert cli.run(args) == 2
    assert api.sent == []


def test_a_deletion_is_asked_for(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert cli.run(["hooks", "delete", "5"]) == 130
    out, err = capsys.readouterr()
    assert (out.strip(), api.sent) == ("", [])
    assert "lead.new of client 434 to https://x.example/" in err
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert cli.run(["hooks", "delete", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"id": 5, "deleted": True}


def test_endpoints_are_shown(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["endpoints", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        NAME, "434", "quarantined", "1", "~4", "https://x.example/",
    ]  # fmt: skip
    assert cli.run(["endpoints", "show", NAME]) == 0
    shown = capsys.readouterr().out
    for line in ("last error     2023-11-14T22:13:20Z timeout", "behind         ~4", "5     lead.new  enabled  3"):
        assert line in shown
    assert cli.run(["endpoints", "settings", NAME]) == 0
    assert capsys.readouterr().out == f"{NAME}  paused\n"
    assert cli.run(["endpoints", "rotate-secret", NAME]) == 0
    assert f"secret  {SECRET}" in capsys.readouterr().out
    assert api.sent == [("POST", f"/endpoints/{NAME}/secret/rotate", None)]
    for command in (("list",), ("show", NAME), ("settings", NAME), ("rotate-secret", NAME)):
        assert cli.run(["endpoints", *command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)
