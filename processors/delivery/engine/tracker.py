"""Which offsets of one partition are settled: the committed offset and the bitmap above it."""

from __future__ import annotations

_ASCII = bytes([0x30, 0x31]) + bytes(254)
_TRIM = 4_096


class OffsetTracker:
    """The offsets between `base` and `position`, each settled or not; offsets that do not exist count as settled.

    One byte an offset, so that the lowest unsettled one and the bitmap are found by `bytearray.find` and
    `int(…, 2)` instead of a loop: a snapshot of 10,000 offsets takes tens of microseconds.
    """

    __slots__ = ("_flags", "_origin", "position")

    def __init__(self, position: int) -> None:
        """Start with nothing read; `position` is the next offset to read."""
        self.position = position
        self._origin = position
        self._flags = bytearray()

    def read(self, offset: int, *, settled: bool) -> None:
        """Note that `offset` was read; what lies between it and the former position does not exist.

        Raises: ValueError if the offset was read before.
        """
        gap = offset - self.position
        if gap:
            if gap < 0:
                message = f"offset {offset} is below the position {self.position}"
                raise ValueError(message)
            self._flags += b"\x01" * gap
        self._flags.append(settled)
        self.position = offset + 1

    def skip_to(self, position: int) -> None:
        """Note that nothing exists below `position` that was not read."""
        if position > self.position:
            self._flags += b"\x01" * (position - self.position)
            self.position = position

    def settle(self, offset: int) -> None:
        """Mark a read offset as settled."""
        self._flags[offset - self._origin] = 1

    def unsettle(self, offset: int) -> None:
        """Take a settled offset back into the window; the base may move down to it."""
        if offset < self._origin:
            self._flags[:0] = b"\x01" * (self._origin - offset)
            self._origin = offset
        self._flags[offset - self._origin] = 0

    @property
    def base(self) -> int:
        """The lowest unsettled offset, or the position: what may be committed."""
        first = self._flags.find(0)
        if first < 0:
            self._origin = self.position
            self._flags.clear()
            return self.position
        if first > _TRIM:
            del self._flags[:first]
            self._origin += first
            return self._origin
        return self._origin + first

    def settled_above(self, restored: SettledSet | None = None) -> tuple[int, bytes]:
        """Return (base, bitmap): bit i of the bitmap, most significant first, is 1 where offset base + i is settled.

        The bitmap ends with the last settled offset and is empty if nothing above the base is settled. From the
        position on, it holds what a `restored` commit calls settled.
        """
        base = self.base
        flags = self._flags[base - self._origin :]
        if restored is not None:
            flags += bytes(offset in restored for offset in range(self.position, restored.end))
        end = flags.rfind(1) + 1
        if not end:
            return base, b""
        del flags[end:]
        flags += bytes(-len(flags) % 8)
        return base, int(flags.translate(_ASCII), 2).to_bytes(len(flags) // 8, "big")


class SettledSet:
    """The settled offsets a commit carried: (base, bitmap) as `OffsetTracker.settled_above` wrote them."""

    __slots__ = ("_base", "_bits", "end")

    def __init__(self, base: int = 0, bitmap: bytes = b"") -> None:
        """Read a bitmap; `end` is the first offset about which it says nothing."""
        self._base = base
        self._bits = bitmap
        last = int.from_bytes(bitmap, "big")
        trailing = (last & -last).bit_length() - 1 if last else 0
        self.end = base + 8 * len(bitmap) - trailing if last else base

    def __contains__(self, offset: int) -> bool:
        """Whether the offset was settled when the commit was made."""
        index = offset - self._base
        return 0 <= index < 8 * len(self._bits) and bool(self._bits[index >> 3] >> (7 - (index & 7)) & 1)
