"""When a replay's deliveries may go, and how far a run is: sans-I/O, on a clock that it is given.

Deliveries of one endpoint leave in the order in which they were read, so a resource's do. An endpoint that has had its
share waits alone: those of others overtake it. So a partition is done up to its lowest delivery that was not sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from hookstream.schemas.delivery import Delivery

SourcePlace: TypeAlias = tuple[str, int]
"""Topic and partition."""
EndpointKey: TypeAlias = tuple[str, str]
"""Client and target."""

# Deliveries that wait for their turn. More are not read ahead: a kill -9 may repeat those that overtook one of them.
MAX_WAITING = 5_000
# What a pause may save up: a turn lasts some 50 ms.
_BURST_S = 0.2
# Endpoints whose last turn is remembered.
_MAX_REMEMBERED = 10_000


class Due(NamedTuple):
    """A delivery, and the record that it came from."""

    place: SourcePlace
    offset: int
    delivery: Delivery


class Done(NamedTuple):
    """A partition's progress: everything below `next_offset` was sent or not wanted; `sent` of it was sent.

    `above` are offsets of what was sent already and stands above.
    """

    next_offset: int
    sent: int
    above: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Partition:
    scanned: int
    sent_below: int
    waiting: deque[int] = field(default_factory=deque)
    sent: set[int] = field(default_factory=set)

    def done(self) -> Done:
        while self.waiting and self.waiting[0] in self.sent:
            self.sent.remove(self.waiting.popleft())
            self.sent_below += 1
        next_offset = self.waiting[0] if self.waiting else self.scanned
        # What a predecessor sent may be wanted no more, or gone, when it is met: it is passed, too.
        passed = {offset for offset in self.sent if offset < next_offset}
        self.sent -= passed
        self.sent_below += len(passed)
        return Done(next_offset, self.sent_below, frozenset(self.sent))


@dataclass(slots=True)
class _Meter:
    """So many a second: each takes its time, and no more than a moment's worth is saved up."""

    rate_per_s: float
    next_at: float

    def wait_s(self, now: float) -> float:
        return self.next_at - now

    def take(self, now: float) -> None:
        earliest = now - max(0.0, _BURST_S - 1.0 / self.rate_per_s)
        self.next_at = max(self.next_at, earliest) + 1.0 / self.rate_per_s


class Pacer:
    """What was read and has not been sent, under a rate in total and one per endpoint."""

    def __init__(
        self, *, rate_per_s: float, endpoint_rate_per_s: float, start: Mapping[SourcePlace, Done], now: float
    ) -> None:
        """Go on where `start` says."""
        self._total = _Meter(rate_per_s, now - _BURST_S)
        self._endpoint_rate_per_s = endpoint_rate_per_s
        self._partitions = {
            place: _Partition(done.next_offset, done.sent, sent=set(done.above)) for place, done in start.items()
        }
        self._queues: dict[EndpointKey, deque[Due]] = {}
        self._meters: dict[EndpointKey, _Meter] = {}
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Deliveries that wait for their turn."""
        return self._waiting

    @property
    def full(self) -> bool:
        """Whether nothing more should be read."""
        return self._waiting >= MAX_WAITING

    @property
    def sent(self) -> int:
        """Deliveries sent, those before `start` included."""
        return sum(partition.sent_below + len(partition.sent) for partition in self._partitions.values())

    def add(self, place: SourcePlace, offset: int, delivery: Delivery, endpoint: EndpointKey) -> None:
        """Let a delivery wait for its turn, in the order of its partition; not one that a predecessor has sent."""
        partition = self._partitions[place]
        partition.waiting.append(offset)
        if offset in partition.sent:
            return
        self._queues.setdefault(endpoint, deque()).append(Due(place, offset, delivery))
        self._waiting += 1

    def read(self, place: SourcePlace, next_offset: int) -> None:
        """Everything below was read, and added if it was wanted."""
        self._partitions[place].scanned = next_offset

    def take(self, now: float, limit: int) -> list[Due]:
        """Take what may go now, at most `limit`, turning over the endpoints."""
        taken: list[Due] = []
        ready = [key for key in self._queues if self._meter(key, now).wait_s(now) <= 0]
        while ready and len(taken) < limit and self._total.wait_s(now) <= 0:
            still = []
            for key in ready:
                if len(taken) >= limit or self._total.wait_s(now) > 0:
                    break
                meter, queue = self._meters[key], self._queues[key]
                taken.append(queue.popleft())
                self._total.take(now)
                meter.take(now)
                if not queue:
                    del self._queues[key]
                elif meter.wait_s(now) <= 0:
                    still.append(key)
                # Whoever had a turn stands behind the others the next time.
                if queue:
                    self._queues[key] = self._queues.pop(key)
            ready = still
        self._waiting -= len(taken)
        return taken

    def acknowledged(self, sent: Iterable[Due]) -> None:
        """Kafka has these."""
        for due in sent:
            self._partitions[due.place].sent.add(due.offset)

    def progress(self) -> dict[SourcePlace, Done]:
        """How far each partition is, for a successor to go on from."""
        return {place: partition.done() for place, partition in self._partitions.items()}

    def wait_s(self, now: float) -> float:
        """How long until something may go; nothing at all to send is for ever."""
        if not self._queues:
            return float("inf")
        soonest = min(self._meter(key, now).wait_s(now) for key in self._queues)
        return max(0.0, soonest, self._total.wait_s(now))

    def _meter(self, key: EndpointKey, now: float) -> _Meter:
        meter = self._meters.get(key)
        if meter is None:
            if len(self._meters) >= _MAX_REMEMBERED:
                self._meters = {
                    key: meter for key, meter in self._meters.items() if meter.next_at > now or key in self._queues
                }
            meter = self._meters[key] = _Meter(self._endpoint_rate_per_s, now - _BURST_S)
        return meter
