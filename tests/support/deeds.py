"""Every request of the API that changes something, in an order in which all of them succeed for one client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hookstream.subscriptions.models import Role
from tests.support.two_clients import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

REASON = {"reason": "we were asked to"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A request that changes something, and what the audit calls it. `{ID}` of a client's things stand in the path."""

    route: tuple[str, str]
    action: str
    role: Role = Role.INTEGRATOR
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


def deeds(delivery: str) -> list[Deed]:
    """Every request that changes something, in an order in which all of them succeed."""
    operator = Role.OPERATOR
    hook = {"event": "lead.new", "target": "https://example.com/a"}
    return [
        Deed(route=("POST", "/hooks"), action="hook.create", body={"hook": hook}),
        Deed(route=("PATCH", "/hooks/{hook_id}"), action="hook.change", body={"hook": {"rate_limit_per_second": 5}}),
        Deed(route=("POST", "/hooks/{hook_id}/ping"), action="delivery.ping"),
        Deed(route=("POST", "/hooks/{hook_id}/secret/rotate"), action="hook.secret.rotate"),
        Deed(route=("POST", "/endpoints/{endpoint}/secret/rotate"), action="hook.secret.rotate"),
        Deed(route=("POST", "/deliveries/{delivery_id}/resend"), action="delivery.resend"),
        Deed(route=("POST", "/dead-letters/resend"), action="dead-letters.resend", body={"ids": ["0-0"]}),
        Deed(route=("POST", "/endpoints/{endpoint}/pause"), action="endpoint.pause", role=operator, body=REASON),
        Deed(route=("POST", "/endpoints/{endpoint}/resume"), action="endpoint.resume", role=operator, body=REASON),
        Deed(
            route=("POST", "/endpoints/{endpoint}/retry-now"), action="endpoint.retry-now", role=operator, body=REASON
        ),
        Deed(route=("POST", "/endpoints/{endpoint}/drain"), action="endpoint.drain", role=operator, body=REASON),
        Deed(
            route=("POST", "/endpoints/{endpoint}/skip"),
            action="endpoint.skip",
            role=operator,
            body={**REASON, "delivery": delivery},
        ),
        Deed(route=("DELETE", "/replays/{replay_id}"), action="replay.cancel"),
        Deed(route=("POST", "/replays"), action="replay.create", body={"replay": {"from_ms": 1}}),
        Deed(route=("POST", "/portal/links"), action="portal.link", role=operator, body={"link": {"client": OURS}}),
        Deed(route=("POST", "/hooks/{hook_id}/disable"), action="hook.disable"),
        Deed(route=("POST", "/hooks/{hook_id}/enable"), action="hook.enable", body={"backlog": "resume"}),
        Deed(route=("DELETE", "/hooks/{hook_id}"), action="hook.delete"),
    ]
