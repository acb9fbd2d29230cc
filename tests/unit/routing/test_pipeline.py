"""A commit never passes a record without a report."""

from __future__ import annotations

from confluent_kafka import KafkaError, Message
from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.routing.assignment import SourcePartition
from hookstream.processors.routing.pipeline import Batch, Pipeline
from hookstream.schemas.sources.readers import TopicEvents
from hookstream.schemas.sources.record import Refused, SourceRecord

MESSAGE = Message(offset=17)


def refuse(_record: SourceRecord) -> Refused:
    raise NotImplementedError


def source(partition: int = 0) -> SourcePartition:
    return SourcePartition(
        topic="events.lead",
        partition=partition,
        topic_id=None,
        events=TopicEvents(refuse, foreign=False),
        next_offset=0,
        done_offset=0,
    )


def batch(pipeline: Pipeline, pending: int, **positions: tuple[SourcePartition, int]) -> Batch:
    opened = pipeline.open()
    opened.pending = pending
    opened.positions = dict(positions.values())
    opened.sealed = True
    return opened


def test_done_moves_when_every_report_is_in() -> None:
    pipeline, part = Pipeline(), source()
    first = batch(pipeline, 2, p=(part, 10))
    pipeline.settle()
    assert part.done_offset == 0
    first.report(None, MESSAGE)
    pipeline.settle()
    assert (part.done_offset, pipeline.outstanding) == (0, 1)
    first.report(None, MESSAGE)
    pipeline.settle()
    assert (part.done_offset, pipeline.outstanding) == (10, 0)


def test_a_later_batch_waits_for_an_earlier_one() -> None:
    pipeline, part = Pipeline(), source()
    first = batch(pipeline, 1, p=(part, 10))
    second = batch(pipeline, 1, p=(part, 20))
    second.report(None, MESSAGE)
    pipeline.settle()
    assert part.done_offset == 0
    first.report(None, MESSAGE)
    pipeline.settle()
    assert part.done_offset == 20


def test_a_failed_report_holds_the_commit_for_ever() -> None:
    pipeline, part = Pipeline(), source()
    first = batch(pipeline, 1, p=(part, 10))
    second = batch(pipeline, 1, p=(part, 20))
    first.report(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), MESSAGE)
    second.report(None, MESSAGE)
    pipeline.settle()
    assert part.done_offset == 0
    assert [error.code() for error, _ in pipeline.failures] == [KafkaError.MSG_SIZE_TOO_LARGE]


def test_a_success_that_names_no_offset_holds_the_commit_for_ever() -> None:
    pipeline, part = Pipeline(), source()
    batch(pipeline, 1, p=(part, 10)).report(None, Message())
    pipeline.settle()
    assert part.done_offset == 0
    assert len(pipeline.failures) == 1


def test_a_batch_that_is_still_filled_is_not_done() -> None:
    pipeline, part = Pipeline(), source()
    opened = pipeline.open()
    opened.positions[part] = 5
    pipeline.settle()
    assert part.done_offset == 0
    opened.sealed = True
    pipeline.settle()
    assert part.done_offset == 5


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_done_is_always_below_the_first_record_without_a_report(sizes: list[int], random: object) -> None:
    pipeline, part = Pipeline(), source()
    batches = [batch(pipeline, size, p=(part, number + 1)) for number, size in enumerate(sizes)]
    reports = [b for b, size in zip(batches, sizes, strict=True) for _ in range(size)]
    random.shuffle(reports)  # type: ignore[attr-defined]
    for report in reports:
        report.report(None, MESSAGE)
        pipeline.settle()
        incomplete = [number for number, b in enumerate(batches) if b.pending]
        assert part.done_offset == (incomplete[0] if incomplete else len(batches))
    pipeline.settle()
    assert part.done_offset == len(batches)
