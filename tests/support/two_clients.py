"""Two clients with everything that a client can have, so that a test can ask for one's with the other's token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.attempt_log import LoggedAttempt, write_attempts
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.dead_letters import DeadLetterPlace, FoundDeadLetter
from hookstream.subscriptions.deliveries import FoundDelivery
from tests.support import values
from tests.support.subscriptions_api import Api, Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

OURS, THEIRS = 434_343, 565_656


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """What one client has. `marks` are texts that no one else's answer may hold."""

    client: int
    caller: Caller
    hook_id: int
    delivery_id: str
    dead_letter_id: str
    replay_id: int
    endpoint: str

    @property
    def marks(self) -> tuple[str, ...]:
        """Its number, its target, its delivery."""
        return (str(self.client), self.endpoint, self.delivery_id)

    @property
    def path_values(self) -> Mapping[str, str]:
        """What stands for each parameter of a path."""
        return {
            "hook_id": str(self.hook_id),
            "delivery_id": self.delivery_id,
            "dead_letter": self.dead_letter_id,
            "replay_id": str(self.replay_id),
            "started_at_ms": str(values.ATTEMPT.started_at_ms),
            "endpoint": self.endpoint,
            "endpoint_id": self.endpoint,
        }


def furnish(api: Api, client: int) -> Belongings:
    """Give a client a hook, an attempt, a delivery, a dead letter, a replay and endpoint settings."""
    caller, operator = api.integrator(client), api.operator()
    target = f"https://example.com/of-{client}"
    hook_id = HookId(caller.create("property.updated", target=target).json()["hook"]["id"])
    owner, number = ClientId(str(client)), len(api.dead_letters.dead_letters)
    delivery_id = DeliveryId(f"msg_{client:032x}")
    attempt = replace(values.ATTEMPT, delivery_id=delivery_id, hook_id=hook_id, client=owner, probe=False)
    transact(api.sessions, lambda session: write_attempts(session, [LoggedAttempt(attempt, 0)], ()))
    delivery = replace(values.DELIVERY, id=delivery_id, hook_id=hook_id, client=owner, replay=None, live_end=0)
    api.delivery_log.found[delivery_id] = FoundDelivery(delivery=delivery)
    dead_letter = replace(values.DEAD_LETTER, client=owner, hook_id=hook_id, delivery_id=delivery_id)
    place = DeadLetterPlace(0, number)
    api.dead_letters.dead_letters.append(FoundDeadLetter(place, dead_letter, api.clock.now_ms, delivery))
    replay = caller("POST", "/replays", {"replay": {"from_ms": api.clock.now_ms - 3_600_000}}).json()["replay"]
    endpoint = endpoint_id(owner, target_digest(target))
    paused = operator("POST", f"/endpoints/{endpoint}/pause", {"reason": f"client {client} asked for it"})
    assert paused.status_code == 200, paused.text
    return Belongings(
        client=client,
        caller=caller,
        hook_id=hook_id,
        delivery_id=delivery_id,
        dead_letter_id=place.id,
        replay_id=replay["id"],
        endpoint=endpoint,
    )
