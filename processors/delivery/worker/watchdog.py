"""Ends a process whose threads stand still: a worker that hangs holds its partitions and delivers nothing.

Stacks of all threads go to standard error first. What counts is how often this thread looked without seeing a beat, not
the clock: a process that was stopped and woken up, or a machine that slept, is not hanging.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Mapping

import structlog

LOOK_EVERY_S = 1.0
HANGS_AFTER_S = 60.0
EXIT_CODE = 70  # EX_SOFTWARE

log = structlog.get_logger("hookstream.deliver")


class Watchdog:
    """Looks at the times of the last beats, by name of the thread."""

    def __init__(
        self,
        beats: Callable[[], Mapping[str, float]],
        *,
        end: Callable[[str], None] | None = None,
        hangs_after_s: float = HANGS_AFTER_S,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """`end` gets the name of what stands still; the default one dumps all stacks and ends the process."""
        self._beats = beats
        self._end = end or _end_process
        self._looks = max(1, round(hangs_after_s / look_every_s))
        self._look_every_s = look_every_s
        self._seen: dict[str, tuple[float, int]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def look(self) -> str | None:
        """Look once; returns what has stood still for too long."""
        for name, beat in self._beats().items():
            last, still = self._seen.get(name, (beat, -1))
            still = still + 1 if beat == last else 0
            self._seen[name] = (beat, still)
            if still >= self._looks:
                return name
        return None

    def _run(self) -> None:
        while not self._stopping.wait(self._look_every_s):
            hanging = self.look()
            if hanging is not None:
                self._end(hanging)
                return


def _end_process(hanging: str) -> None:
    log.critical("a thread stands still; the process ends", thread=hanging)
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    os._exit(EXIT_CODE)
