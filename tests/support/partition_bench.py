"""One owned partition with the shipped engine, and a Kafka that takes or refuses its dead letters as a test says."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hookstream.processors.delivery.attempts.lines import AttemptLines
from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting, StreamStarting
from hookstream.processors.delivery.checkpoints.partition_start import StartAt
from hookstream.processors.delivery.engine.dispatcher import Dispatcher
from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.group.inbox import AssignedPartition, Inbox
from hookstream.processors.delivery.partitions import dead_letters
from hookstream.processors.delivery.partitions.dead_letters import DeadLetters
from hookstream.processors.delivery.partitions.known_schemas import SchemaNotFetchedError
from hookstream.processors.delivery.partitions.owned_partition import OwnedPartition
from hookstream.processors.delivery.partitions.partition_deps import DeliveryCodec, PartitionDeps
from hookstream.processors.metrics import Metrics
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.hook import HookState, Revision
from hookstream.schemas.notices import Notice
from tests.support.judging import WALL_MS, Table
from tests.support.values import DELIVERY, HOOK

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from hookstream.schemas.delivery import DeadLetter

ROW = replace(HOOK, state=HookState.ENABLED, revision=Revision(7), not_before_ms=0, rate_limit_per_s=None)


class Message:
    """A record of the log: its value names a resource, or nothing that can be read."""

    def __init__(self, offset: int, value: bytes | None) -> None:
        self._offset, self._value = offset, value

    def __len__(self) -> int:
        return len(self._value or b"")

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes:
        return b"434"

    def offset(self) -> int:
        return self._offset

    def headers(self) -> None:
        return None


class PartitionBench:
    """One partition, and a Kafka that takes or refuses dead letters when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dead_letters: list[tuple[DeadLetter, Callable[[int | None], None]]] = []
        self.told: list[tuple[Notice, Callable[[bool], None]]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.fetching: list[Callable[[], None]] = []
        self.lacking: set[bytes] = set()
        self.unknown = True
        self.random: Callable[[], float] = lambda: 0.5
        self.caught_up: list[bytes] = []  # what the engine took of stretches of the log
        self.now = 1000.0
        loop = SimpleNamespace(call_later=lambda delay, call: self.later.append((delay, call)))
        monkeypatch.setattr(dead_letters, "asyncio", SimpleNamespace(get_running_loop=lambda: loop))
        writer = SimpleNamespace(
            write=lambda _topic, _key, dead_letter, written: self.dead_letters.append((dead_letter, written))
        )
        self.metrics = Metrics()
        self.table = Table({(ROW.client, ROW.event): ROW})
        # One failure is enough, so that a rejected record is a dead letter after its second.
        self.policy = EnginePolicy(short_schedule_s=(1.0,))
        self.dispatcher = Dispatcher(self.policy)
        self.parts = PartitionDeps(
            policy=self.policy,
            topics=("deliveries", "deliveries.replay"),
            table=self.table,
            dispatcher=self.dispatcher,
            settings=None,
            codec=DeliveryCodec(
                decode=self._decode,
                decode_backlog=self._decode_backlog,
                undecodable=lambda value: value in self.lacking,
                encode=lambda _: b"value",
                fetch_schema=lambda _id, then: self.fetching.append(then),
            ),
            dead_letters=DeadLetters(writer, "deliveries.dead", encode=lambda dead_letter: dead_letter),  # type: ignore[arg-type,return-value]
            notify=lambda *_: None,
            tell=lambda notice, written: self.told.append((notice, written)),
            wake=lambda: None,
            random=lambda: self.random(),  # noqa: PLW0108 - a test may replace it
            lines=AttemptLines(lambda: self.now),
            spans=None,
            metrics=self.metrics,
        )
        self.part = OwnedPartition(self.parts, given(3), now=self.now, steady_ms=WALL_MS)

    def _decode(self, value: bytes | None) -> Any:
        if value is None or value == b"garbage":
            raise UndecodableError("shorter than a header")
        if value == b"newer" and self.unknown:
            raise SchemaNotFetchedError(9)
        concept = 1 if value == b"newer" else int(value)
        return replace(
            DELIVERY,
            client=ROW.client,
            event=ROW.event,
            hook_id=ROW.id,
            hook_revision=ROW.revision,
            concept_id=str(concept),
            replay=None,
            replayed_at_ms=0,
        )

    def _decode_backlog(self, value: bytes) -> Any:
        self.caught_up.append(value)
        return self._decode(value)

    def change_row(self, **changes: Any) -> None:
        """Write the hook's row anew."""
        old = self.table[ROW.client, ROW.event]
        self.table[ROW.client, ROW.event] = replace(old, revision=Revision(old.revision + 1), **changes)
        self.part.engine.row_changed(ROW.client, ROW.event)

    def bring(self, *values: bytes | None) -> None:
        """Let records arrive and be read."""
        inbox = self.part.inboxes[LIVE]
        for value in values:
            inbox.messages.append(Message(inbox.given, value))  # type: ignore[arg-type]
            inbox.given += 1
        self.read()

    def read(self) -> int:
        """Read what may be read, as the loop does."""
        return 0 if self.part.blocked[LIVE] else self.part.read(LIVE, 100)

    def refuse(self) -> None:
        """Refuse every dead letter that is under way, and let the time pass until it is written again."""
        dead_letters, self.dead_letters = self.dead_letters, []
        for _, written in dead_letters:
            written(None)
        later, self.later = self.later, []
        for _, call in later:
            call()

    def accept(self) -> None:
        dead_letters, self.dead_letters = self.dead_letters, []
        for _, written in dead_letters:
            written(5)

    def turn(self, seconds: float) -> Any:
        """Pass time; give the next request, if there is one."""
        self.now += seconds
        self.part.advance(self.now, WALL_MS + int((self.now - 1000) * 1000))
        self.part.engine.end_turn()
        return self.dispatcher.next()

    @property
    def committed(self) -> int:
        """What a commit of now would say."""
        return self.part.commits.views[LIVE].snapshot().offset

    @property
    def owed(self) -> int:
        """How many cursors its state would have."""
        return len(self.part.commits.views[LIVE].snapshot().state.cursors)


def given(partition: int) -> AssignedPartition:
    """A partition that the group gives, of a log that begins at 0."""
    start = StreamStarting(StartAt(0, None), EMPTY_STATE)
    return AssignedPartition(PartitionStarting(partition, (start, start)), (Inbox(), Inbox()))
