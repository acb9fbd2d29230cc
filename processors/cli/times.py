"""Times as people type them: RFC 3339, or so long before now."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import typer

WANTED = "a time such as 2026-11-24T02:10:00Z, or so long ago: -90s, -30m, -2h, -1d"
_AGO = re.compile(r"-(\d{1,9}(?:\.\d{1,9})?)([smhd])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_time(text: str, option: str, *, now_ms: int) -> int:
    """Unix milliseconds of a time that says where its clock stands, or of one that is counted back from now.

    Never below 0. `option` is what a refusal names.

    Raises:
        BadParameter: it is neither.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return max(0, now_ms - round(float(ago[1]) * _UNIT_MS[ago[2]]))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option} wants {WANTED}; not {text!r}") from None
    if moment.tzinfo is None:
        message = f"{option} wants a time with its zone; add Z, or an offset such as +04:00, to {text!r}"
        raise typer.BadParameter(message)
    return max(0, round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000))
