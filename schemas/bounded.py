"""Reads what others wrote into keys, headers, records and notes: bounded first, for Python's own readers are not.

`int` takes digits of every script, signs, spaces and underscores, raises beyond 4,300 digits, and makes numbers that
neither Kafka, Avro nor a database can hold. PostgreSQL refuses a text with U+0000, and one in an index that is long,
whenever it is asked: a reader that writes rows would stand at such a record for ever.
"""

from __future__ import annotations

MAX_INT, MAX_LONG = 2**31 - 1, 2**63 - 1
YEAR_10000_MS = 253_402_300_800_000  # beyond it no date can be written; who comes near has sent microseconds
# Names and ids of ours have at most 250 characters; an entry of PostgreSQL's indexes has 2,704 bytes.
MAX_NAME_CHARS, _MAX_NAME_BYTES = 250, 500
_LONGEST = len(str(MAX_LONG))


def long_of(text: str | bytes | None, *, at_most: int = MAX_LONG) -> int | None:
    """The number from 0 to `at_most` that a text is in ASCII digits; None where it is none."""
    if not text or len(text) > _LONGEST or not text.isascii() or not text.isdigit():
        return None
    number = int(text)
    return number if number <= at_most else None


def checked_long(value: object) -> int:
    """Give back a value of JSON or Avro from outside that is an integer from 0 to 2^63 - 1.

    Raises:
        ValueError: it is not.
    """
    if type(value) is not int or not 0 <= value <= MAX_LONG:
        msg = f"not an integer from 0 to {MAX_LONG}"
        raise ValueError(msg)
    return value


def is_storable(*texts: str) -> bool:
    """Whether these are names or ids that every database takes, in an index too."""
    return all("\0" not in text and len(text.encode()) <= _MAX_NAME_BYTES for text in texts)
