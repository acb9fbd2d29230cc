"""A thread that reads a table ends aloud, whatever ended it."""

from __future__ import annotations

import pytest

from hookstream.processors.errors import KafkaRefusedError
from hookstream.processors.tables.table_thread import TableThread


class Reader:
    """Raises in its second step."""

    def __init__(self, error: Exception) -> None:
        self.error, self.steps, self.closed = error, 0, False

    def step(self, timeout_s: float) -> int:
        del timeout_s
        self.steps += 1
        if self.steps > 1:
            raise self.error
        return 0

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("error", [KafkaRefusedError("no"), ValueError("a row of a client's"), KeyError()])
def test_what_ends_the_reading_is_told_and_the_reader_closed(error: Exception) -> None:
    reader, told = Reader(error), list[Exception]()
    thread = TableThread(reader, failed=told.append)
    thread.start()
    thread._thread.join(10)
    assert told == [error]
    assert reader.closed
