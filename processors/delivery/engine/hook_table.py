"""What the engine reads of the subscriptions table, and what the table says about a delivery."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from hookstream.schemas.hook import HookState


class HookRow(Protocol):
    """What the engine reads of a row of the subscriptions table; `hookstream.schemas.hook.Hook` is one."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def client(self) -> str: ...  # noqa: D102
    @property
    def event(self) -> str: ...  # noqa: D102
    @property
    def target(self) -> str: ...  # noqa: D102
    @property
    def state(self) -> HookState: ...  # noqa: D102
    @property
    def revision(self) -> int: ...  # noqa: D102
    @property
    def not_before_ms(self) -> int: ...  # noqa: D102
    @property
    def rate_limit_per_s(self) -> float | None: ...  # noqa: D102


class HookTable(Protocol):
    """The worker's copy of the subscriptions table."""

    def get(self, client: str, event: str) -> HookRow | None:
        """Return the newest row of a subscription key; None says nothing (absence never means deleted)."""
        ...


class Standing(Enum):
    """What the table says about a delivery now."""

    SEND = "send"
    WAIT = "wait"  # the table is older than the row that routed it
    HELD = "held"  # pending, but its hook is disabled
    CANCELLED = "cancelled"  # its hook is deleted or replaced
    BEFORE_START = "skipped"  # it arrived before the hook's not_before
