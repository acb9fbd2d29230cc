"""`hookstream lag` before a terminal, a pipe and a program."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from typing import Any

import pytest

from hookstream.processors.cli.commands import lag, lag_view

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


TOTALS: dict[str, Any] = {
    "endpoints": 10_212,
    "states": {"healthy": 9_900, "lagging": 120, "quarantined": 31, "catching-up": 1, "disabled": 80, "paused": 80},
    "behind": 1_234_560,
    "behind_exact": False,
    "replays_behind": 7,
    "oldest_undelivered_at_ms": 0,
    "trend": None,
}
FOUND: dict[str, Any] = {"at_ms": 0, "endpoints": [ENDPOINT], "more": False, "unknown": [], "totals": TOTALS}
AT_MS = 1_795_870_000_000


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
            "totals": TOTALS if "totals" in query else None,
        }


def test_the_query_of_a_target_is_not_printed_and_an_estimate_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    endpoints = [ENDPOINT, {**ENDPOINT, "target": None}]
    lag._say({"at_ms": 0, "endpoints": endpoints, "more": True, "unknown": ["deliveries:3: damaged"]})
    out, err = capsys.readouterr()
    assert "~42" in out
    assert "timeout" in out
    assert "https://example.com/hook\n" in out
    assert "(unknown)" in out
    assert "secret" not in out
    assert err == "there are more: see --limit\nunknown: deliveries:3: damaged\n"


def test_whose_attempts_are_missing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    gap = {"client": {"id": 434}, "attempts": 9_871, "first_at_ms": 0, "last_at_ms": AT_MS}
    lag._say({"at_ms": AT_MS, "endpoints": [], "more": False, "unknown": [], "unrecorded": [gap]})
    assert "unrecorded: 9871 attempts of client 434, the last 0s ago: " in capsys.readouterr().err


def test_pages_are_fetched_up_to_the_limit() -> None:
    api: Any = FakeApi(1_200)
    found = lag._look(api, {"state": "lagging"}, 1_100)
    assert [int(endpoint["id"]) for endpoint in found["endpoints"]] == list(range(1_100))
    assert [asked["limit"] for asked in api.asked] == [500, 500, 100]
    assert [asked.get("totals") for asked in api.asked] == ["true", None, None]
    assert found["more"]
    assert found["totals"] == TOTALS
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


def texts(found: dict[str, Any], width: int | None) -> list[str]:
    return [line.text for line in lag_view.table(found, width, now_ms=AT_MS)]


def test_a_terminal_that_is_too_narrow_for_a_line_an_endpoint_gets_two() -> None:
    well = {**ENDPOINT, "state": "healthy", "last_error": None}
    found = {**FOUND, "endpoints": [ENDPOINT, well]}
    wide = texts(found, None)
    assert [len(texts(found, width)) for width in (None, max(map(len, wide)))] == [3, 3]
    narrow = texts(found, 80)
    assert max(map(len, narrow)) <= 80
    assert [line.split()[0] for line in narrow[:2]] == ["endpoint", ENDPOINT["id"]]
    assert re.fullmatch(r"  timeout \d+d: https://example\.com/hook", narrow[2])
    assert narrow[4] == "  https://example.com/hook"
    assert narrow[1].split()[1:3] == ["quarantined", "~42"]


@pytest.mark.parametrize("width", [80, 60, 40])
def test_long_names_targets_and_numbers_fit_too(width: int) -> None:
    long = {
        **ENDPOINT,
        "id": f"{'tenant' * 8}-5bd0a1f3c2e48796",
        "behind": 10**9,
        "target": f"https://e.com/{'x' * 99}",
    }
    shown = texts({**FOUND, "endpoints": [long, ENDPOINT]}, width)
    assert max(map(len, shown)) <= width
    assert [line for line in shown if line.startswith(ENDPOINT["id"])]
    assert width < 80 or shown[1] == long["id"]


def test_the_clock_and_the_totals_of_all_endpoints_fit_eighty_columns() -> None:
    first, *states = lag_view.summary(FOUND, 80, now_ms=AT_MS)
    assert first == "2026-11-28T12:46:40Z  10,212 endpoints, ~1,234,567 pending, oldest 20785d"
    assert states == ["9,900 healthy, 120 lagging, 31 quarantined, 1 catching-up, 80 disabled,", "80 paused"]
    assert max(map(len, states)) <= 80
    idle = {**TOTALS, "oldest_undelivered_at_ms": None, "states": {"healthy": 0}}
    assert lag_view.summary({**FOUND, "totals": idle}, None, now_ms=AT_MS)[0].endswith(" pending")
    assert lag_view.summary({**FOUND, "totals": None}, 80, now_ms=AT_MS) == ["2026-11-28T12:46:40Z"]


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_color", "colour"), [("", True), ("1", False)])
def test_only_a_terminal_without_no_color_gets_colours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_color: str, colour: bool
) -> None:
    lag._say(FOUND)
    assert "\x1b" not in capsys.readouterr().out
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    for name, value in (("COLUMNS", "80"), ("TERM", "xterm"), ("NO_COLOR", no_color)):
        monkeypatch.setenv(name, value)
    lag._say(FOUND)
    assert ("\x1b[1;31m quarantined \x1b[0m" in screen.getvalue()) == colour
    assert ("31m" in screen.getvalue()) == colour


def test_what_is_drawn_again_begins_with_the_clock() -> None:
    assert lag._screen(FOUND).plain.startswith("1970-01-01T00:00:00Z  10,212 endpoints")
