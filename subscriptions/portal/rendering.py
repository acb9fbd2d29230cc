"""Templates as pages: everything that comes from outside is escaped, times and numbers are written one way."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

TEMPLATES: Final = Path(__file__).with_name("templates")
STATIC: Final = Path(__file__).with_name("static")
NOTHING: Final = "\N{EN DASH}"
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_LARGEST_MS: Final = 253_402_300_799_999  # the year 9999


def environment() -> Environment:
    """The templates of the portal."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(number=number, duration=duration, utc=utc, moment=moment, age=age, until=until, clip=clip)
    made.globals.update(version=_version())
    return made


def number(value: float) -> str:
    """12,345."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def duration(seconds: float) -> str:
    """The two largest units: `3 h 12 min`; below a second in milliseconds."""
    seconds = max(seconds, 0)
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    left, parts = int(seconds), []
    for size, name in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {name}")
            left %= size
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def utc(ms: float) -> str:
    """`2026-01-31 12:00:05`, in UTC."""
    return _datetime(ms).strftime("%Y-%m-%d %H:%M:%S")


def moment(ms: float) -> Markup:
    """A time as an element: in UTC, and for programs."""
    machine = _datetime(ms).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}">{}</time>').format(machine, utc(ms))


def age(ms: float | None, now_ms: int) -> Markup | str:
    """How long ago, with the time itself in its title; a dash for none."""
    if ms is None:
        return NOTHING
    return _titled(ms, f"{duration((now_ms - ms) / 1000)} ago")


def until(ms: float | None, now_ms: int) -> Markup | str:
    """In how long, or that it is due; a dash for none."""
    if ms is None:
        return NOTHING
    return _titled(ms, f"in {duration((ms - now_ms) / 1000)}" if ms > now_ms else "now")


def clip(text: str, length: int) -> str:
    """The start of a long text."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _titled(ms: float, text: str) -> Markup:
    machine = _datetime(ms).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(machine, utc(ms), text)


def _datetime(ms: float) -> datetime:
    return datetime.fromtimestamp(min(max(ms, 0), _LARGEST_MS) / 1000, UTC)


def _version() -> str:
    """Changes with every change of a static file, which browsers keep."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
