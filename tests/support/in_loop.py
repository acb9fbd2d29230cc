"""Tests that are coroutines, each run in an event loop of its own."""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_P = ParamSpec("_P")


def in_loop(test: Callable[_P, Coroutine[None, None, None]]) -> Callable[_P, None]:
    """Run a test in a loop that ends with it."""

    @wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run
