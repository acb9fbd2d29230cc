"""What `hookstream replay` shows before it sends, when it asks, and what a dry run leaves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors.cli import main as cli
from hookstream.processors.cli.commands import dead_letters, replay, replay_plan
from hookstream.processors.cli.console import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

HOOK = {"id": 1, "deliveries": 80, "client": 434, "event": "lead.new", "target": "https://example.com/h?key=secret"}
OTHER = {**HOOK, "id": 2, "deliveries": 3, "client": 9999}
GONE = {"id": 3, "deliveries": 1, "client": None, "event": None, "target": None}
PROGRESS = {"scanned": 84, "sent": 0}


def plan(*hooks: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A replay that was counted."""
    count = {
        "deliveries": sum(hook["deliveries"] for hook in hooks),
        "hooks": list(hooks),
        "hook_count": len(hooks),
        "estimate_s": 1.0,
    }
    found = {"id": 7, "state": "planned", "client": None, "hook_id": None, "from_ms": 0, "to_ms": 60_000}
    return {**found, "reason": None, "count": count, "window": {"left_from_ms": None}, "progress": PROGRESS, **changed}


class FakeApi:
    """Knows one replay, which is counted at once, and dead letters of two clients."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found
        self.resent: list[Any] = []

    def get(self, path: str, **_query: object) -> dict[str, Any]:
        if path == "/dead-letters":
            one = {"id": "0-1", "client": 434, "hook_id": 1, "resendable": True}
            return {"dead_letters": [one, {**one, "id": "0-2", "client": 9999}], "next_cursor": None}
        return {"replay": self.found}

    def post(self, path: str, body: Any) -> dict[str, Any]:
        if path.startswith("/dead-letters"):
            self.resent += body["ids"]
            return {"resent": body["ids"]}
        return {"replay": self.found}

    def patch(self, _path: str, _body: object) -> dict[str, Any]:
        self.found = {**self.found, "state": "done"}
        return {"replay": self.found}

    def delete(self, _path: str) -> None:
        self.found = {**self.found, "state": "cancelled"}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi(plan(HOOK, OTHER))

    @contextmanager
    def opened() -> Iterator[Any]:
        yield fake

    for module in (replay, dead_letters):
        monkeypatch.setattr(module, "open_api", opened)
    return fake


def answers(monkeypatch: pytest.MonkeyPatch, *given: bool) -> list[str]:
    """Put a person at the terminal; gives what was asked."""
    asked: list[str] = []
    left = list(given)

    def confirm(question: str, **more: Any) -> bool:
        asked.append(question)
        answer = left.pop(0)
        if not answer and more.get("abort"):
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr("typer.confirm", confirm)
    for module in (replay_plan, dead_letters):
        monkeypatch.setattr(module, "can_be_asked", lambda: True)
    return asked


def test_the_plan_names_client_event_and_target_within_eighty_columns() -> None:
    long = {**HOOK, "id": 123_456, "deliveries": 1_234_567, "target": f"https://example.com/{'x' * 90}?key=secret"}
    lines = list(replay_plan.plan_lines(plan(long, OTHER, GONE), 80))
    assert lines[1].split() == ["hook", "deliveries", "client", "event", "target"]
    assert lines[3].split() == ["2", "3", "9999", "lead.new", "https://example.com/h"]
    assert lines[4].split() == ["3", "1", "-", "-", "-"]
    assert max(map(len, lines)) <= 80
    assert "secret" not in "".join(lines)


@pytest.mark.parametrize(
    ("found", "several"),
    [
        (plan(HOOK), False),
        (plan(HOOK, {**HOOK, "id": 2}), False),
        (plan(HOOK, OTHER), True),
        (plan(HOOK, GONE), True),
        (plan(HOOK, GONE, client={"id": 434}), False),
        (plan(HOOK, GONE, hook_id=1), False),
        (plan(HOOK, count={**plan(HOOK)["count"], "hook_count": 1_001}), True),
    ],
)
def test_several_clients_are_concerned_unless_one_is_certain(found: dict[str, Any], *, several: bool) -> None:
    assert replay_plan.concerns_several_clients(found) == several


def test_a_person_is_asked_where_several_clients_are_concerned(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, False)
    assert cli.run(["replay", "--from", "-1h"]) == 0
    assert asked == ["Send 83 deliveries of several clients?"]
    assert api.found["state"] == "planned"
    for found, more in ((plan(HOOK), []), (plan(HOOK, OTHER), ["--yes"])):
        api.found = found
        assert cli.run(["replay", "--from", "-1h", *more]) == 0
        assert api.found["state"] == "done"
    assert len(asked) == 1


def test_a_script_is_asked_nothing_and_refused_what_is_much(api: FakeApi) -> None:
    assert cli.run(["replay", "--from", "-1h"]) == 0
    assert api.found["state"] == "done"
    much: Any = plan({**HOOK, "deliveries": 1_001})
    with pytest.raises(CommandError, match="not sent without --yes: replay 7 waits"):
        replay_plan.agreed(FakeApi(much), much, yes=False)  # type: ignore[arg-type]  # what it needs of it


@pytest.mark.parametrize("state", ["planned", "failed"])
def test_a_dry_run_leaves_no_replay_that_waits(api: FakeApi, state: str) -> None:
    api.found = plan(HOOK, state=state)
    assert cli.run(["replay", "--from", "-1h", "--dry-run"]) == (0 if state == "planned" else 1)
    assert api.found["state"] == ("cancelled" if state == "planned" else "failed")


def test_an_interrupted_dry_run_is_cancelled_too(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    api.found = plan(HOOK, state="counting")

    def interrupt(*_args: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hookstream.processors.cli.commands.replay_watch.watch", interrupt)
    assert cli.run(["replay", "--from", "-1h", "--dry-run"]) == 130
    assert api.found["state"] == "cancelled"


def test_a_person_is_asked_before_dead_letters_of_several_clients(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, False)
    assert cli.run(["dead-letters", "resend", "--all"]) == 130
    assert (asked, api.resent) == (["Send 2 again?"], [])
    monkeypatch.setattr(dead_letters, "can_be_asked", lambda: False)
    assert cli.run(["dead-letters", "resend", "--all"]) == 0
    assert api.resent == ["0-1", "0-2"]
