"""One partition that this worker owns, in the loop's thread: its engine, its inboxes, its commits.

A record that nobody can decode is a dead letter like any other: nothing is committed past it, and nothing of its log is
read, before Kafka has acknowledged it. A record whose schema cannot be had now waits, and its log with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from hookstream.processors.delivery.checkpoints.commit_state import CursorName, StreamCommits
from hookstream.processors.delivery.engine.catch_up import OwedRecord
from hookstream.processors.delivery.engine.engine import Engine, StreamStart
from hookstream.processors.delivery.engine.hook_table import HookRow
from hookstream.processors.delivery.engine.model import LIVE, REPLAY, Pending, StreamIndex, TrackedHook
from hookstream.processors.delivery.engine.tracker import SettledSet
from hookstream.schemas.control import target_digest
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.trace_context import find

from .dead_letters import DeadLetters, letter_of, undecodable_letter
from .known_schemas import SchemaNotFetchedError

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.lines import AttemptLines
    from hookstream.processors.delivery.attempts.spans import AttemptSpans
    from hookstream.processors.delivery.checkpoints.partition_lookup import StreamStarting
    from hookstream.processors.delivery.engine.dispatcher import Dispatcher
    from hookstream.processors.delivery.engine.hook_table import HookTable
    from hookstream.processors.delivery.engine.operator_settings import SettingsTable
    from hookstream.processors.delivery.engine.partition_state import Snapshot
    from hookstream.processors.delivery.engine.policy import EnginePolicy
    from hookstream.processors.delivery.http.exchange import Answer
    from hookstream.processors.metrics import Metrics
    from hookstream.schemas.delivery import Delivery
    from hookstream.schemas.hook import NoticeKind

    from .inbox import AssignedPartition
    from .log_reader import Chunk

# Read ahead while the loop is busy: twice the most that one client has in flight, so that nobody runs dry. A record
# that waits for longer than this does not wait for the loop: its endpoint is slow, and others must not wait for it.
_ENOUGH_AHEAD = 256
_FLOWS_WITHIN_S = 5.0

log = structlog.get_logger("hookstream.deliver")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionParts:
    """What the partitions of a worker share. Functions are called in the loop's thread."""

    policy: EnginePolicy
    topics: tuple[str, str]
    table: HookTable
    dispatcher: Dispatcher
    decode: Callable[[bytes | None], Delivery]
    decode_owed: Callable[[bytes], Delivery]
    undecodable: Callable[[bytes], bool]
    settings: SettingsTable | None
    encode: Callable[[Delivery], bytes]
    dead_letters: DeadLetters
    notify: Callable[[TrackedHook, HookRow, NoticeKind], None]
    fetch_schema: Callable[[int, Callable[[], None]], None]
    wake: Callable[[], None]
    random: Callable[[], float]
    lines: AttemptLines
    spans: AttemptSpans | None
    metrics: Metrics


class OwnedPartition:
    """One partition of `deliveries` and of its replays, from its start to its revocation."""

    def __init__(self, parts: PartitionParts, assigned: AssignedPartition, *, now: float, steady_ms: int) -> None:
        """Begin where the commits say."""
        starting = assigned.starting
        self.index = starting.partition
        self.inboxes = assigned.inboxes
        self.blocked = [False, False]
        """Streams whose next record cannot be read yet."""
        self.progress = 1
        """Records read and answers taken since the last commit began."""
        self.gone = False
        self.answering: Answer | None = None
        """The answer that the engine is being told, while it is."""
        self._parts = parts
        self._undecodable: set[tuple[StreamIndex, int]] = set()
        self._now = now
        live, replay = (_commits_from(stream) for stream in starting.streams)
        self.commits: tuple[StreamCommits, StreamCommits] = (live, replay)
        self.begun_at = 0.0
        """When the last commit began."""
        self.seen_changes = 0
        self.committed = asyncio.Event()
        """Set whenever Kafka has acknowledged a commit of this partition."""
        self.swept_at = now
        starts = (_stream_start(starting.streams[LIVE]), _stream_start(starting.streams[REPLAY]))
        self.engine = Engine(
            policy=parts.policy,
            table=parts.table,
            dispatcher=parts.dispatcher,
            effects=self,
            decode=parts.decode_owed,
            random=parts.random,
            starts=starts,
            now=now,
            wall_ms=steady_ms,
            settings=parts.settings,
        )
        self.views = (EngineView(self.engine, LIVE), EngineView(self.engine, REPLAY))

    def advance(self, now: float, steady_ms: int) -> None:
        """Begin a turn; `steady_ms` is a `SteadyClock`'s."""
        self._now = now
        self.engine.advance(now, steady_ms)

    # --- reading ------------------------------------------------------------------------------------------------------

    def read(self, stream: StreamIndex, at_most: int, *, busy: bool = False) -> int:
        """Give records to the main lane, as many as it has room for; return how many.

        `busy`: the loop has more answers than it can take, so the window is not full because an endpoint is slow, and
        what is read ahead now would only wait, and be read a second time from behind a cursor.
        """
        if busy and self._flows(stream):
            return 0
        inbox = self.inboxes[stream]
        messages = inbox.messages
        room = self.engine.room(stream)
        count = min(room, at_most, len(messages))
        read, decode, spans = self.engine.read, self._parts.decode, self._parts.spans
        done = size = 0
        try:
            while done < count:
                message = messages[0]
                value: bytes = message.value()  # type: ignore[assignment]  # a missing one is undecodable
                delivery = decode(value)
                messages.popleft()
                done += 1
                length = len(value)
                size += length
                if spans is not None:
                    spans.met(stream, self.index, message.offset() or 0, find(message.headers()))
                read(stream, message.offset(), delivery, length)  # type: ignore[arg-type]  # it was read
        except UndecodableError as exc:
            self._bury_undecodable(stream, str(exc))
        except SchemaNotFetchedError as exc:
            self.blocked[stream] = True
            self._parts.fetch_schema(exc.schema_id, lambda: self._unblock(stream))
        inbox.taken += done
        inbox.taken_bytes += size
        self.progress += done
        return done

    def _flows(self, stream: StreamIndex) -> bool:
        """Whether enough is read ahead, and the oldest of it is not old."""
        if self.engine.window_size(stream) < _ENOUGH_AHEAD:
            return False
        read_at = self.engine.oldest_read_at(stream)
        return read_at is not None and self._now - read_at < _FLOWS_WITHIN_S

    def _bury_undecodable(self, stream: StreamIndex, reason: str) -> None:
        """Write the record at the front of the inbox to the dead letters; reading goes on when it is there."""
        message = self.inboxes[stream].messages[0]
        offset = message.offset() or 0
        if self.engine.settled_before(stream, offset):  # it is one since before the restart
            self._pass_undecodable(stream, offset)
            return
        self.blocked[stream] = True

        def acknowledged() -> None:
            self._pass_undecodable(stream, offset)
            self._unblock(stream)

        self._write_undecodable(
            stream, OwedRecord(offset, message.key() or b"", message.value() or b""), reason, acknowledged
        )

    def _write_undecodable(
        self, stream: StreamIndex, record: OwedRecord, reason: str, acknowledged: Callable[[], None]
    ) -> None:
        topic = self._parts.topics[stream]
        log.error("a record cannot be decoded", topic=topic, partition=self.index, offset=record.offset, reason=reason)
        letter = undecodable_letter(
            record.key,
            record.value,
            topic=topic,
            partition=self.index,
            offset=record.offset,
            detail=reason,
            died_at_ms=time.time_ns() // 1_000_000,
        )

        def written() -> None:
            if not self.gone:
                self._undecodable.add((stream, record.offset))
                self._count_dead(letter.reason)
                acknowledged()

        self._parts.dead_letters.write(letter, written)

    def _pass_undecodable(self, stream: StreamIndex, offset: int) -> None:
        inbox = self.inboxes[stream]
        message = inbox.messages.popleft()
        inbox.taken += 1
        inbox.taken_bytes += len(message)
        self.engine.skip_to(stream, offset + 1)
        self.progress += 1

    def _unblock(self, stream: StreamIndex) -> None:
        self.blocked[stream] = False
        self._parts.wake()

    # --- what cursors owe ---------------------------------------------------------------------------------------------

    def feed(self, stream: StreamIndex, chunk: Chunk, fed: Callable[[], None]) -> None:
        """Give the engine a stretch of the log that its cursors wanted; `fed` is called when it has it.

        The registry may have lost a schema since the main lane decoded these records, or may be a wrong one: they are
        made dead letters then, and the engine hears of none of the stretch before Kafka has acknowledged them.
        """
        bad = [
            record
            for record in chunk.records
            if self._parts.undecodable(record.value) and (stream, record.offset) not in self._undecodable
        ]
        left = len(bad)

        def proceed() -> None:
            if self._parts.spans is not None:
                for record in chunk.records:
                    self._parts.spans.met(stream, self.index, record.offset, record.traceparent)
            self.engine.feed(stream, chunk.start, chunk.end, chunk.records)
            self.progress += 1
            fed()

        def acknowledged() -> None:
            nonlocal left
            left -= 1
            if not left:
                proceed()

        for record in bad:
            self._write_undecodable(stream, record, "the registry does not know its schema", acknowledged)
        if not bad:
            proceed()

    # --- what the engine asks for -------------------------------------------------------------------------------------

    def bury(self, stream: StreamIndex, pending: Pending, reason: DeadLetterReason) -> None:
        """Produce a dead letter; the engine hears when Kafka has acknowledged it."""
        answer = self.answering
        letter = letter_of(
            pending.delivery,
            self._parts.encode(pending.delivery),
            topic=self._parts.topics[stream],
            partition=self.index,
            offset=pending.offset,
            reason=reason,
            died_at_ms=time.time_ns() // 1_000_000,
            last_status=None if answer is None else answer.status,
            last_answer=b"" if answer is None else answer.body,
        )
        if reason is DeadLetterReason.SKIPPED:
            letter = replace(letter, detail=self._why_skipped(pending))

        def acknowledged() -> None:
            if not self.gone:
                self._count_dead(reason)
                self._parts.lines.buried(pending.delivery, reason, letter.last_status)
                self.engine.buried(stream, pending)
                self.progress += 1
                self._parts.wake()

        self._parts.dead_letters.write(letter, acknowledged)

    def _why_skipped(self, pending: Pending) -> str:
        """Who said so, and why, in words of the operator's own."""
        endpoint, settings = pending.hook.endpoint, self._parts.settings
        wanted = (
            None
            if endpoint is None or settings is None
            else settings.get(endpoint.client_id, target_digest(endpoint.target))
        )
        return "skipped by an operator" if wanted is None else wanted.why_skipped(pending.delivery.id)

    def _count_dead(self, reason: DeadLetterReason) -> None:
        self._parts.metrics.dead_letters[reason] += 1
        self._parts.metrics.deliveries["dead-lettered"] += 1

    def notify(self, hook: TrackedHook, row: HookRow, kind: NoticeKind) -> None:
        """Tell the API's process about a hook."""
        self._parts.notify(hook, row, kind)

    def stale(self, hook: TrackedHook) -> None:
        """Alert: the table is older than the router's."""
        client, event = hook.slot
        log.error(
            "the subscriptions table is behind: a hook's deliveries wait for its row",
            hook=hook.id,
            client=client,
            event_name=event,
        )


class EngineView:
    """One stream of an engine, as commits see it."""

    __slots__ = ("_engine", "_stream")

    def __init__(self, engine: Engine, stream: StreamIndex) -> None:
        """Look at a stream."""
        self._engine = engine
        self._stream = stream

    def progress(self) -> tuple[int, bytes]:
        """The lowest unsettled offset, and the settled set above it."""
        return self._engine.progress(self._stream)

    def cursors(self) -> Collection[CursorName]:
        """Every open cursor."""
        return self._engine.cursors(self._stream)

    def snapshot(self) -> Snapshot:
        """Everything that a commit with a new state says."""
        return self._engine.snapshot(self._stream)


def measure(owned: Iterable[OwnedPartition], metrics: Metrics) -> None:
    """Set what is measured of partitions; call it about once a second."""
    cursors = 0
    oldest: list[int] = []
    for part in owned:
        engine = part.engine
        used = 0
        for stream in (LIVE, REPLAY):
            used = max(used, engine.window_span(stream))
            cursors += len(engine.cursors(stream))
            since = engine.oldest_pending_ms(stream)
            if since is not None:
                oldest.append(since)
        metrics.window_used_ratio[part.index] = used / engine.policy.window_records
        measure_settled(part, metrics)
    metrics.cursors = cursors
    metrics.owed_oldest_seconds = max(0.0, time.time() - min(oldest) / 1000) if oldest else 0.0


def measure_settled(part: OwnedPartition, metrics: Metrics) -> None:
    """Count what a partition has settled unsent since the last call; also the last time before it is given away."""
    for standing, count in part.engine.take_settled_unsent().items():
        metrics.deliveries[standing.value] += count


def _stream_start(stream: StreamStarting) -> StreamStart:
    start = stream.start
    if start.metadata is None or start.committed is None:
        return StreamStart(start.offset, SettledSet(start.offset), stream.state)
    return StreamStart(start.offset, SettledSet(start.committed, start.metadata.settled), stream.state)


def _commits_from(stream: StreamStarting) -> StreamCommits:
    start = stream.start
    if start.metadata is None or start.committed is None:
        return StreamCommits(offset=start.offset)
    metadata = start.metadata
    return StreamCommits(offset=start.committed, settled=metadata.settled, pointer=metadata.pointer, state=stream.state)
