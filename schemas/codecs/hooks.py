"""Rows of the `subscriptions` table, and what workers notice of hooks."""

from __future__ import annotations

from collections.abc import Callable

from hookstream.schemas.bounded import is_storable
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.hook import (
    HIGHEST_RATE_PER_S,
    LOWEST_RATE_PER_S,
    Hook,
    HookNotice,
    HookState,
    NoticeKind,
    ResyncMark,
)
from hookstream.schemas.ids import WHAT_A_TEXT_IS, is_id
from hookstream.schemas.wire import WriterSchemas, record_writer

from .fields import fields_encoder, fields_of, members, plain_reader

_MAX_ROW_BYTES = 65_535  # what the table of the processes can hold


def subscription_encoder(schema_id: int) -> Callable[[Hook | ResyncMark], bytes]:
    """Encode rows of the subscriptions table and the end marks of a resync. A tombstone is the value None, uncoded."""
    write = record_writer(InternalSchema.SUBSCRIPTION.text, schema_id)
    hook_fields = fields_of(Hook)

    def encode(row: Hook | ResyncMark) -> bytes:
        if isinstance(row, ResyncMark):
            return write({"mark": {"topic_id": row.topic_id, "written_at_ms": row.written_at_ms}})
        return write({"hook": hook_fields(row)})

    return encode


def subscription_decoder(writer_schemas: WriterSchemas) -> Callable[[bytes | None], Hook | ResyncMark | None]:
    """Decode what the subscriptions topic holds: a row, an end mark, or None for a tombstone."""
    read = plain_reader(InternalSchema.SUBSCRIPTION.text, writer_schemas)
    state_of = members(HookState)

    def decode(data: bytes | None) -> Hook | ResyncMark | None:
        if data is None:
            return None
        record, _ = read(data)
        hook, mark = record["hook"], record["mark"]
        if (hook is None) == (mark is None):
            msg = "needs either a hook or a mark"
            raise UndecodableError(msg)
        if mark is not None:
            return ResyncMark(**mark)
        if min(hook["id"], hook["revision"]) < 0:
            msg = "a hook's id and revision are no negative numbers"
            raise UndecodableError(msg)
        if not is_id(hook["client"]):
            msg = f"a hook's client is not {WHAT_A_TEXT_IS}"
            raise UndecodableError(msg)
        if max(len(text) for text in (hook["target"].encode(), *hook["secrets"])) > _MAX_ROW_BYTES:
            msg = f"a hook's target or secret has more than {_MAX_ROW_BYTES} bytes"
            raise UndecodableError(msg)
        hook["state"] = state_of(hook["state"])
        hook["secrets"] = tuple(hook["secrets"])
        hook["rate_limit_per_s"] = _rate_limit(hook["rate_limit_per_s"])
        return Hook(**hook)

    return decode


def _rate_limit(rate: float | None) -> float | None:
    """The nearest limit that the API takes: workers divide by it.

    A row that is refused instead would stop every router, and the limit is a matter of one hook.
    """
    if rate is None or LOWEST_RATE_PER_S <= rate <= HIGHEST_RATE_PER_S:
        return rate
    return HIGHEST_RATE_PER_S if rate > HIGHEST_RATE_PER_S else LOWEST_RATE_PER_S  # not a number: as slow as can be


def notice_encoder(schema_id: int) -> Callable[[HookNotice], bytes]:
    """Encode notices about hooks."""
    return fields_encoder(InternalSchema.NOTICE.text, schema_id, HookNotice)


def notice_decoder(writer_schemas: WriterSchemas) -> Callable[[bytes | None], HookNotice]:
    """Decode notices about hooks."""
    read = plain_reader(InternalSchema.NOTICE.text, writer_schemas)
    kind_of = members(NoticeKind)

    def decode(data: bytes | None) -> HookNotice:
        record, _ = read(data)
        record["kind"] = kind_of(record["kind"])
        notice = HookNotice(**record)
        if min(notice.hook_id, notice.revision) < 0 or not (is_id(notice.client) and is_storable(notice.event)):
            msg = "an id, a name, a client or a revision that no worker writes"
            raise UndecodableError(msg)
        return notice

    return decode
