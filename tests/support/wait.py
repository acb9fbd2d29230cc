"""Waiting for a condition under a deadline, so that no test sleeps."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar, overload

from hookstream.processors.errors import KafkaUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

WITHIN_S = 60.0
"""How long a test waits for what has to come: it costs nothing where it comes, and a busy machine takes many times as
long as a quiet one. A test asks for another time only where this one is too short, or what it waits for must not come.
"""
_NOT_YET = (AssertionError, KafkaUnavailableError)


def eventually(
    condition: Callable[[], T], deadline_s: float = WITHIN_S, *, every_s: float = 0.02, describe: str = ""
) -> T:
    """Return the condition's first truthy value.

    An `AssertionError` from the condition means "not yet", so that plain `assert` statements can be waited for; so does
    a Kafka that cannot answer now.

    Raises:
        AssertionError: it was still not true at the deadline; names the last value, and is chained to the last
            error where there was one.
    """
    ends = time.monotonic() + deadline_s
    while True:
        last: object = None
        cause: Exception | None = None
        try:
            value = condition()
        except _NOT_YET as error:
            cause = error
        else:
            if value:
                return value
            last = value
        if time.monotonic() >= ends:
            raise AssertionError(_complaint(condition, deadline_s, describe, last)) from cause
        time.sleep(every_s)


@overload
async def eventually_async(
    condition: Callable[[], Coroutine[Any, Any, T]],
    deadline_s: float = ...,
    *,
    every_s: float = ...,
    describe: str = ...,
) -> T: ...


@overload
async def eventually_async(
    condition: Callable[[], T], deadline_s: float = ..., *, every_s: float = ..., describe: str = ...
) -> T: ...


async def eventually_async(
    condition: Callable[[], object], deadline_s: float = WITHIN_S, *, every_s: float = 0.02, describe: str = ""
) -> object:
    """Do what `eventually` does without blocking the loop; the condition may be a coroutine function."""
    ends = time.monotonic() + deadline_s
    while True:
        last: object = None
        cause: Exception | None = None
        try:
            result = condition()
            value = await result if asyncio.iscoroutine(result) else result
        except _NOT_YET as error:
            cause = error
        else:
            if value:
                return value
            last = value
        if time.monotonic() >= ends:
            raise AssertionError(_complaint(condition, deadline_s, describe, last)) from cause
        await asyncio.sleep(every_s)


def _complaint(condition: object, deadline_s: float, describe: str, last: object) -> str:
    what = describe or getattr(condition, "__qualname__", repr(condition))
    return f"not true within {deadline_s:g} s: {what} (last value: {last!r})"
