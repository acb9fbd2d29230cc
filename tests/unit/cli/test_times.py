"""Times as people type them."""

from __future__ import annotations

import pytest
import typer

from hookstream.processors.cli.times import parse_time

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
        ("-999999999d", 0),
        ("1969-12-31T23:59:59Z", 0),
    ],
)
def test_a_time_says_its_zone_or_is_counted_back_from_now(text: str, expected: int) -> None:
    assert parse_time(text, "--from", now_ms=NOW_MS) == expected


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-11-24T02:10:00", "2026-01-31", "2h", "-2", "-2w", "2026-13-01T00:00:00Z", f"-{'9' * 400}d"],
)
def test_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--from wants a time"):
        parse_time(text, "--from", now_ms=NOW_MS)
