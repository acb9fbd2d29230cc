"""Threads that stand and fall together."""

from __future__ import annotations

import threading

import pytest

from hookstream.processors.cli.console import CommandError
from hookstream.processors.cli.roles.process import Crew
from hookstream.processors.errors import KafkaRefusedError, StoppedError
from hookstream.processors.lifecycle import StopSignal

WAIT_S = 10.0


def test_the_first_failure_asks_everybody_to_stop_and_is_raised() -> None:
    stop = StopSignal()
    crew = Crew(stop)

    def fail() -> None:
        raise KafkaRefusedError("no")

    def waits() -> None:
        stop.wait(WAIT_S)

    crew.start("waits", waits)
    crew.start("fails", fail)
    assert stop.wait(WAIT_S)
    with pytest.raises(KafkaRefusedError, match="no"):
        crew.join(WAIT_S)


def test_to_be_stopped_is_no_failure() -> None:
    stop = StopSignal()
    crew = Crew(stop)

    def stopped() -> None:
        raise StoppedError("asked")

    crew.start("stopped", stopped)
    crew.start("done", lambda: None)
    crew.join(WAIT_S)
    assert not stop.asked


def test_whoever_does_not_stop_is_named() -> None:
    ends = threading.Event()
    crew = Crew(StopSignal())

    def waits() -> None:
        ends.wait(WAIT_S)

    crew.start("stubborn", waits)
    try:
        with pytest.raises(CommandError, match="stubborn did not stop"):
            crew.join(0.01)
    finally:
        ends.set()
        crew.join(WAIT_S)
