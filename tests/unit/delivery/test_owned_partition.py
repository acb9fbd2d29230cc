"""What a partition does not pass: dead letters that Kafka has not acknowledged, and schemas that are not known yet."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from hookstream.processors.delivery.attempts.lines import AttemptLines
from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting, StreamStarting
from hookstream.processors.delivery.checkpoints.partition_start import StartAt
from hookstream.processors.delivery.engine.catch_up import OwedRecord
from hookstream.processors.delivery.engine.dispatcher import Dispatcher
from hookstream.processors.delivery.engine.lanes import LIVE
from hookstream.processors.delivery.engine.outcome import DELIVERED, REJECTED
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.worker import dead_letters
from hookstream.processors.delivery.worker.dead_letters import DeadLetters
from hookstream.processors.delivery.worker.inbox import AssignedPartition, Inbox
from hookstream.processors.delivery.worker.known_schemas import SchemaNotFetchedError
from hookstream.processors.delivery.worker.log_reader import Chunk
from hookstream.processors.delivery.worker.owned_partition import OwnedPartition, PartitionParts
from hookstream.processors.metrics import Metrics
from hookstream.schemas.delivery import DeadLetter, DeadLetterReason
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.hook import HookState, Revision
from tests.support.judging import WALL_MS, Table
from tests.support.values import DELIVERY, HOOK

if TYPE_CHECKING:
    from collections.abc import Callable

ROW = replace(HOOK, state=HookState.ENABLED, revision=Revision(7), not_before_ms=0, rate_limit_per_s=None)


class Message:
    """A record of the log: its value names a resource, or nothing that can be read."""

    def __init__(self, offset: int, value: bytes) -> None:
        self._offset, self._value = offset, value

    def __len__(self) -> int:
        return len(self._value)

    def value(self) -> bytes:
        return self._value

    def key(self) -> bytes:
        return b"434"

    def offset(self) -> int:
        return self._offset

    def headers(self) -> None:
        return None


class Bench:
    """One partition, and a Kafka that takes or refuses dead letters when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.letters: list[tuple[DeadLetter, Callable[[int | None], None]]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.fetching: list[Callable[[], None]] = []
        self.lacking: set[bytes] = set()
        self.unknown = True
        self.now = 1000.0
        loop = SimpleNamespace(call_later=lambda delay, call: self.later.append((delay, call)))
        monkeypatch.setattr(dead_letters, "asyncio", SimpleNamespace(get_running_loop=lambda: loop))
        writer = SimpleNamespace(write=lambda _topic, _key, letter, written: self.letters.append((letter, written)))
        self.metrics = Metrics()
        table = Table({(ROW.client, ROW.event): ROW})
        # One failure is enough, so that a rejected record is a dead letter after its second.
        self.policy = EnginePolicy(short_schedule_s=(1.0,))
        self.dispatcher = Dispatcher(self.policy)
        parts = PartitionParts(
            policy=self.policy,
            topics=("deliveries", "deliveries.replay"),
            table=table,
            dispatcher=self.dispatcher,
            decode=self._decode,
            decode_owed=self._decode,
            undecodable=lambda value: value in self.lacking,
            wishes=None,
            encode=lambda _: b"value",
            dead_letters=DeadLetters(writer, "deliveries.dead", encode=lambda letter: letter),  # type: ignore[arg-type,return-value]
            notify=lambda *_: None,
            fetch_schema=lambda _id, then: self.fetching.append(then),
            wake=lambda: None,
            random=lambda: 0.5,
            lines=AttemptLines(lambda: self.now),
            spans=None,
            metrics=self.metrics,
        )
        start = StreamStarting(StartAt(0, None), EMPTY_STATE)
        given = AssignedPartition(PartitionStarting(3, (start, start)), (Inbox(), Inbox()))
        self.part = OwnedPartition(parts, given, now=self.now, steady_ms=WALL_MS)

    def _decode(self, value: bytes | None) -> Any:
        if value == b"garbage":
            raise UndecodableError("shorter than a header")
        if value == b"newer" and self.unknown:
            raise SchemaNotFetchedError(9)
        concept = 1 if value == b"newer" else int(value or b"")
        return replace(
            DELIVERY,
            client=ROW.client,
            event=ROW.event,
            hook_id=ROW.id,
            hook_revision=ROW.revision,
            concept_id=concept,
            replay=None,
            replayed_at_ms=0,
        )

    def bring(self, *values: bytes) -> None:
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
        """Refuse every letter that is under way, and let the time pass until it is written again."""
        letters, self.letters = self.letters, []
        for _, written in letters:
            written(None)
        later, self.later = self.later, []
        for _, call in later:
            call()

    def accept(self) -> None:
        letters, self.letters = self.letters, []
        for _, written in letters:
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
        return self.part.views[LIVE].snapshot().offset

    @property
    def owed(self) -> int:
        """How many cursors its state would have."""
        return len(self.part.views[LIVE].snapshot().state.cursors)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_a_dead_letter_that_kafka_refuses_again_and_again_stays_pending_and_no_commit_passes_it(bench: Bench) -> None:
    bench.bring(b"garbage", b"1")
    whole = bench.letters[0][0]
    assert whole.record_value == b"garbage"
    delays = []
    for _ in range(12):
        bench.letters[0][1](None)
        delays += [delay for delay, _ in bench.later]
        bench.letters.clear()
        later, bench.later = bench.later, []
        assert len(later) == 1, "it is written again, by itself"
        later[0][1]()
        assert bench.letters[0][0].record_value is None, "it may have been refused for its size"
        assert bench.read() == 0, "nothing behind it is read"
        assert bench.committed == 0
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]
    assert bench.metrics.dead_letters["undecodable"] == 0
    bench.accept()
    bench.read()
    assert bench.metrics.dead_letters["undecodable"] == 1
    assert bench.committed == 1, "the record behind it is unsettled"
    assert bench.turn(0) is not None


def test_a_delivery_whose_dead_letter_kafka_refuses_holds_its_resource_and_the_commit(bench: Bench) -> None:
    bench.bring(b"2", b"1", b"2", b"1", b"3")
    answer = bench.part.engine.answer
    with capture_logs():
        two, one = bench.turn(0), bench.turn(0)
        answer(two, DELIVERED, 0.1)
        answer(one, REJECTED, 0.1)
        answer(bench.turn(0), DELIVERED, 0.1)
        answer(bench.turn(0), DELIVERED, 0.1)
        again = bench.turn(2)
        assert again.pending.offset == 1
        answer(again, REJECTED, 0.1)
        assert [letter.reason for letter, _ in bench.letters] == [DeadLetterReason.SCHEDULE]
        for _ in range(5):
            assert bench.turn(60) is None, "its resource waits"
            assert (bench.committed, bench.owed) == (1, 0)
            bench.refuse()
        assert bench.metrics.dead_letters["schedule"] == 0
        bench.accept()
    assert bench.metrics.dead_letters["schedule"] == 1
    assert bench.committed == 3
    assert bench.turn(0).pending.offset == 3


def test_a_letter_that_is_acknowledged_when_the_partition_is_gone_says_nothing(bench: Bench) -> None:
    """Its next owner has read the same record, and writes a letter of its own."""
    bench.bring(b"garbage", b"1")
    bench.part.gone = True
    bench.accept()
    assert bench.metrics.dead_letters["undecodable"] == 0
    assert len(bench.part.inboxes[LIVE].messages) == 2


def test_a_record_whose_schema_is_not_known_waits_and_its_log_with_it(bench: Bench) -> None:
    bench.bring(b"newer", b"2")
    assert bench.part.blocked[LIVE]
    assert bench.turn(0) is None
    assert not bench.letters
    bench.unknown = False
    bench.fetching.pop()()
    assert not bench.part.blocked[LIVE]
    assert bench.read() == 2
    assert [bench.turn(0).pending.offset, bench.turn(0).pending.offset] == [0, 1]


def test_nothing_of_a_stretch_is_given_to_the_engine_before_each_of_its_dead_letters_is_acknowledged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(bench.part.engine, "feed", lambda *args: given.append(args))
    bench.lacking = {b"x", b"y"}
    records = [OwedRecord(n, b"434", value) for n, value in enumerate((b"x", b"1", b"y"))]
    fed: list[int] = []
    bench.part.feed(LIVE, Chunk(("deliveries", 3), 0, 3, records), lambda: fed.append(1))
    first, second = bench.letters
    second[1](7)
    assert not given
    assert not fed
    first[1](None)
    assert not given
    bench.letters.clear()
    bench.later.pop()[1]()
    bench.accept()
    assert len(given) == len(fed) == 1
    bench.part.feed(LIVE, Chunk(("deliveries", 3), 0, 3, records), lambda: fed.append(1))
    assert len(given) == 2, "they are letters already"
    assert not bench.letters
