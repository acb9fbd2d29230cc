"""Unsigned integers in as few bytes as they need, seven bits a byte, lowest first (LEB128). Pure."""

from __future__ import annotations

from hookstream.schemas.bounded import MAX_LONG

_MORE = 0x80
_LONGEST = 10  # bytes: 64 bits


def append_varint(out: bytearray, value: int) -> None:
    """Append one integer.

    Raises:
        ValueError: it is negative.
    """
    if value < 0:
        raise ValueError(f"{value} is negative")
    while value >= _MORE:
        out.append(value & 0x7F | _MORE)
        value >>= 7
    out.append(value)


class VarintReader:
    """Reads bytes from the front; raises `ValueError` where they end too soon."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        """Start at the first byte."""
        self._data = data
        self._at = 0

    def varint(self) -> int:
        """Read one integer."""
        data, at = self._data, self._at
        value = shift = 0
        for byte in data[at : at + _LONGEST]:
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < _MORE:
                if value > MAX_LONG:
                    raise ValueError("an integer of more than 63 bits")
                self._at = at
                return value
            shift += 7
        raise ValueError("an integer has no end")

    def take(self, size: int) -> bytes:
        """Read so many bytes."""
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise ValueError("the data ends too soon")
        self._at += size
        return taken

    def text(self) -> str:
        """Read a string: its length in bytes, then UTF-8."""
        return self.take(self.varint()).decode()

    def rest(self) -> bytes:
        """Read everything that is left."""
        taken = self._data[self._at :]
        self._at = len(self._data)
        return taken

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)


def append_text(out: bytearray, text: str) -> None:
    """Append a string: its length in bytes, then UTF-8."""
    data = text.encode()
    append_varint(out, len(data))
    out += data
