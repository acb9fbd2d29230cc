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
    ],
)
def test_a_time_says_its_zone_or_is_counted_back_from_now(text: str, expected: int) -> None:
    assert parse_time(text, now_ms=NOW_MS) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-24T02:10:00", "2h", "-2", "-2w", "2026-13-01T00:00:00Z"])
def test_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_time(text, now_ms=NOW_MS)
