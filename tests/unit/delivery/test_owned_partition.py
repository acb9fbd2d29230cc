"""What a partition does not pass: dead letters that Kafka has not acknowledged, and schemas that are not known yet."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from hookstream.processors.delivery.engine.catch_up import BacklogRecord
from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.engine.outcome import DELIVERED, REJECTED
from hookstream.processors.delivery.partitions.log_reader import Chunk
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.hook import HookState
from tests.support.partition_bench import PartitionBench


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> PartitionBench:
    return PartitionBench(monkeypatch)


def test_a_dead_letter_that_kafka_refuses_again_and_again_stays_pending_and_no_commit_passes_it(
    bench: PartitionBench,
) -> None:
    bench.bring(b"garbage", b"1")
    whole = bench.dead_letters[0][0]
    assert whole.record_value == b"garbage"
    delays = []
    for _ in range(12):
        bench.dead_letters[0][1](None)
        delays += [delay for delay, _ in bench.later]
        bench.dead_letters.clear()
        later, bench.later = bench.later, []
        assert len(later) == 1, "it is written again, by itself"
        later[0][1]()
        assert bench.dead_letters[0][0].record_value is None, "it may have been refused for its size"
        assert bench.read() == 0, "nothing behind it is read"
        assert bench.committed == 0
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]
    assert bench.metrics.dead_letters["undecodable"] == 0
    bench.accept()
    bench.read()
    assert bench.metrics.dead_letters["undecodable"] == 1
    assert bench.committed == 1, "the record behind it is unsettled"
    assert bench.turn(0) is not None


def test_a_record_without_a_value_is_a_dead_letter_like_any_that_cannot_be_decoded(bench: PartitionBench) -> None:
    """Whoever may write to the topic may write a tombstone, key and headers alone."""
    bench.bring(None, b"1")
    assert [(dead.reason, dead.record_value, dead.offset) for dead, _ in bench.dead_letters] == [
        (DeadLetterReason.UNDECODABLE, b"", 0)
    ]
    bench.accept()
    assert bench.read() == 1
    assert bench.turn(0).pending.offset == 1


def test_a_delivery_whose_dead_letter_kafka_refuses_holds_its_resource_and_the_commit(bench: PartitionBench) -> None:
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
        assert [dead_letter.reason for dead_letter, _ in bench.dead_letters] == [DeadLetterReason.SCHEDULE]
        for _ in range(5):
            assert bench.turn(60) is None, "its resource waits"
            assert (bench.committed, bench.owed) == (1, 0)
            bench.refuse()
        assert bench.metrics.dead_letters["schedule"] == 0
        bench.accept()
    assert bench.metrics.dead_letters["schedule"] == 1
    assert bench.committed == 3
    assert bench.turn(0).pending.offset == 3


def test_a_dead_letter_that_is_acknowledged_when_the_partition_is_gone_says_nothing(bench: PartitionBench) -> None:
    """Its next owner has read the same record, and writes a dead letter of its own."""
    bench.bring(b"garbage", b"1")
    bench.part.gone = True
    bench.accept()
    assert bench.metrics.dead_letters["undecodable"] == 0
    assert len(bench.part.inboxes[LIVE].messages) == 2


def test_a_record_whose_schema_is_not_known_waits_and_its_log_with_it(bench: PartitionBench) -> None:
    bench.bring(b"newer", b"2")
    assert bench.part.blocked[LIVE]
    assert bench.turn(0) is None
    assert not bench.dead_letters
    bench.unknown = False
    bench.fetching.pop()()
    assert not bench.part.blocked[LIVE]
    assert bench.read() == 2
    assert [bench.turn(0).pending.offset, bench.turn(0).pending.offset] == [0, 1]


def test_nothing_of_a_stretch_is_given_to_the_engine_before_each_of_its_dead_letters_is_acknowledged(
    bench: PartitionBench,
) -> None:
    bench.change_row(state=HookState.DISABLED)
    bench.bring(b"4", b"1", b"5")
    bench.change_row(state=HookState.ENABLED)
    assert bench.turn(0) is None, "all of it is behind a cursor"
    given = bench.caught_up
    bench.lacking = {b"4", b"5"}
    records = [BacklogRecord(n, b"434", value) for n, value in enumerate((b"4", b"1", b"5"))]
    fed: list[int] = []
    bench.part.feed(LIVE, Chunk(("deliveries", 3), 0, 3, records), lambda: fed.append(1))
    first, second = bench.dead_letters
    second[1](7)
    assert not given
    assert not fed
    first[1](None)
    assert not given
    bench.dead_letters.clear()
    bench.later.pop()[1]()
    bench.accept()
    assert (given, len(fed)) == ([b"4", b"1", b"5"], 1)
    bench.part.feed(LIVE, Chunk(("deliveries", 3), 0, 3, records), lambda: fed.append(1))
    assert len(fed) == 2, "they are dead letters already"
    assert not bench.dead_letters


def test_a_delivery_s_dead_letter_that_is_acknowledged_when_the_partition_is_gone_says_nothing(
    bench: PartitionBench,
) -> None:
    bench.bring(b"2", b"1", b"2")
    answer = bench.part.engine.answer
    with capture_logs():
        two, one = bench.turn(0), bench.turn(0)
        answer(two, DELIVERED, 0.1)
        answer(one, REJECTED, 0.1)
        answer(bench.turn(0), DELIVERED, 0.1)
        answer(bench.turn(2), REJECTED, 0.1)
        assert len(bench.dead_letters) == 1
        bench.part.gone = True
        bench.accept()
    assert bench.metrics.dead_letters["schedule"] == 0
