"""JSON of others, read strictly: what two readers could take for two different values is refused.

Python's reader takes the last of two equal keys, NaN, and numbers of any length; here the first two are refused, and a
number that no 64 bits hold, or that has a fraction, stays the text that it was: it is written again to the digit.

Source: RFC 8259, sections 4 (names should be unique), 6 (numbers), 8.1 (UTF-8; a byte order mark may be ignored).
"""

from __future__ import annotations

from json import JSONDecodeError, JSONDecoder
from typing import NoReturn

import orjson

from hookstream.schemas.bounded import MAX_LONG
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.rendering.json_tree import MAX_DEPTH, JsonTree, is_too_deep, shown_key
from hookstream.schemas.wire import HEADER_BYTES

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SHORT = 18  # digits and sign of a number that 64 bits hold, whatever it is


class _TwiceError(ValueError):
    """A key stands twice in one object."""


def json_text(value: bytes) -> bytes:
    """The JSON text of a record's value: without the registry's header and a byte order mark, where there are any."""
    if value[:1] == b"\0":  # no JSON begins so
        value = value[HEADER_BYTES:]
    return value.removeprefix(_BYTE_ORDER_MARK)


def read_json(text: bytes) -> JsonTree:
    """Read a JSON text; numbers that are no 64-bit integers are fragments.

    Raises:
        UndecodableError: it is none, is nested too deeply, or says two things for one key; never with a word of it.
    """
    try:
        tree = _DECODER.decode(text.decode())
    except UnicodeDecodeError:
        raise UndecodableError("no JSON: not UTF-8") from None
    except JSONDecodeError as exc:
        raise UndecodableError(f"no JSON at character {exc.pos}: {exc.msg}") from None
    except _TwiceError as exc:
        raise UndecodableError(str(exc)) from None
    except RecursionError:
        raise UndecodableError(_TOO_DEEP) from None
    # Most records have fewer brackets than may stand within each other.
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH and is_too_deep(tree):
        raise UndecodableError(_TOO_DEEP)
    return tree


def _object(pairs: list[tuple[str, JsonTree]]) -> dict[str, JsonTree]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _TwiceError(f"no clear JSON: a key stands twice in one object ({shown_key(twice).removeprefix('.')})")
    return made


def _integer(text: str) -> int | orjson.Fragment:
    if len(text) > _SHORT or text == "-0":
        number = int(text) if len(text) <= _SHORT + 2 else MAX_LONG + 1
        return number if -MAX_LONG - 1 <= number <= MAX_LONG and number else orjson.Fragment(text)
    return int(text)


def _constant(name: str) -> NoReturn:
    raise JSONDecodeError(f"{name} is no number of JSON", "", 0)


_TOO_DEEP = f"JSON that is nested more than {MAX_DEPTH} deep"
_DECODER = JSONDecoder(
    object_pairs_hook=_object, parse_float=orjson.Fragment, parse_int=_integer, parse_constant=_constant
)
