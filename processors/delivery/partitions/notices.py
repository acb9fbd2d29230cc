"""What a worker reports: of hooks to the API's process, of endpoints to clients. Belongs to the event loop's thread."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from hookstream.processors.delivery.engine.hook_table import HookRow
from hookstream.processors.delivery.engine.model import TrackedHook
from hookstream.processors.wall_clock import now_ms
from hookstream.producers.cloud_events import headers
from hookstream.schemas.event import ClientId, Event, EventName
from hookstream.schemas.hook import HookId, HookNotice, NoticeKind, Revision
from hookstream.schemas.notices import Notice, NoticeName, event_of_notice

from .record_writer import RecordWriter

_SOURCE = b"/hookstream/deliver"

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
            observed_at_ms=now_ms(),
        )
        log.warning("notice about a hook", kind=str(kind), hook=hook.id, client=client, event_name=event)
        self._writer.write(self._topic, notice.key, self._encode(notice), _ignore)


class EndpointNoticeWriter:
    """Writes notices about endpoints to `events.hookstream`, from where they are delivered like any event."""

    def __init__(
        self, writer: RecordWriter, topic: str, *, encode: Callable[[Event], bytes], told: Callable[[NoticeName], None]
    ) -> None:
        """Write with a producer that is shared; `told` counts what Kafka has acknowledged."""
        self._writer = writer
        self._topic = topic
        self._encode = encode
        self._told = told

    def write(self, notice: Notice, written: Callable[[bool], None]) -> None:
        """Write one; `written` is called in the loop, after this call has returned."""
        event = event_of_notice(notice)

        def report(offset: int | None) -> None:
            if offset is not None:
                self._told(notice.name)
            written(offset is not None)

        log.warning("a notice", notice=notice.name.value, endpoint=notice.endpoint, event_id=str(event.id))
        self._writer.write(self._topic, event.key, self._encode(event), report, headers=headers(event, _SOURCE))


def _ignore(_offset: int | None) -> None:
    """A refused notice was logged, and will be repeated."""
