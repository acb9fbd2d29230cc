"""The wall clock of this machine, in the unit of every record, row and answer."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Wall time in Unix milliseconds."""
    return time.time_ns() // 1_000_000
