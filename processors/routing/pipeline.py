"""Batches on their way to the broker: what is acknowledged may be committed, in the order it was read. Sans-I/O.

Several batches are under way at once, and reports come back in any order; the done offset of a partition moves only
over batches that are complete, oldest first, so it never passes a record without a report, nor one that failed.
"""

from __future__ import annotations

from collections import deque

from confluent_kafka import KafkaError, Message

from hookstream.producers.delivery_report import failure_of

from .assignment import SourcePartition


class Batch:
    """Records read together, and the reports that their deliveries still wait for."""

    __slots__ = ("_failures", "pending", "positions", "sealed")

    def __init__(self, failures: list[tuple[KafkaError, Message]]) -> None:
        """Expect nothing yet."""
        self._failures = failures
        self.pending = 0
        self.positions: dict[SourcePartition, int] = {}
        """Next offset of each partition once this batch is complete."""
        self.sealed = False
        """Whether nothing is added any more."""

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Take one delivery report; a failed one leaves the batch incomplete for ever."""
        failure = failure_of(error, message)
        if failure is None:
            self.pending -= 1
        else:
            self._failures.append((failure, message))


class Pipeline:
    """The batches that are not complete."""

    def __init__(self) -> None:
        """Start empty."""
        self.failures: list[tuple[KafkaError, Message]] = []
        """Failed reports, in the order they came: the first one ends the process."""
        self._batches: deque[Batch] = deque()

    @property
    def outstanding(self) -> int:
        """Reports that are awaited."""
        return sum(batch.pending for batch in self._batches)

    def open(self) -> Batch:
        """Start the next batch; it is complete only after it was sealed."""
        batch = Batch(self.failures)
        self._batches.append(batch)
        return batch

    def settle(self) -> None:
        """Move the done offsets over every complete batch that has no incomplete one before it."""
        batches = self._batches
        while batches and batches[0].sealed and not batches[0].pending:
            for source, next_offset in batches.popleft().positions.items():
                source.done_offset = next_offset
