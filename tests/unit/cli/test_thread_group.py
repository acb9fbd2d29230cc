"""Threads that stand and fall together."""

from __future__ import annotations

import threading

import pytest

from hookstream.processors.cli.console import CommandError
from hookstream.processors.cli.roles.process import ThreadGroup
from hookstream.processors.errors import KafkaRefusedError, StoppedError
from hookstream.processors.lifecycle import StopSignal

WAIT_S = 10.0


def test_the_first_failure_asks_everybody_to_stop_and_is_raised() -> None:
    stop = StopSignal()
    threads = ThreadGroup(stop)

    def fail() -> None:
        raise KafkaRefusedError("no")

    def waits() -> None:
        stop.wait(WAIT_S)

    threads.start("waits", waits)
    threads.start("fails", fail)
    assert stop.wait(WAIT_S)
    with pytest.raises(KafkaRefusedError, match="no"):
        threads.join(WAIT_S)


def test_to_be_stopped_is_no_failure() -> None:
    stop = StopSignal()
    threads = ThreadGroup(stop)

    def stopped() -> None:
        raise StoppedError("asked")

    threads.start("stopped", stopped)
    threads.start("done", lambda: None)
    threads.join(WAIT_S)
    assert not stop.asked


def test_whoever_does_not_stop_is_named() -> None:
    ends = threading.Event()
    threads = ThreadGroup(StopSignal())

    def waits() -> None:
        ends.wait(WAIT_S)

    threads.start("stubborn", waits)
    try:
        with pytest.raises(CommandError, match="stubborn did not stop"):
            threads.join(0.01)
    finally:
        ends.set()
        threads.join(WAIT_S)
