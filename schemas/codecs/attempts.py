"""Attempts."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

from hookstream.schemas.attempt import Attempt, AttemptResult
from hookstream.schemas.bounded import MAX_INT, YEAR_10000_MS, is_storable
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.ids import is_id
from hookstream.schemas.wire import WriterSchemas

from .fields import fields_encoder, members, plain_reader


def attempt_encoder(schema_id: int) -> Callable[[Attempt], bytes]:
    """Encode attempts."""
    return fields_encoder(InternalSchema.ATTEMPT.text, schema_id, Attempt)


def attempt_decoder(writer_schemas: WriterSchemas) -> Callable[[bytes | None], Attempt]:
    """Decode attempts."""
    read = plain_reader(InternalSchema.ATTEMPT.text, writer_schemas)
    result_of = members(AttemptResult)

    def decode(data: bytes | None) -> Attempt:
        record, _ = read(data)
        record["result"] = result_of(record["result"])
        attempt = Attempt(**record)
        if not _is_written_by_workers(attempt):
            msg = "an id, a name, a number or a time that no worker writes"
            raise UndecodableError(msg)
        return attempt

    return decode


def _is_written_by_workers(attempt: Attempt) -> bool:
    """Whether the database takes it: what it refuses it refuses again, and everything behind it would wait."""
    longs = (attempt.hook_id, attempt.hook_revision, attempt.offset)
    ints = (attempt.number, attempt.partition, attempt.status or 0)
    return (
        min(*longs, *ints) >= 0
        and max(ints) <= MAX_INT
        and 0 <= attempt.started_at_ms < YEAR_10000_MS
        and isfinite(attempt.duration_ms)
        and is_id(attempt.client)
        and is_id(attempt.concept_id)
        and is_storable(attempt.delivery_id, attempt.event, attempt.namespace, attempt.replay or "")
    )
