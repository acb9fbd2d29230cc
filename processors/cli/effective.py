"""Waiting until hooks that were just registered are used by every router."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .console import note

if TYPE_CHECKING:
    from .api_client import ApiClient

WITHIN_S = 10
_ASK_EVERY_S = 0.1


def wait_effective(
    api: ApiClient, hook_ids: Sequence[int], wait: Callable[[float], bool] | None = None, *, hint: str = ""
) -> None:
    """Wait until every router works by the hooks: an event that is read before has no hook, and ends there.

    Says so when it has to wait, with `hint`. Not for ever: without a router it goes on, and says that too. `wait`
    sleeps so many seconds; true ends the waiting.

    Raises:
        CommandError: the API does not answer.
    """
    looks = round(WITHIN_S / _ASK_EVERY_S)
    sleep = wait or _sleep
    said = False
    for hook_id in hook_ids:
        while not api.get(f"/hooks/{hook_id}")["hook"]["effective"]:
            if looks == 0:
                note(f"no router works by hook {hook_id} yet: until one does, what is published is not delivered to it")
                return
            if not said:
                note(f"waiting until every router works by hook {hook_id}, {WITHIN_S} s at most{hint}")
                said = True
            looks -= 1
            if sleep(_ASK_EVERY_S):
                return


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
