"""Requests as the engine makes them, without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hookstream.processors.delivery.engine.model import (
    LIVE,
    Backlog,
    Client,
    Endpoint,
    Lane,
    Pending,
    Post,
    TrackedHook,
)
from hookstream.processors.delivery.engine.policy import EnginePolicy
from tests.support.values import DELIVERY, HOOK

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.hook_table import HookRow
    from hookstream.schemas.delivery import Delivery


def a_post(
    delivery: Delivery = DELIVERY,
    row: HookRow = HOOK,
    *,
    offset: int = 1,
    number: int = 1,
    probe: bool = False,
    engine: Any = None,
) -> Post:
    """A request for a delivery under a row, of the endpoint of its client that `engine` serves."""
    hook = TrackedHook(delivery.hook_id, (delivery.client, delivery.event), (Backlog(), Backlog()))
    endpoint = Endpoint(engine, delivery.client, row.target, Client(), EnginePolicy(), lambda: 0.5)
    pending = Pending(LIVE, offset, delivery, hook, len(delivery.body), 0.0)
    return Post(pending, hook, Lane(endpoint, delivery.resource), row, number, probe=probe, sent_at=0.0)
