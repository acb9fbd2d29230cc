"""Times as people write them."""

from __future__ import annotations

import pytest
import typer

from hookstream.processors.cli.replay_times import unix_ms

NOW_MS = 1_790_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-90s", NOW_MS - 90_000),
        ("-30m", NOW_MS - 1_800_000),
        ("-2h", NOW_MS - 7_200_000),
        ("-3d", NOW_MS - 3 * 86_400_000),
        ("2026-01-31T02:10:00Z", 1_769_825_400_000),
        ("2026-01-31T03:10:00+01:00", 1_769_825_400_000),
        ("2026-01-31T02:10:00.250Z", 1_769_825_400_250),
    ],
)
def test_rfc_3339_and_back_from_now(text: str, expected: int) -> None:
    assert unix_ms(text, "--from", now_ms=NOW_MS) == expected


@pytest.mark.parametrize("text", ["", "2h", "-2w", "-2", "2026-01-31T02:10:00", "2026-01-31", "yesterday", "-1.5h"])
def test_a_time_without_its_zone_or_of_no_known_form_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--from wants a time"):
        unix_ms(text, "--from", now_ms=NOW_MS)
