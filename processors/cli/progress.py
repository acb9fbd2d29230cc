"""A bar for work that takes minutes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

Progress: TypeAlias = Callable[[int], None]
"""Called with how many are done, so far."""


def counting(what: str, total: int, *, quiet: bool = False) -> AbstractContextManager[Progress]:
    """A bar with an estimate on a terminal, nothing elsewhere: the totals at the end say it all."""
    if quiet or not sys.stderr.isatty():
        return nullcontext(lambda _done: None)
    return _bar(what, total)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
