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
_NOBODY_WORKS_AFTER_S = 10.0


def watch(look: Callable[[], dict[str, Any]], found: dict[str, Any], state: str) -> dict[str, Any]:
    """Look until it is in another state, and give it as it is then.

    Raises:
        CommandError: the API does not answer for a minute.
    """
    answered_at = began = time.monotonic()
    told = False
    with _shown(state) as show:
        while found["state"] == state:
            show(found)
            time.sleep(_LOOK_EVERY_S)
            try:
                found = look()
                answered_at = time.monotonic()
            except CommandError:
                if time.monotonic() - answered_at > _API_BACK_WITHIN_S:
                    raise
            if not told and not found["worked_on"] and time.monotonic() - began > _NOBODY_WORKS_AFTER_S:
                told = True
                note("nobody works on it yet: does `hookstream replayer` run?")
    return found


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
