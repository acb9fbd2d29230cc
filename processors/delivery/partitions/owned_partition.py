"""One partition that this worker owns, in the loop's thread: its engine, its inboxes, its commits.

A record that cannot be decoded is a dead letter like any other: nothing is committed past it, and nothing of its log is
read, before Kafka has acknowledged it. A record whose schema cannot be fetched now waits, and its log with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from hookstream.processors.delivery.checkpoints.partition_lookup import StreamStarting
from hookstream.processors.delivery.engine.catch_up import BacklogRecord
from hookstream.processors.delivery.engine.engine import Engine, StreamStart
from hookstream.processors.delivery.engine.hook_table import HookRow
from hookstream.processors.delivery.engine.model import LIVE, REPLAY, Pending, StreamIndex, TrackedHook
from hookstream.processors.delivery.engine.tracker import SettledSet
from hookstream.processors.delivery.group.inbox import AssignedPartition
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.wall_clock import now_ms
from hookstream.schemas.control import target_digest
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.hook import NoticeKind
from hookstream.schemas.notices import Notice
from hookstream.schemas.trace_context import find

from .dead_letters import dead_letter_of, undecodable_dead_letter
from .known_schemas import SchemaNotFetchedError
from .log_reader import Chunk
from .partition_commits import PartitionCommits
from .partition_deps import PartitionDeps

# Read ahead while the loop is busy: twice the most that one client has in flight, so that no client runs dry. A record
# that waits for longer than this does not wait for the loop: its endpoint is slow, and others must not wait for it.
_ENOUGH_AHEAD = 256
_FLOWS_WITHIN_S = 5.0

log = structlog.get_logger("hookstream.deliver")


class OwnedPartition:
    """One partition of `deliveries` and of its replays, from its start to its revocation."""

    def __init__(self, deps: PartitionDeps, assigned: AssignedPartition, *, now: float, steady_ms: int) -> None:
        """Begin where the commits say."""
        starting = assigned.starting
        self.index = starting.partition
        self.inboxes = assigned.inboxes
        self.blocked = [False, False]
        """Streams whose next record cannot be read yet."""
        self.gone = False
        self.answering: Answer | None = None
        """The answer that the engine is taking, while it is."""
        self._deps = deps
        self._undecodable: set[tuple[StreamIndex, int]] = set()
        self._now = now
        self.seen_changes = 0
        self.swept_at = now
        starts = (_stream_start(starting.streams[LIVE]), _stream_start(starting.streams[REPLAY]))
        self.engine = Engine(
            policy=deps.policy,
            table=deps.table,
            dispatcher=deps.dispatcher,
            effects=self,
            decode=deps.codec.decode_backlog,
            random=deps.random,
            starts=starts,
            now=now,
            wall_ms=steady_ms,
            settings=deps.settings,
        )
        self.commits = PartitionCommits(starting, self.engine)

    def advance(self, now: float, steady_ms: int) -> None:
        """Begin a turn; `steady_ms` is a `SteadyClock`'s."""
        self._now = now
        self.engine.advance(now, steady_ms)

    # --- reading ------------------------------------------------------------------------------------------------------

    def read(self, stream: StreamIndex, at_most: int, *, busy: bool = False) -> int:
        """Give records to the live reading, as many as the in-flight window has room for; return how many.

        `busy`: the loop has more answers than it can take, so the window is not full because an endpoint is slow, and
        what is read ahead now would only wait, and be read a second time from behind a cursor.
        """
        if busy and self._flows(stream):
            return 0
        inbox = self.inboxes[stream]
        messages = inbox.messages
        room = self.engine.room(stream)
        count = min(room, at_most, len(messages))
        read, decode, spans = self.engine.read, self._deps.codec.decode, self._deps.spans
        done = size = 0
        try:
            while done < count:
                message = messages[0]
                value = message.value()
                delivery = decode(value)  # a missing one is undecodable
                messages.popleft()
                done += 1
                length = len(value or b"")
                size += length
                if spans is not None:
                    spans.seen(stream, self.index, message.offset() or 0, find(message.headers()))
                read(stream, message.offset(), delivery, length)  # type: ignore[arg-type]  # it was read
        except UndecodableError as exc:
            self._dead_letter_undecodable(stream, str(exc))
        except SchemaNotFetchedError as exc:
            self.blocked[stream] = True
            self._deps.codec.fetch_schema(exc.schema_id, lambda: self._unblock(stream))
        inbox.taken += done
        inbox.taken_bytes += size
        self.commits.uncommitted += done
        return done

    def _flows(self, stream: StreamIndex) -> bool:
        """Whether enough is read ahead, and the oldest of it is not old."""
        if self.engine.views[stream].window_size < _ENOUGH_AHEAD:
            return False
        read_at = self.engine.views[stream].oldest_read_at
        return read_at is not None and self._now - read_at < _FLOWS_WITHIN_S

    def _dead_letter_undecodable(self, stream: StreamIndex, reason: str) -> None:
        """Write the record at the front of the inbox to the dead letters; reading goes on when it is there."""
        message = self.inboxes[stream].messages[0]
        offset = message.offset() or 0
        if self.engine.views[stream].settled_before(offset):  # it has been a dead letter since before the restart
            self._pass_undecodable(stream, offset)
            return
        self.blocked[stream] = True

        def acknowledged() -> None:
            self._pass_undecodable(stream, offset)
            self._unblock(stream)

        self._write_undecodable(
            stream, BacklogRecord(offset, message.key() or b"", message.value() or b""), reason, acknowledged
        )

    def _write_undecodable(
        self, stream: StreamIndex, record: BacklogRecord, reason: str, acknowledged: Callable[[], None]
    ) -> None:
        topic = self._deps.topics[stream]
        log.error("a record cannot be decoded", topic=topic, partition=self.index, offset=record.offset, reason=reason)
        dead_letter = undecodable_dead_letter(
            record.key,
            record.value,
            topic=topic,
            partition=self.index,
            offset=record.offset,
            detail=reason,
            died_at_ms=now_ms(),
        )

        def written() -> None:
            if not self.gone:
                self._undecodable.add((stream, record.offset))
                self._count_dead_letter(dead_letter.reason)
                acknowledged()

        self._deps.dead_letters.write(dead_letter, written)

    def _pass_undecodable(self, stream: StreamIndex, offset: int) -> None:
        inbox = self.inboxes[stream]
        message = inbox.messages.popleft()
        inbox.taken += 1
        inbox.taken_bytes += len(message)
        self.engine.skip_to(stream, offset + 1)
        self.commits.uncommitted += 1

    def _unblock(self, stream: StreamIndex) -> None:
        self.blocked[stream] = False
        self._deps.wake()

    # --- reading for cursors ------------------------------------------------------------------------------------------

    def feed(self, stream: StreamIndex, chunk: Chunk, fed: Callable[[], None]) -> None:
        """Give the engine a stretch of the log that its cursors asked for; `fed` is called when it has it.

        The registry may have lost a schema since these records were decoded for the first time, or may be a wrong one:
        they become dead letters then, and the engine gets none of the stretch before Kafka has acknowledged them.
        """
        undecodable = [
            record
            for record in chunk.records
            if self._deps.codec.undecodable(record.value) and (stream, record.offset) not in self._undecodable
        ]
        left = len(undecodable)

        def proceed() -> None:
            if self._deps.spans is not None:
                for record in chunk.records:
                    self._deps.spans.seen(stream, self.index, record.offset, record.traceparent)
            self.engine.feed(stream, chunk.start, chunk.end, chunk.records)
            self.commits.uncommitted += 1
            fed()

        def acknowledged() -> None:
            nonlocal left
            left -= 1
            if not left:
                proceed()

        for record in undecodable:
            self._write_undecodable(stream, record, "the registry does not know its schema", acknowledged)
        if not undecodable:
            proceed()

    # --- what the engine asks for -------------------------------------------------------------------------------------

    def dead_letter(self, stream: StreamIndex, pending: Pending, reason: DeadLetterReason) -> None:
        """Produce a dead letter; the engine is called back when Kafka has acknowledged it."""
        answer = self.answering
        dead_letter = dead_letter_of(
            pending.delivery,
            self._deps.codec.encode(pending.delivery),
            topic=self._deps.topics[stream],
            partition=self.index,
            offset=pending.offset,
            reason=reason,
            died_at_ms=now_ms(),
            last_status=None if answer is None else answer.status,
            last_answer=b"" if answer is None else answer.body,
        )
        if reason is DeadLetterReason.SKIPPED:
            dead_letter = replace(dead_letter, detail=self._why_skipped(pending))

        def acknowledged() -> None:
            if not self.gone:
                self._count_dead_letter(reason)
                self._deps.lines.dead_lettered(pending.delivery, reason, dead_letter.last_status)
                self.engine.dead_letter_acknowledged(stream, pending)
                self.commits.uncommitted += 1
                self._deps.wake()

        self._deps.dead_letters.write(dead_letter, acknowledged)

    def _why_skipped(self, pending: Pending) -> str:
        """Which operator, and why, in the operator's own words."""
        endpoint, settings = pending.hook.endpoint, self._deps.settings
        settings_now = (
            None
            if endpoint is None or settings is None
            else settings.get(endpoint.client_id, target_digest(endpoint.target))
        )
        return "skipped by an operator" if settings_now is None else settings_now.why_skipped(pending.delivery.id)

    def _count_dead_letter(self, reason: DeadLetterReason) -> None:
        self._deps.metrics.dead_letters[reason] += 1
        self._deps.metrics.worker.deliveries["dead-lettered"] += 1

    def notify(self, hook: TrackedHook, row: HookRow, kind: NoticeKind) -> None:
        """Send the API's process a notice about a hook."""
        self._deps.notify(hook, row, kind)

    def tell(self, notice: Notice) -> None:
        """Produce a notice about an endpoint; the engine is called back when Kafka has answered."""

        def written(acknowledged: bool) -> None:  # noqa: FBT001 - what is said
            if not self.gone:
                self.engine.notice_written(notice, acknowledged=acknowledged)
                self._deps.wake()

        self._deps.tell(notice, written)

    def stale(self, hook: TrackedHook) -> None:
        """Alert: the table is older than the router's."""
        client, event = hook.subscription_key
        log.error(
            "the subscriptions table is behind: a hook's deliveries wait for its row",
            hook=hook.id,
            client=client,
            event_name=event,
        )


def _stream_start(stream: StreamStarting) -> StreamStart:
    start = stream.start
    if start.metadata is None or start.committed is None:
        return StreamStart(start.offset, SettledSet(start.offset), stream.state)
    return StreamStart(start.offset, SettledSet(start.committed, start.metadata.settled), stream.state)
