"""`hookstream lag` before a terminal, a pipe and a program."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from hookstream.processors.cli.commands import lag

ENDPOINT: dict[str, Any] = {
    "id": "434-5bd0a1f3c2e48796",
    "state": "quarantined",
    "behind": 40,
    "behind_exact": False,
    "replays_behind": 2,
    "oldest_undelivered_at_ms": 0,
    "next_attempt_at_ms": 0,
    "last_success_at_ms": None,
    "last_error": {"at_ms": 0, "result": "timeout", "status": None},
    "target": "https://example.com/hook?key=secret",
}


class FakeApi:
    """Pages of so many endpoints."""

    def __init__(self, count: int) -> None:
        self.endpoints = [{**ENDPOINT, "id": str(n)} for n in range(count)]
        self.asked: list[dict[str, object]] = []

    def get(self, _path: str, *, limit: int, cursor: str | None, **query: object) -> dict[str, Any]:
        self.asked.append({**query, "limit": limit})
        start = int(cursor or 0)
        end = start + limit
        more = end < len(self.endpoints)
        return {
            "endpoints": self.endpoints[start:end],
            "next_cursor": str(end) if more else None,
            "unknown": ["deliveries:3: damaged"],
        }


def test_the_query_of_a_target_is_not_printed_and_an_estimate_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    lag._say(
        {"endpoints": [ENDPOINT, {**ENDPOINT, "target": None}], "more": True, "unknown": ["deliveries:3: damaged"]}
    )
    out, err = capsys.readouterr()
    assert "~42" in out
    assert "timeout" in out
    assert "https://example.com/hook\n" in out
    assert "(unknown)" in out
    assert "secret" not in out
    assert err == "there are more: see --limit\nunknown: deliveries:3: damaged\n"


def test_whose_attempts_are_missing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    gap = {"client": {"id": 434}, "attempts": 9_871, "first_at_ms": 0, "last_at_ms": time.time_ns() // 1_000_000}
    lag._say({"endpoints": [], "more": False, "unknown": [], "unrecorded": [gap]})
    assert "unrecorded: 9871 attempts of client 434, the last 0s ago: " in capsys.readouterr().err


def test_pages_are_fetched_up_to_the_limit() -> None:
    api: Any = FakeApi(1_200)
    found = lag._look(api, {"state": "lagging"}, 1_100)
    assert [int(endpoint["id"]) for endpoint in found["endpoints"]] == list(range(1_100))
    assert [asked["limit"] for asked in api.asked] == [500, 500, 100]
    assert found["more"]
    assert not lag._look(api, {}, 5_000)["more"]


def test_watching_prints_a_line_of_json_a_look(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [{"endpoints": [], "more": False, "unknown": [], "number": n} for n in range(3)]
    monkeypatch.setattr(time, "sleep", lambda _s: None)

    def look() -> dict[str, Any]:
        if not looks:
            raise KeyboardInterrupt
        return looks.pop(0)

    with pytest.raises(KeyboardInterrupt):
        lag._watch(look, as_json=True)
    assert [json.loads(line)["number"] for line in capsys.readouterr().out.splitlines()] == [0, 1, 2]


def test_a_terminal_that_is_too_narrow_for_a_line_an_endpoint_gets_two() -> None:
    well = {**ENDPOINT, "state": "healthy", "last_error": None}
    found = {"endpoints": [ENDPOINT, well], "more": False, "unknown": []}
    wide = lag.lines(found, None)
    assert [len(lag.lines(found, width)) for width in (None, max(map(len, wide)))] == [3, 3]
    narrow = lag.lines(found, 80)
    assert max(map(len, narrow)) <= 80
    assert [line.split()[0] for line in narrow[:2]] == ["endpoint", ENDPOINT["id"]]
    assert re.fullmatch(r"  timeout \d+d: https://example\.com/hook", narrow[2])
    assert narrow[4] == "  https://example.com/hook"
    assert narrow[1].split()[1:3] == ["quarantined", "~42"]
