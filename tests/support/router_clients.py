"""Kafka's clients as a router has them, on the log and the group of a simulated world."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.support.router_world import RouterWorld

Place = tuple[str, int]

_FENCED = KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "fenced")
_FAILED = KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE, "no coordinator")


@dataclass
class Queued:
    """A record that a producer was given."""

    topic: str
    value: bytes
    report: Callable[[KafkaError | None, Message], None]
    is_stored: bool = False


class LogProducer:
    """Keeps the order, stores and reports when the world says; the first failure ends it (gapless)."""

    def __init__(self, world: RouterWorld) -> None:
        self._world = world
        self._queue: deque[Queued] = deque()
        self._due: deque[tuple[Queued, KafkaError | None]] = deque()
        self._failed = False
        self._pace = world.random.choice((1.0, 0.05))  # of a broker that makes a router serve its group meanwhile

    def list_topics(self, *_: object, **__: object) -> None:
        """Answer."""

    def produce(
        self,
        topic: str,
        value: bytes,
        _key: bytes | None,
        *,
        on_delivery: Callable[[KafkaError | None, Message], None],
        headers: object,
    ) -> None:
        """Take a record, or have no room for it."""
        del headers
        if self._failed:
            raise KafkaException(KafkaError(KafkaError._FATAL, "failed before"))
        if len(self._queue) > 5 and not self._world.fair and self._world.random.random() < 0.3:
            raise BufferError
        self._queue.append(Queued(topic, value, on_delivery))

    def progress(self) -> None:
        """The broker stores some of what it was sent, in order, acknowledges some of it, or refuses a request."""
        random, world = self._world.random, self._world
        queued = [each for each in self._queue if not each.is_stored]
        request = [] if self._failed else queued if world.fair else queued[: random.randint(0, 4)]
        if any(world.refused(each.topic, each.value) for each in request):
            for each in request:
                self._fail(each, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "too large"))
        elif request and not world.fair and (draw := random.random()) < 0.02:
            if draw < 0.01:
                self._fail(request[0], KafkaError(KafkaError._FATAL, "fatal"))
            else:
                self._call_duplicate(request[0])
        else:
            for each in request:
                each.is_stored = True
                world.stored(each.topic, each.value)
        while self._queue and self._queue[0].is_stored and (world.fair or random.random() < 0.7):
            self._due.append((self._queue.popleft(), None))

    def poll(self, timeout_s: float) -> None:
        """Give the reports that are due; who waits gets some."""
        self._world.now += timeout_s
        self._world.asked()
        if timeout_s and (self._world.fair or self._world.random.random() < self._pace):
            self.progress()
        while self._due:
            queued, error = self._due.popleft()
            offset = 0 if queued.is_stored else -1001
            queued.report(error, Message(topic=queued.topic, value=queued.value, offset=offset))

    def purge(self) -> None:
        """Give up on everything; what was in flight may be stored still."""
        self._failed = True
        while self._queue:
            queued = self._queue.popleft()
            if not queued.is_stored:
                self._due.append((queued, KafkaError(KafkaError._PURGE_QUEUE, "purged")))
            else:
                self._due.append((queued, KafkaError(KafkaError._PURGE_INFLIGHT, "purged")))

    def __len__(self) -> int:
        return len(self._queue) + len(self._due)

    def _call_duplicate(self, queued: Queued) -> None:
        """The broker takes a record for one that it has: a success without an offset, whether it was ever written."""
        if self._world.random.random() < 0.5:
            self._world.stored(queued.topic, queued.value)
        self._failed = True
        self._queue.remove(queued)
        self._due.append((queued, None))

    def _fail(self, queued: Queued, error: KafkaError) -> None:
        self._failed = True
        self._queue.remove(queued)
        self._due.append((queued, error))


class RowReader:
    """Reads the table, as far as the world lets it see."""

    def __init__(self, world: RouterWorld) -> None:
        self._world = world
        self._next = 0
        self._eagerness = world.random.choice((0.02, 0.5, 1.0))

    def assign(self, _partitions: object) -> None:
        """Begin at the first row."""
        self._next = 0

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        """Tell the bounds, without delay."""
        return 0, len(self._world.rows)

    def consume(self, count: int, _timeout_s: float) -> list[Message]:
        """Give some rows."""
        end = max(self._next, min(self._world.visible_rows(self._eagerness), self._next + count))
        found = self._world.rows[self._next : end]
        self._next = end
        return found

    def close(self) -> None:
        """Read no more."""


@dataclass
class Group:
    """Who owns what, and what is committed. It takes commits from owners alone."""

    world: RouterWorld
    places: Sequence[Place]
    owner: dict[Place, GroupMember | None] = field(default_factory=dict)
    stored: dict[Place, tuple[int, str | None]] = field(default_factory=dict)
    members: list[GroupMember] = field(default_factory=list)

    def offset(self, place: Place) -> int:
        """What is committed, 0 where nothing is."""
        return self.stored.get(place, (0, None))[0]

    def metadata(self, place: Place) -> str | None:
        """What is committed beside it."""
        return self.stored[place][1] if place in self.stored else None

    def join(self, member: GroupMember) -> None:
        """A member has subscribed."""
        if member not in self.members:
            self.members.append(member)
            self.give_all()

    def leave(self, member: GroupMember | None) -> None:
        """A member is gone."""
        if member in self.members:
            self.members.remove(member)
        for place, owner in self.owner.items():
            if owner is member:
                self.owner[place] = None

    def give_all(self) -> None:
        """Give what has no owner to members."""
        for place in self.places:
            if self.owner.get(place) is None and self.members:
                self.give(place, self.world.random.choice(self.members))

    def give(self, place: Place, member: GroupMember) -> None:
        """Make a member the owner; it hears of it with its next call. What it has under way was sent before."""
        self.answer(member)
        self.owner[place] = member
        member.events.append(("assign", place))

    def move_one(self) -> None:
        """Ask the owner of a partition to give it away."""
        place = self.world.random.choice(self.places)
        owner = self.owner.get(place)
        if owner is not None and len(self.members) > 1 and ("revoke", place) not in owner.events:
            owner.events.append(("revoke", place))

    def fence(self, member: GroupMember | None) -> None:
        """The session of a member is over: others own what it had, and it hears of that later."""
        if member is None or member not in self.members or len(self.members) == 1:
            return
        mine = [place for place, owner in self.owner.items() if owner is member]
        member.events = deque(event for event in member.events if event[0] == "commit")
        member.events.append(("lost", list(member.positions)))
        others = [each for each in self.members if each is not member]
        for place in mine:
            self.give(place, self.world.random.choice(others))

    def commit(self, member: GroupMember, offsets: Iterable[TopicPartition]) -> KafkaError | None:
        """Store, or refuse."""
        asked = list(offsets)
        if any(self.owner.get((tp.topic, tp.partition)) is not member for tp in asked):
            return _FENCED
        if self.world.random.random() < 0.1:
            return _FAILED
        for tp in asked:
            place = (tp.topic, tp.partition)
            self.world.committed(place, tp.offset)
            self.stored[place] = (tp.offset, tp.metadata)
        return None

    def answer_one(self) -> None:
        """Take a commit that is under way."""
        waiting = [member for member in self.members if member.under_way is not None]
        if waiting:
            self.answer(self.world.random.choice(waiting))

    def answer(self, member: GroupMember) -> None:
        """Take what a member has under way, if anything; it hears of that later."""
        if member.under_way is not None:
            offsets, member.under_way = member.under_way, None
            member.events.append(("commit", (self.commit(member, offsets), offsets)))


class GroupMember:
    """A router's consumer: callbacks of the group run inside its calls, any of them."""

    def __init__(self, group: Group, world: RouterWorld, on_commit: Callable[..., None]) -> None:
        self.events: deque[tuple[str, Any]] = deque()
        self.positions: dict[Place, int] = {}
        self.under_way: list[TopicPartition] | None = None
        self._group, self._world, self._on_commit = group, world, on_commit
        self._paused: set[Place] = set()
        self._paused_now: set[Place] = set()
        self._read: set[Place] = set()
        self._callbacks: dict[str, Callable[..., None]] = {}

    def subscribe(self, _topics: list[str], **callbacks: Callable[..., None]) -> None:
        """Join."""
        self._callbacks = callbacks
        self._group.join(self)

    def consume(self, count: int, timeout_s: float) -> list[Message]:
        """Hear of the group, then read on in one of the partitions."""
        self._world.now += timeout_s
        self._hear()
        late, self._paused_now = self._paused_now, set()  # a pause takes effect a moment later
        open_places = [place for place in self.positions if place not in self._paused or place in late]
        if not open_places:
            return []
        place = self._world.random.choice(open_places)
        begin = self.positions[place]
        most = count if self._world.fair else self._world.random.randint(0, 4)
        found = self._world.log[place][begin : begin + min(count, most)]
        self.positions[place] = begin + len(found)
        if found:
            self._read.add(place)
        return found

    def _hear(self) -> None:
        while self.events:
            what, about = self.events.popleft()
            if what == "assign":
                self._callbacks["on_assign"](self, [TopicPartition(*about)])
            elif what == "revoke":
                self._callbacks["on_revoke"](self, [TopicPartition(*about)])
                self._drop([about])
                if self._group.owner.get(about) is self:
                    others = [each for each in self._group.members if each is not self] or [self]
                    self._group.give(about, self._world.random.choice(others))
            elif what == "lost":
                self._callbacks["on_lost"](self, [TopicPartition(*place) for place in about])
                self._drop(about)
            else:
                error, offsets = about
                # Kafka says of each partition that it failed, or only of the whole.
                each = error if self._world.random.random() < 0.5 else None
                answers = [SimpleNamespace(topic=tp.topic, partition=tp.partition, error=each) for tp in offsets]
                self._on_commit(error, answers)

    def _drop(self, places: Iterable[Place]) -> None:
        for place in places:
            self.positions.pop(place, None)
            for places_of in (self._paused, self._paused_now, self._read):
                places_of.discard(place)

    def incremental_assign(self, starts: list[TopicPartition]) -> None:
        """Begin to read."""
        self.positions.update({(tp.topic, tp.partition): tp.offset for tp in starts})

    def pause(self, partitions: list[TopicPartition]) -> None:
        """Give nothing of these; of what is read already, once more."""
        asked = {(tp.topic, tp.partition) for tp in partitions}
        self._paused_now |= asked & self._read
        self._paused |= asked

    def resume(self, partitions: list[TopicPartition]) -> None:
        """Give them again."""
        asked = {(tp.topic, tp.partition) for tp in partitions}
        self._paused -= asked
        self._paused_now -= asked

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        """Send a commit; who waits gets the answer."""
        if asynchronous:
            assert self.under_way is None, "two commits under way"
            self.under_way = offsets
            return None
        self._group.answer(self)  # it was sent before, on the same connection
        error = self._group.commit(self, offsets)
        if error is not None:
            raise KafkaException(error)
        return offsets

    def committed(self, asked: list[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        """Tell what is stored."""
        del timeout
        stored = self._group.stored
        return [
            TopicPartition(tp.topic, tp.partition, *stored.get((tp.topic, tp.partition), (-1001, ""))) for tp in asked
        ]

    def get_watermark_offsets(self, tp: TopicPartition, **_: object) -> tuple[int, int]:
        """Tell the bounds of a log."""
        return 0, len(self._world.log[tp.topic, tp.partition])

    def close(self) -> None:
        """Leave: what is owned is revoked inside."""
        owned = list(self.positions)
        if owned:
            self._callbacks["on_revoke"](self, [TopicPartition(*place) for place in owned])
            self._drop(owned)
        self._group.leave(self)
