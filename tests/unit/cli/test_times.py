"""Times and durations as people type them."""

from __future__ import annotations

import pytest
import typer

from hookstream.processors.cli import main as cli
from hookstream.processors.cli.times import (
    clock_duration,
    duration_parser,
    parse_duration_s,
    parse_time,
    short_duration,
)

NOW_MS = 1_790_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T02:10:00Z", 1_795_486_200_000),
        ("2026-11-24T06:10:00+04:00", 1_795_486_200_000),
        ("2026-11-24 02:10:00.250Z", 1_795_486_200_250),
        ("-90s", NOW_MS - 90_000),
        ("-1.5h", NOW_MS - 5_400_000),
        ("-30m", NOW_MS - 1_800_000),
        ("-2d", NOW_MS - 172_800_000),
        ("2h", NOW_MS - 7_200_000),
        ("7d", NOW_MS - 604_800_000),
        ("-999999999d", 0),
        ("1969-12-31T23:59:59Z", 0),
    ],
)
def test_a_time_says_its_zone_or_is_counted_back_from_now(text: str, expected: int) -> None:
    assert parse_time(text, "--from", now_ms=NOW_MS) == expected


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "-2", "2", "--2h", "-2w", "2 h", "٣h", "2026-13-01T00:00:00Z", f"-{'9' * 400}d"],
)
def test_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--from needs a time with its zone, such as"):
        parse_time(text, "--from", now_ms=NOW_MS)


@pytest.mark.parametrize("text", ["2026-11-24T02:10:00", "2026-01-31"])
def test_a_time_without_a_zone_is_refused_with_what_to_add(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"--since needs a time with its zone; add Z, or an offset"):
        parse_time(text, "--since", now_ms=NOW_MS)


@pytest.mark.parametrize(("text", "expected"), [("3600", 3600), ("0.5", 0.5), ("90m", 5400), ("1d", 86400), ("0", 0)])
def test_a_duration_has_a_unit_or_is_seconds(text: str, expected: float) -> None:
    assert parse_duration_s(text, "--older-than") == expected


@pytest.mark.parametrize("text", ["", "-1", "-3h", "nan", "inf", "1e9", "h", "2 h", "9" * 400])
def test_what_is_no_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--older-than needs seconds, or a duration such as 90s"):
        parse_duration_s(text, "--older-than")


@pytest.mark.parametrize(("given", "expected"), [("90m", 5400), ("20", 20), (30.0, 30.0)])
def test_an_option_takes_the_same_durations(given: str | float, expected: float) -> None:
    assert duration_parser()(given) == expected


@pytest.mark.parametrize("wait", ["soon", "-3h", "9999999999999s"])
def test_an_option_that_is_no_duration_is_named(wait: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["topics", "check", f"--wait={wait}"]) == 2
    assert "--wait" in capsys.readouterr().err
    assert cli.run(["listen", "--slow", "2h"]) == 2
    assert "it may be 1:00:00 at most" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (200_000, "2d")])
def test_a_duration_is_shown_in_one_unit(seconds: float, shown: str) -> None:
    assert short_duration(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00:01"), (10.4, "0:00:10"), (94_200, "26:10:00")])
def test_a_duration_is_shown_to_the_second(seconds: float, shown: str) -> None:
    assert clock_duration(seconds) == shown
