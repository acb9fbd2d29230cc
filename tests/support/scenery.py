"""A deployment in which there is something to see: a hook that delivers, one that fails, attempts, a test event."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.portal_stack import WITHIN_S
from tests.support.receiver import Receiver
from tests.support.wait import eventually

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
        more = {"events": ["lead.updated", "transaction.won", "user.new"], "target": receiver.url("crm")}
        assert caller("POST", "/hooks", {"hooks": more}).status_code == 201
        for hook in (good, bad):
            caller.wait_effective(hook)
        for concept in range(_EVENTS):
            stack.publish(client, concept)
            stack.publish(client, concept, "property.updated")
        attempts = stack.wait_attempts(caller, good, _EVENTS)
        stack.wait_attempts(caller, bad, 1)
        ping = caller("POST", f"/hooks/{good}/ping").json()["delivery"]["id"]
        stack.wait_attempts(caller, good, _EVENTS + 1)
    endpoint = _endpoint(stack, client, "down")
    skipped = stack.wait_attempts(caller, bad, 1)[0]["delivery_id"]
    body = {"reason": "it breaks the receiver", "delivery": skipped}
    assert stack.operator("POST", f"/endpoints/{endpoint}/skip", body).status_code == 200
    replay = _replay(stack, client)
    eventually(lambda: _dead_letters(stack, client), WITHIN_S)
    dead_letter = _dead_letters(stack, client)[0]["id"]
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
    operator_pages = {
        "endpoints": "/endpoints",
        "endpoint": f"/endpoints/{endpoint}",
        "drain": f"/endpoints/{endpoint}/drain",
        "replays": "/replays",
        "new-replay": "/replays/new?hours=3",
        "replay": f"/replays/{replay}",
        "dead-letters": "/dead-letters",
        "dead-letter": f"/dead-letters/{dead_letter}",
        "resend": f"/dead-letters/resend?id={dead_letter}",
        "all-hooks": "/hooks",
        "none": "/endpoints?client=1",
    }
    return Scenery(caller, own_pages, operator_pages)


def _endpoint(stack: PortalStack, client: int, path: str) -> str:
    """The endpoint whose target ends so."""
    found = stack.operator("GET", f"/endpoints?client={client}").json()["endpoints"]
    name: str = next(each["id"] for each in found if each["target"].endswith(path))
    return name


def _replay(stack: PortalStack, client: int) -> int:
    """A replay that is counted and not started."""
    fields = {"from_ms": time.time_ns() // 1_000_000 - 3_600_000, "client": client, "only": "all"}
    answer = stack.operator("POST", "/replays", {"replay": fields})
    assert answer.status_code in (201, 202), answer.text
    number: int = answer.json()["replay"]["id"]
    path = f"/replays/{number}"
    eventually(lambda: stack.operator("GET", path).json()["replay"]["state"] == "planned", WITHIN_S)
    return number


def _dead_letters(stack: PortalStack, client: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.operator("GET", f"/dead-letters?client={client}").json()["dead_letters"]
    return found
