"""Times as people write them on a command line."""

from __future__ import annotations

import re
import time
from datetime import datetime

import typer

_BACK = re.compile(r"-(\d{1,9})([smhd])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def unix_ms(text: str, option: str, *, now_ms: int | None = None) -> int:
    """Unix milliseconds of an RFC 3339 time, or of so long before now.

    Raises:
        typer.BadParameter: it is neither.
    """
    back = _BACK.fullmatch(text)
    if back is not None:
        now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        return max(0, now - int(back[1]) * _UNIT_MS[back[2]])
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        message = f"{option} wants a time such as 2026-01-31T02:10:00Z, with its zone, or -90m, -2h, -3d"
        raise typer.BadParameter(message)
    return max(0, round(parsed.timestamp() * 1000))
