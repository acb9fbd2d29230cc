"""The headers of a delivery, as the API's documents describe them; docs/receivers.md says the same at more length."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

_DIGITS: Final = {"type": "integer", "minimum": 0}


class DeliveryHeader(NamedTuple):
    """One header, the JSON Schema of its value, and whether every delivery has it."""

    name: str
    description: str
    schema: dict[str, Any]
    example: str | int
    required: bool = True


DELIVERY_HEADERS: Final = (
    DeliveryHeader(
        "webhook-id",
        "The id of the delivery: the same for every attempt.",
        {"type": "string", "pattern": "^msg_[0-9a-f]{32}$"},
        "msg_711b1117d551609b1e5b19e83c7f5f11",
    ),
    DeliveryHeader("webhook-timestamp", "When this attempt was signed, in Unix seconds.", _DIGITS, 1795463750),
    DeliveryHeader(
        "webhook-signature",
        "One or more signatures of Standard Webhooks, separated by spaces: `v1,` and the base64 of HMAC-SHA256 over"
        " `webhook-id`, `webhook-timestamp` and the body, joined by dots.",
        {"type": "string", "pattern": "^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$"},
        "v1,rQ6C30QeWTi203etIRUfpJfHmhov/3uZPqIs+htL0Ps=",
    ),
    DeliveryHeader(
        "hookstream-hook",
        "The id of the hook, which says whose secret signs: it can be chosen before anything is parsed.",
        {"type": "integer", "minimum": 1},
        223443,
    ),
    DeliveryHeader("hookstream-attempt", "Counts from 1.", {"type": "integer", "minimum": 1}, 1),
    DeliveryHeader(
        "hookstream-sequence",
        "The position of the event in the log, `topic:partition:offset`; for one resource the offset only rises.",
        {"type": "string", "pattern": "^[^:]+:[0-9]+:[0-9]+$"},
        "events.lead:2:0",
    ),
    DeliveryHeader(
        "hookstream-occurred-at", "When the event happened, in Unix milliseconds.", {"type": "integer"}, 1795463750154
    ),
    DeliveryHeader(
        "hookstream-replay",
        "Only on deliveries that are sent again, and on pings: the name of the job.",
        {"type": "string"},
        "ping-01jdr7",
        required=False,
    ),
)
