"""Dead letters."""

from __future__ import annotations

from collections.abc import Callable

from hookstream.schemas.bounded import YEAR_10000_MS, is_storable
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.delivery import DeadLetter, DeadLetterReason
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.ids import is_id
from hookstream.schemas.wire import WriterSchemas

from .fields import fields_encoder, members, plain_reader

# Of an answer a worker keeps so many bytes; a longer one, or a longer reason, is of no role and is cut.
_MAX_ANSWER_BYTES = 4096
_MAX_DETAIL_CHARS = 4096
_STATUSES = 1000


def dead_letter_encoder(schema_id: int) -> Callable[[DeadLetter], bytes]:
    """Encode dead letters."""
    return fields_encoder(InternalSchema.DEAD_LETTER.text, schema_id, DeadLetter)


def dead_letter_decoder(writer_schemas: WriterSchemas) -> Callable[[bytes | None], DeadLetter]:
    """Decode dead letters."""
    read = plain_reader(InternalSchema.DEAD_LETTER.text, writer_schemas)
    reason_of = members(DeadLetterReason)

    def decode(data: bytes | None) -> DeadLetter:
        record, _ = read(data)
        record["reason"] = reason_of(record["reason"])
        record["detail"] = record["detail"][:_MAX_DETAIL_CHARS]
        record["last_answer"] = record["last_answer"][:_MAX_ANSWER_BYTES]
        dead_letter = DeadLetter(**record)
        if not _is_written_by_roles(dead_letter):
            msg = "an id, a name, a number or a time that no role writes"
            raise UndecodableError(msg)
        return dead_letter

    return decode


def _is_written_by_roles(dead_letter: DeadLetter) -> bool:
    """Whether its numbers are some, and its names are those of topics and deliveries: answers and logs show them."""
    return (
        (dead_letter.client is None or is_id(dead_letter.client))
        and min(dead_letter.hook_id or 0, dead_letter.partition, dead_letter.offset) >= 0
        and 0 <= (dead_letter.last_status or 0) < _STATUSES
        and 0 <= dead_letter.died_at_ms < YEAR_10000_MS
        and is_storable(dead_letter.topic, dead_letter.delivery_id or "")
    )
