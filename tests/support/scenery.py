"""A deployment in which there is something to see: a hook that delivers, one that fails, attempts, a test event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from tests.support.deployment import Caller
    from tests.support.portal_stack import PortalStack

_EVENTS = 5


@dataclass
class Scenery:
    """Who sees it, and the pages that show something, by the name of their picture."""

    integrator: Caller
    own_pages: dict[str, str]
    operator_pages: dict[str, str]


def scenery_of(stack: PortalStack) -> Scenery:
    """Let things happen, and wait until the attempt log has them."""
    client = next(stack.clients)
    caller = stack.integrator(client)
    with Receiver(answer=lambda path: 503 if path.endswith("down") else 204) as receiver:
        good = caller.register("lead.new", receiver.url("leads"))["id"]
        bad = caller.register("property.updated", receiver.url("down"))["id"]
        for hook in (good, bad):
            caller.wait_effective(hook)
        for concept in range(_EVENTS):
            stack.publish(client, concept)
            stack.publish(client, concept, "property.updated")
        attempts = stack.wait_attempts(caller, good, _EVENTS)
        stack.wait_attempts(caller, bad, 1)
        ping = caller("POST", f"/hooks/{good}/ping").json()["delivery"]["id"]
        stack.wait_attempts(caller, good, _EVENTS + 1)
    delivery, started = attempts[0]["delivery_id"], attempts[0]["started_at_ms"]
    own_pages = {
        "hooks": "/hooks",
        "add-hooks": "/hooks/new?event=user.new",
        "hook": f"/hooks/{good}?test={ping}",
        "attempts": f"/hooks/{bad}/attempts?outcome=failed",
        "delivery": f"/deliveries/{delivery}",
        "attempt": f"/deliveries/{delivery}/attempts/{started}",
        "events": "/events",
        "event": "/events/lead.new",
        "verify": f"/guide/verify?hook={good}",
        "answers": "/guide/answers",
        "find-delivery": "/deliveries",
        "rotate": f"/hooks/{good}/secret",
        "delete": f"/hooks/{good}/delete",
    }
    return Scenery(caller, own_pages, {"endpoints": "/endpoints", "all-hooks": "/hooks"})
