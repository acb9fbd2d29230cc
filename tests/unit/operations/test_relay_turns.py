"""A relay tries again after whatever a part that does not answer raises, and not without a pause."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from hookstream.processors.errors import KafkaUnavailableError
from hookstream.processors.operations.relays.relay import Relay, Turn
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.subscriptions.errors import DatabaseUnavailableError, NotPublishedError

RETRY_S, POLL_S = 5.0, 0.25


@dataclass
class Topic:
    """A topic that is empty."""

    loaded: bool = True

    def open(self) -> None:
        """Find nothing."""

    def step(self, _timeout_s: float) -> int:
        """Read nothing."""
        return 0

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class Step:
    """Writes what a test says, turn by turn."""

    turns: list[Turn | Exception]
    what: str = "changes"
    topic: str = "subscriptions"
    forgotten: int = field(default=0)

    def make_reader(self) -> Topic:
        """Make a reader."""
        return Topic()

    def compare(self) -> None:
        """Nothing was read."""

    def write(self) -> Turn:
        """Do a turn."""
        turn = self.turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return turn

    def forget(self) -> None:
        """Note it."""
        self.forgotten += 1


class Pauses(threading.Event):
    """Notes how long it was to wait for, and waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_s: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Note it."""
        self.asked_s.append(timeout)
        return True


def pauses_of(*turns: Turn | Exception) -> tuple[list[float | None], str | None]:
    """Run so many turns; give the pauses between them, and what is told at the end."""
    step, stop = Step([*turns]), threading.Event()
    relay = Relay(step, poll_interval_s=POLL_S, retry_after_s=RETRY_S)
    pauses = relay._woken = Pauses()
    write = step.write

    def last_turn() -> Turn:
        if len(step.turns) == 1:
            stop.set()
        return write()

    step.write = last_turn  # type: ignore[method-assign]
    relay.run(stop)
    assert step.forgotten, "the topic is read again by whoever runs it next"
    return pauses.asked_s, relay.trouble()


@pytest.mark.parametrize(
    "error",
    [
        KafkaUnavailableError("no answer"),
        RegistryUnavailableError("no answer"),
        DatabaseUnavailableError("no answer"),
        NotPublishedError("no answer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_part_that_does_not_answer_is_told_and_asked_again_after_a_while(error: Exception) -> None:
    assert pauses_of(error) == ([RETRY_S], "no answer")
    assert pauses_of(error, error, Turn()) == ([RETRY_S, RETRY_S, POLL_S], None)


def test_what_may_not_be_written_now_is_looked_at_again_after_a_while() -> None:
    assert pauses_of(Turn(blocked="an older database")) == ([RETRY_S], "an older database")


def test_what_is_written_is_followed_by_the_next_at_once() -> None:
    assert pauses_of(Turn(published=1), Turn(corrected=1), Turn()) == ([POLL_S], None)
