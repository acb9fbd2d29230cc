"""The bytes of Avro's longs and strings, read and written without a schema: compiled, at a fraction of fastavro's cost.

Source: Apache Avro 1.12 specification, "Binary Encoding" (zigzag varints, length-prefixed strings).
"""

from __future__ import annotations

from typing import Final

_HEADER_BYTES: Final = 5  # `wire.HEADER_BYTES`, known when this is compiled
_MAX_SHIFT: Final = 56  # nine bytes: what is longer may not fit into 64 bits
_TWO_BRANCHES: Final = 2
_BITS_OF_A_LONG = 64
# 14 bits at a time: two bytes that go on, or the last one or two.
_BITS, _GROUP = 14, 1 << 14
_GOES_ON = [bytes((n & 0x7F | 0x80, n >> 7 | 0x80)) for n in range(_GROUP)]
_LAST = [bytes((n,)) if n < 128 else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(_GROUP)]  # noqa: PLR2004


def long_bytes(number: int) -> bytes:
    """An Avro long.

    Raises:
        OverflowError: it has more than 64 bits.
    """
    number = number << 1 if number >= 0 else -(number << 1) - 1
    if number < _GROUP:
        return _LAST[number]
    rest = number >> _BITS
    if rest < _GROUP:
        return _GOES_ON[number & (_GROUP - 1)] + _LAST[rest]
    if number >> _BITS_OF_A_LONG:
        raise OverflowError("no long")
    out = b""
    while number >= _GROUP:
        out += _GOES_ON[number & (_GROUP - 1)]
        number >>= _BITS
    return out + _LAST[number]


def string_bytes(text: str) -> bytes:
    """An Avro string."""
    data = text.encode()
    return long_bytes(len(data)) + data


class UnknownBytesError(Exception):
    """Bytes that are not plainly what is expected: for a reader that knows every schema."""


class ByteReader:
    """A position in the bytes of one record, behind their header."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        """Begin behind the header."""
        self.data = data
        self.position = _HEADER_BYTES

    def long(self) -> int:
        """Read a long, or the index of an enum or a union; see `NOT_PLAIN`."""
        data, position = self.data, self.position
        byte = data[position]
        position += 1
        number = byte & 0x7F
        shift = 7
        while byte & 0x80:
            if shift > _MAX_SHIFT:
                raise UnknownBytesError
            byte = data[position]
            position += 1
            number |= (byte & 0x7F) << shift
            shift += 7
        self.position = position
        return (number >> 1) ^ -(number & 1)

    def piece(self) -> bytes:
        """Read bytes with their length; see `NOT_PLAIN`."""
        length = self.long()
        start = self.position
        end = start + length
        if length < 0 or end > len(self.data):
            raise UnknownBytesError
        self.position = end
        return self.data[start:end]

    def text(self) -> str:
        """Read a string; see `NOT_PLAIN`."""
        return self.piece().decode()

    def text_or_none(self, text_index: int) -> str | None:
        """Read a union of null and a string, which has that index, 0 or 1; see `NOT_PLAIN`."""
        index = self.long()
        if index == text_index:
            return self.text()
        if not 0 <= index < _TWO_BRANCHES:
            raise UnknownBytesError
        return None


NOT_PLAIN = (UnknownBytesError, IndexError, UnicodeDecodeError)
"""What reading raises for bytes that are not plainly what is expected."""
