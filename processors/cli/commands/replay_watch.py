"""Watches a replay through the API: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from hookstream.processors.cli.console import CommandError, note

Replay: TypeAlias = Mapping[str, Any]
Show: TypeAlias = Callable[[Replay], None]

_LOOK_EVERY_S = 0.5
_LINE_EVERY_S = 10.0
# An API that is started again is waited for: the replay does not depend on it.
_API_BACK_WITHIN_S = 60.0
_STILL_AFTER_S = 10.0


def watch(
    look: Callable[[], dict[str, Any]],
    found: dict[str, Any],
    state: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Look until it is in another state, however long that takes, and give it as it is then.

    Raises:
        CommandError: the API does not answer for a minute.
    """
    answered_at = clock()
    still = Standstill(state, answered_at)
    with _shown(state) as show:
        while found["state"] == state:
            show(found)
            said = still.hear(found, clock())
            if said is not None:
                note(said)
            sleep(_LOOK_EVERY_S)
            try:
                found = look()
                answered_at = clock()
            except CommandError:
                if clock() - answered_at > _API_BACK_WITHIN_S:
                    raise
    return found


class Standstill:
    """What to say of a replay that makes no progress: once, and again after it made some. Pure."""

    def __init__(self, state: str, now: float) -> None:
        """`now` is monotonic seconds, here and in `hear`."""
        self._running = state == "running"
        self._since = now
        self._progress: object = None
        self._said: str | None = None

    def hear(self, found: Replay, now: float) -> str | None:
        """Look at it as it is now; give a line where there is something new to say."""
        if found["progress"] != self._progress:
            self._progress, self._since, self._said = found["progress"], now, None
        # A slow one is not stuck: two deliveries may be so far apart.
        patience_s = _STILL_AFTER_S
        if self._running:
            patience_s += 1 / min(found["rate_per_second"], found["rate_per_second_per_endpoint"])
        line = self._line(found)
        if now - self._since < patience_s or line == self._said:
            return None
        self._said = line
        return line

    def _line(self, found: Replay) -> str:
        if found["worked_on"]:
            return "a replayer has it, and reads the table of hooks first, or waits for the attempt log to catch up"
        why = "none runs, all are busy, or Kafka or the registry does not answer"
        return f"no replayer has it: {why}; their logs say which"


def _amounts(found: Replay, state: str) -> tuple[int, int | None]:
    """How much is done, and of how much."""
    if state == "counting":
        return found["progress"]["scanned"], None if found["window"] is None else found["window"]["records"]
    return found["progress"]["sent"], found["count"]["deliveries"]


@contextmanager
def _shown(state: str) -> Iterator[Show]:
    if not sys.stderr.isatty():
        yield _Lines(state)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(state), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(found: Replay) -> None:
            done, total = _amounts(found, state)
            bar.update(task, completed=done, total=total)

        yield show


class _Lines:
    """A line every ten seconds, with what is left at the pace so far."""

    def __init__(self, state: str) -> None:
        self._state = state
        self._began_at = self._told_at = time.monotonic()
        self._first: int | None = None

    def __call__(self, found: Replay) -> None:
        now = time.monotonic()
        done, total = _amounts(found, self._state)
        self._first = done if self._first is None else self._first
        if now - self._told_at < _LINE_EVERY_S or total is None:
            return
        self._told_at = now
        pace = (done - self._first) / (now - self._began_at)
        left = f", some {(total - done) / pace:,.0f} s left" if pace > 0 else ""
        note(f"{self._state}: {done:,} of {total:,}{left}")
