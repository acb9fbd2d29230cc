"""Reads a replay's window, and keeps how far the replay is in a consumer group of its own.

`assign()`-based: no member joins the group, it only holds offsets. Beside each is how many deliveries were sent of what
lies below, and which of what lies above, so that whoever takes over counts on exactly. What is above may be too much
for a commit; then the highest of it are left out, and sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, islice

import orjson
import structlog
from confluent_kafka import Consumer, TopicPartition

from hookstream.processors.errors import ProcessorError
from hookstream.processors.kafka import (
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    kafka_error,
    make_admin,
    make_consumer,
    reader_config,
    result_of,
    translated,
)
from hookstream.processors.offsets import committed_offsets
from hookstream.processors.operations.log_ranges import OffsetRange, RangeReader
from hookstream.processors.source_record import source_record
from hookstream.schemas.bounded import checked_long
from hookstream.schemas.sources.record import SourceRecord
from hookstream.subscriptions.replays import Window

from .pacing import Done, SourcePlace

_DOING = "cannot read the window"
# Of each partition. What is fetched and not read waits while a replay is at its rate.
_QUEUED_KBYTES = 1024
_FETCH_BYTES = 256 * 1024
_NOTE_VERSION = 1
# Of the 4,095 characters that a broker takes.
_MAX_NOTE_CHARS = 3_500

log = structlog.get_logger("hookstream.replayer")


class WindowReader:
    """One pass over a window. One thread."""

    def __init__(self, kafka: KafkaConfig, window: Window, *, group: str) -> None:
        """Prepare; nothing is connected yet."""
        self._kafka = kafka
        self._group = group
        self._ends = {(each.topic, each.partition): each.end for each in window.stretches}
        self._starts = {(each.topic, each.partition): each.start for each in window.stretches}
        self._ranges = RangeReader({}, doing=_DOING)
        self._committed: dict[SourcePlace, Done] = {}
        self._consumer: Consumer | None = None
        self._open = False

    def open(self, *, go_on: bool) -> dict[SourcePlace, Done]:
        """Begin at the window's start, or where the group says that a predecessor stopped, and say where that is.

        Raises:
            KafkaUnavailableError: no answer; open another reader later.
            KafkaRefusedError: no right to read.
        """
        consumer = self._connected()
        starts = {place: Done(offset, 0) for place, offset in self._starts.items()}
        if go_on and starts:
            self._committed = self._found(consumer)
            starts |= self._committed
        unread = {place: OffsetRange(done.next_offset, self._ends[place]) for place, done in starts.items()}
        self._ranges = RangeReader(unread, doing=_DOING)
        self._open = True
        return starts

    def rest(self) -> None:
        """Disconnect for a while: what is read or committed next connects again, and goes on where it was."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
            self._ranges.detach()

    def close(self, *, for_good: bool = False) -> None:
        """Disconnect; `for_good` forgets how far it was, for the replay has ended. Calling it twice is harmless."""
        self.rest()
        if self._open and for_good and self._committed and not self._kafka.embedded:
            self._forget()
        self._open = False

    @property
    def done(self) -> bool:
        """Whether everything was read."""
        return self._ranges.done

    @property
    def expired(self) -> int:
        """How many offsets were deleted before they were read."""
        return sum(offsets.size for _, offsets in self._ranges.lost)

    @property
    def scanned(self) -> int:
        """How many offsets of the window were passed."""
        return sum(self.position(place) - start for place, start in self._starts.items())

    def position(self, place: SourcePlace) -> int:
        """The next offset to read."""
        return self._ranges.reached.get(place, self._ends[place])

    def read(self, timeout_s: float = 0.0) -> tuple[list[SourceRecord], set[SourcePlace]]:
        """Read what is there, in the order of each partition; and which partitions are further than they were.

        Raises:
            KafkaRefusedError: no right to read it (any more).
        """
        if self.done:
            return [], set()
        consumer, ranges = self._opened(), self._ranges
        if not ranges.attached:
            ranges.attach(consumer)
        before, known_lost = dict(ranges.reached), len(ranges.lost)
        records = [source_record(message, *place) for place, message in ranges.read(timeout_s)]
        for (topic, partition), lost in ranges.lost[known_lost:]:
            log.error(
                "records were deleted before they were replayed", topic=topic, partition=partition, records=lost.size
            )
        return records, {place for place, position in ranges.reached.items() if position != before[place]}

    def commit(self, progress: Mapping[SourcePlace, Done]) -> None:
        """Keep how far the replay is, once everything below was acknowledged; waits for the answer.

        Raises:
            KafkaUnavailableError: it was not kept.
            KafkaRefusedError: no right to.
        """
        fresh = {place: done for place, done in progress.items() if self._committed.get(place) != done}
        if not fresh:
            return
        doing = "cannot keep how far a replay is"
        offsets = [TopicPartition(*place, done.next_offset, note_of(done)) for place, done in fresh.items()]
        with translated(doing):
            answers = self._opened().commit(offsets=offsets, asynchronous=False)
        for answer in answers or ():
            if answer.error is not None:
                raise kafka_error(answer.error, doing)
        self._committed.update(fresh)

    def _found(self, consumer: Consumer) -> dict[SourcePlace, Done]:
        asked = [TopicPartition(*place) for place in self._starts]
        answers = committed_offsets(consumer, asked, "cannot read how far a replay is")
        found: dict[SourcePlace, Done] = {}
        for tp in answers:
            done = read_note(tp.offset, tp.metadata)
            if done is not None:
                found[tp.topic, tp.partition] = done
        return found

    def _opened(self) -> Consumer:
        if not self._open:
            message = "the window is not open"
            raise RuntimeError(message)
        return self._connected()

    def _connected(self) -> Consumer:
        if self._consumer is None:
            own = {"queued.max.messages.kbytes": _QUEUED_KBYTES, "fetch.message.max.bytes": _FETCH_BYTES}
            config = reader_config(self._kafka, own=own)
            config["group.id"] = self._group  # the group is the replay's, whatever a deployment sets for its clients
            self._consumer = make_consumer(config)
        return self._consumer

    def _forget(self) -> None:
        """Delete the group. One that stays is deleted by the broker in its own time, so a failure is only logged."""
        doing = "cannot delete the group of a replay"
        try:
            admin = make_admin(self._kafka)  # has to live until the answer is there
            with translated(doing):
                futures = admin.delete_consumer_groups([self._group], request_timeout=REQUEST_TIMEOUT_S)
            for future in futures.values():
                result_of(future, doing)
        except ProcessorError as exc:
            log.info("the group of an ended replay stays for a while", group=self._group, reason=str(exc))


def note_of(done: Done) -> str:
    """What stands beside an offset: how many were sent below, and the distances between those sent above."""
    gaps: list[int] = []
    chars, last = 0, done.next_offset
    for offset in sorted(done.above):
        chars += len(str(offset - last)) + 1
        if chars > _MAX_NOTE_CHARS:
            break
        gaps.append(offset - last)
        last = offset
    return orjson.dumps({"v": _NOTE_VERSION, "sent": done.sent, "above": gaps}).decode()


def read_note(offset: int, metadata: str | None) -> Done | None:
    """Read it; None where there is no offset, or no note of ours: then the whole partition is sent again."""
    try:
        note = orjson.loads((metadata or "").rstrip("\0"))
        if offset < 0 or note["v"] != _NOTE_VERSION:
            return None
        gaps = [checked_long(gap) for gap in note["above"]]
        return Done(offset, checked_long(note["sent"]), frozenset(islice(accumulate(gaps, initial=offset), 1, None)))
    except (ValueError, TypeError, LookupError):
        return None
