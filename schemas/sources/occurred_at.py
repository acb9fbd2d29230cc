"""When an event happened, in the forms that records have: epoch milliseconds, or RFC 3339.

Source: RFC 3339, section 5.6. A time without an offset is no instant, and refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hookstream.schemas.bounded import YEAR_10000_MS, long_of
from hookstream.schemas.rendering.json_tree import JsonTree

_FORM = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_MAX_CHARS = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
WANTED = "is no time from 1970 to 9999: needs epoch milliseconds, or RFC 3339 with an offset"


def instant_ms(value: JsonTree) -> int | None:
    """Unix milliseconds of a value; None where it is no instant."""
    if type(value) is str:
        number = long_of(value)  # of a header, where everything is text
        return _of_text(value) if number is None else _bounded(number)
    return _bounded(value) if type(value) is int else None


def _of_text(text: str) -> int | None:
    if len(text) > _MAX_CHARS or not _FORM.fullmatch(text):
        return None
    try:
        # Python takes the first six digits of a fraction, and wants the letters in upper case.
        return _bounded((datetime.fromisoformat(text.upper()) - _EPOCH) // _MS)
    except (ValueError, OverflowError):
        return None


def _bounded(ms: int) -> int | None:
    return ms if 0 <= ms < YEAR_10000_MS else None
