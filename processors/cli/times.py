"""Times and durations as people type them: RFC 3339 with a zone, or a number and a unit such as `3h` and `90m`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import typer

DURATION: Final = "90s, 30m, 2h or 1d"
TIME: Final = f"a time with its zone, such as 2026-11-24T02:10:00Z, or so long before now: {DURATION}"
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", re.ASCII)
_SECONDS = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str, option: str, *, now_ms: int) -> int:
    """Unix milliseconds of a time, or of so long before now, with or without a minus. Never below 0.

    `option` is what a refusal names.

    Raises:
        BadParameter: it is neither, or it does not say its zone.
    """
    ago_s = _duration_s(text.removeprefix("-"))
    if ago_s is not None:
        return max(0, now_ms - round(ago_s * 1000))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option} needs {TIME}; not {text!r}") from None
    if moment.tzinfo is None:
        message = f"{option} needs a time with its zone; add Z, or an offset such as +04:00, to {text!r}"
        raise typer.BadParameter(message)
    return max(0, round((moment - _EPOCH).total_seconds() * 1000))


def parse_duration_s(text: str, option: str) -> float:
    """Seconds of a duration; a number without a unit is seconds.

    Raises:
        BadParameter: it is none.
    """
    found_s = float(text) if _SECONDS.fullmatch(text) else _duration_s(text)
    if found_s is None:
        raise typer.BadParameter(f"{option} needs seconds, or a duration such as {DURATION}; not {text!r}")
    return found_s


def duration_parser(*, longest_s: float = 999_999_999) -> Callable[[str | float], float]:
    """What reads an option that takes a duration, in seconds, at most so many; typer names the option in a refusal."""

    def parse(given: str | float) -> float:
        found_s = parse_duration_s(given, "it") if isinstance(given, str) else given  # a default is a number already
        if found_s > longest_s:
            raise typer.BadParameter(f"it may be {clock_duration(longest_s)} at most")
        return found_s

    return parse


def short_duration(seconds: float) -> str:
    """A duration in one unit, rounded down: `90s`, `12m`, `5h`, `3d`."""
    for name in ("d", "h", "m"):
        if seconds >= 2 * _UNIT_S[name]:
            return f"{int(seconds // _UNIT_S[name])}{name}"
    return f"{int(seconds)}s"


def clock_duration(seconds: float) -> str:
    """A duration to the second, at least one: `0:00:04`, `26:10:00`."""
    whole = max(1, round(seconds))
    hours, rest = divmod(whole, _UNIT_S["h"])
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def _duration_s(text: str) -> float | None:
    found = _DURATION.fullmatch(text)
    return None if found is None else float(found[1]) * _UNIT_S[found[2]]
