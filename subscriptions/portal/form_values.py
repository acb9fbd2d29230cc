"""What people write into forms and addresses, read within bounds: times and numbers."""

from __future__ import annotations

from datetime import UTC, datetime

from hookstream.schemas.bounded import long_of


def time_of(text: str | None) -> int | None:
    """A time in ISO 8601 as Unix milliseconds, in UTC where it names no zone; None for none, or for what is none."""
    try:
        moment = datetime.fromisoformat(text or "")
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def id_or_text(text: str) -> int | str:
    """The id that a text is in digits; what is none goes on as it is, and the API says so."""
    number = long_of(text)
    return text if number is None else number


def number_or_text(text: str) -> float | str:
    """The number that a text is; what is none goes on as it is, and the API says so."""
    try:
        return float(text)
    except ValueError:
        return text
