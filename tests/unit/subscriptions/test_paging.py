"""Cursors of lists: what was given out is read again, and nothing else is."""

from __future__ import annotations

import pytest

from hookstream.schemas.bounded import long_of
from hookstream.subscriptions.api.paging import decode_cursor, encode_cursor
from hookstream.subscriptions.api.problems import ProblemError


@pytest.mark.parametrize("position", ["0", "12", "1790000000123.7", "o:-4:434-0123456789abcdef", "11-4"])
def test_a_position_survives_its_cursor(position: str) -> None:
    cursor = encode_cursor(position)
    assert cursor.isascii()
    assert set("=+/&?#%") & set(cursor) == set()
    assert decode_cursor(cursor, str) == position


def test_without_a_cursor_there_is_no_position() -> None:
    assert decode_cursor(None, long_of) is None


@pytest.mark.parametrize("cursor", ["", "x", "zz", "7", "MTI\n", "M TI", "ä", "_w", encode_cursor("-1")])
def test_what_was_not_given_out_is_refused(cursor: str) -> None:
    with pytest.raises(ProblemError, match="cursor: is none that was given out") as refused:
        decode_cursor(cursor, long_of)
    assert refused.value.status == 422
