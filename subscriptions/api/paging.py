"""Pages of a list. A cursor says where the page before ended; callers send it back as it is, and do not read it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Annotated, TypeAlias, TypeVar

from fastapi import Query

from .problems import Fault, invalid

_T = TypeVar("_T")

CursorParameter: TypeAlias = Annotated[str | None, Query(description="`next_cursor` of the page before")]


def encode_cursor(position: str) -> str:
    """A position, in ASCII, as a text that fits into a query as it is."""
    return base64.urlsafe_b64encode(position.encode("ascii")).decode("ascii").rstrip("=")


def decode_cursor(cursor: str | None, parse: Callable[[str], _T | None]) -> _T | None:
    """The position in a cursor, as `parse` reads it; None without a cursor.

    Raises:
        ProblemError: 422, the cursor was not given out by this list: `parse` gives None for it.
    """
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        position = parse(base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii"))
    except ValueError:
        position = None
    if position is None:
        raise invalid(Fault(parameter="cursor", detail="is none that was given out"))
    return position
