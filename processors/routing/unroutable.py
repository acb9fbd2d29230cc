"""Dead letters of records that cannot be routed. Pure."""

from __future__ import annotations

from hookstream.schemas.delivery import DeadLetter, DeadLetterReason
from hookstream.schemas.event import ClientId, client_of_key
from hookstream.schemas.sources.record import SourceRecord


def dead_letter_of(
    record: SourceRecord, *, client: ClientId | None, reason: DeadLetterReason, detail: str, now_ms: int
) -> DeadLetter:
    """The whole record with its position and the reason; `client` is None where nothing says whose it is."""
    return DeadLetter(
        reason=reason,
        detail=detail,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        record_key=record.key,
        record_value=record.value,
        client=client,
        hook_id=None,
        delivery_id=None,
        died_at_ms=now_ms,
    )


def client_of_event_key(key: bytes | None) -> ClientId | None:
    """The client that the key of an envelope names: `client|concept id`. Both may hold a bar; then it does not."""
    client, _, rest = (key or b"").partition(b"|")
    return None if b"|" in rest else client_of_key(client)
