"""Ids of clients and resources: text inside, an integer or a string where they come from and where they are shown.

`434` as a number and `434` as a text are the same client. Only what an envelope declares, and what the API shows, tells
the two forms apart.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from .bounded import MAX_LONG, long_of

MAX_ID_CHARS = 255

# No control characters of Unicode, and no half of a pair, which UTF-8 cannot write.
_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,255}")
WHAT_A_TEXT_IS = f"a string of 1 to {MAX_ID_CHARS} characters without control characters"
WHAT_AN_INTEGER_IS = f"an integer from 0 to {MAX_LONG}"


class IdKind(StrEnum):
    """How an id is written where it is not hookstream's own."""

    INTEGER = "integer"
    STRING = "string"

    @property
    def meaning(self) -> str:
        """What such an id is, for messages."""
        return WHAT_AN_INTEGER_IS if self is IdKind.INTEGER else WHAT_A_TEXT_IS

    def shown(self, text: str) -> int | str:
        """An id as it is shown. A text that is no integer is shown as it is, also where integers are expected."""
        number = integer_of(text) if self is IdKind.INTEGER else None
        return text if number is None else number

    def takes(self, value: object) -> bool:
        """Whether a value is an id of this kind."""
        if self is IdKind.INTEGER:
            return type(value) is int and 0 <= value <= MAX_LONG
        return type(value) is str and is_id(value)

    def read(self, value: object) -> object:
        """A value of foreign JSON in this kind, where it is the same id in the other one; else as it was."""
        if self is IdKind.STRING:
            return str(value) if IdKind.INTEGER.takes(value) else value
        number = integer_of(value) if type(value) is str else None
        return value if number is None else number


class IdKinds(NamedTuple):
    """What an envelope declares its ids to be."""

    client: IdKind
    concept: IdKind


INTEGERS = IdKinds(IdKind.INTEGER, IdKind.INTEGER)
"""What the shipped envelopes declare."""


def is_id(text: str) -> bool:
    """Whether a text can be the id of a client or of a resource."""
    if text.isascii() and text.isprintable():  # nearly every one, and half the time
        return 0 < len(text) <= MAX_ID_CHARS
    return _ID.fullmatch(text) is not None


def integer_of(text: str) -> int | None:
    """The integer that is written like this, None where there is none: `007` and `+7` are texts."""
    number = long_of(text)
    return number if number is not None and str(number) == text else None
