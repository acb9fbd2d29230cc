"""A role whose wall clock is moved by a file: `python -m tests.nemesis.shifted_clock FILE ROLE`.

Python's clock alone moves, not that of librdkafka: with libfaketime, `time.sleep` raises and librdkafka's waits stand
still for as long as the clock is ahead, which no clock that is set does.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

_LOOK_EVERY_S = 0.5


class ShiftedClock:
    """Wall time, moved by the seconds that a file holds; looked up now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._real_ns = time.time_ns
        self._looked_at = float("-inf")
        self._offset_ns = 0

    def time_ns(self) -> int:
        """Stand in for `time.time_ns`."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = now
            self._offset_ns = int(self._path.read_text() or 0) * 1_000_000_000
        return self._real_ns() + self._offset_ns

    def time(self) -> float:
        """Stand in for `time.time`."""
        return self.time_ns() / 1_000_000_000


def main() -> None:
    """Move the clock before anything has taken hold of it, then be the role."""
    clock = ShiftedClock(Path(sys.argv[1]))
    time.time_ns, time.time = clock.time_ns, clock.time
    from hookstream.processors.cli.main import main as hookstream  # noqa: PLC0415 - it binds the clock

    sys.argv = ["hookstream", *sys.argv[2:]]
    hookstream()


if __name__ == "__main__":
    main()
