"""Notices about hooks: what a worker reports to the API's process. Belongs to the event loop's thread."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from hookstream.processors.delivery.engine.hook_table import HookRow
from hookstream.processors.delivery.engine.model import TrackedHook
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, HookNotice, NoticeKind, Revision

from .record_writer import RecordWriter

log = structlog.get_logger("hookstream.deliver")


class Notices:
    """Writes notices. The engine repeats one until the table shows its effect, so nothing is kept here."""

    def __init__(self, writer: RecordWriter, topic: str, *, encode: Callable[[HookNotice], bytes]) -> None:
        """Write with a producer that is shared."""
        self._writer = writer
        self._topic = topic
        self._encode = encode

    def write(self, hook: TrackedHook, row: HookRow, kind: NoticeKind) -> None:
        """Report what was observed of a hook under a row."""
        client, event = hook.subscription_key
        notice = HookNotice(
            hook_id=HookId(hook.id),
            client=ClientId(client),
            event=EventName(event),
            revision=Revision(row.revision),
            kind=kind,
            observed_at_ms=time.time_ns() // 1_000_000,
        )
        log.warning("notice about a hook", kind=str(kind), hook=hook.id, client=client, event_name=event)
        self._writer.write(self._topic, notice.key, self._encode(notice), _ignore)


def _ignore(_offset: int | None) -> None:
    """A refused notice was logged, and will be repeated."""
