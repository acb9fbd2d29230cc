"""Dead letters of records that cannot be routed. Pure."""

from __future__ import annotations

from dataclasses import replace

from confluent_kafka import Message

from hookstream.schemas.bounded import long_of
from hookstream.schemas.delivery import DeadLetter, DeadLetterReason
from hookstream.schemas.event import ClientId

from .assignment import SourcePartition


def letter_for(
    part: SourcePartition, message: Message, *, reason: DeadLetterReason, detail: str, now_ms: int
) -> DeadLetter:
    """The whole record with its position and the reason."""
    key = message.key()
    return DeadLetter(
        reason=reason,
        detail=detail,
        topic=part.topic,
        partition=part.partition,
        offset=message.offset() or 0,
        record_key=key,
        record_value=message.value(),
        client=_client_of(key),
        hook_id=None,
        delivery_id=None,
        died_at_ms=now_ms,
    )


def bare(letter: DeadLetter) -> DeadLetter:
    """The same without the record's bytes, which the broker would not take; they are still at its position."""
    left_out = len(letter.record_key or b"") + len(letter.record_value or b"")
    return replace(letter, record_key=None, record_value=None, detail=f"{letter.detail}; {left_out} bytes left out")


def _client_of(key: bytes | None) -> ClientId | None:
    """The client, as far as the key tells: `client|concept id`."""
    client = long_of((key or b"").partition(b"|")[0])
    return None if client is None else ClientId(client)
