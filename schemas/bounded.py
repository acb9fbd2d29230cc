"""Reads what others wrote into keys, headers, records and notes: bounded first, for Python's own readers are not.

`int` takes digits of every script, signs, spaces and underscores, raises beyond 4,300 digits, and makes numbers that
neither Kafka, Avro nor a database can hold.
"""

from __future__ import annotations

MAX_LONG = 2**63 - 1
_LONGEST = len(str(MAX_LONG))


def long_of(text: str | bytes | None, *, at_most: int = MAX_LONG) -> int | None:
    """The number from 0 to `at_most` that a text is in ASCII digits; None where it is none."""
    if not text or len(text) > _LONGEST or not text.isascii() or not text.isdigit():
        return None
    number = int(text)
    return number if number <= at_most else None


def checked_long(value: object) -> int:
    """Give a value of somebody's JSON or Avro back that is an integer from 0 to 2^63 - 1.

    Raises:
        ValueError: it is not.
    """
    if type(value) is not int or not 0 <= value <= MAX_LONG:
        msg = f"not an integer from 0 to {MAX_LONG}"
        raise ValueError(msg)
    return value
