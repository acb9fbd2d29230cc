"""Times of records, in every form that is taken."""

from __future__ import annotations

import pytest

from hookstream.schemas.rendering.json_tree import Unshowable
from hookstream.schemas.sources.occurred_at import instant_ms

AT_MS = 1_795_852_800_123


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (AT_MS, AT_MS),
        (str(AT_MS), AT_MS),
        (0, 0),
        ("2026-11-28T08:00:00.123Z", AT_MS),
        ("2026-11-28T08:00:00.123999Z", AT_MS),
        ("2026-11-28T08:00:00.123456789Z", AT_MS),
        ("2026-11-28t09:30:00.123+01:30", AT_MS),
        ("2026-11-28 08:00:00.123z", AT_MS),
    ],
)
def test_an_instant_is_unix_milliseconds(value: object, ms: int) -> None:
    assert instant_ms(value) == ms


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1.5,
        -1,
        AT_MS * 1000,
        "",
        "x",
        "2026-11-28",
        "2026-11-28T08:00:00",
        "20261128T080000Z",
        "2026-W48-6T08:00:00Z",
        "2026-02-30T08:00:00Z",
        "2026-11-28T08:00:60Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00+14:00",
        "2026-11-28T08:00:00." + "1" * 100 + "Z",
        "٢٠٢٦-11-28T08:00:00Z",
        [],
        {},
        Unshowable("a date"),
    ],
)
def test_what_is_no_instant_of_a_calendar_is_none(value: object) -> None:
    assert instant_ms(value) is None
