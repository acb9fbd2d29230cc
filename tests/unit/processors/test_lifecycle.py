"""Waiting for what is unavailable, readiness, and the settings to stop."""

from __future__ import annotations

import pytest

from hookstream.processors.errors import KafkaRefusedError, KafkaUnavailableError, StoppedError
from hookstream.processors.lifecycle import Health, StopSignal, until_available


class Away:
    """Answers after so many failures."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.left = failures
        self.error = error
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "here"


def test_what_is_unavailable_is_asked_again_and_readiness_says_why() -> None:
    health, seen = Health("kafka"), []
    away = Away(3, KafkaUnavailableError("no broker"))

    def sleep(_seconds: float) -> None:
        seen.append(health.reasons)

    assert until_available("kafka", away, stop=StopSignal(), health=health, sleep=sleep) == "here"
    assert seen == [{"kafka": "no broker"}] * 3
    assert health.ready


def test_what_is_refused_is_not_asked_again() -> None:
    away = Away(3, KafkaRefusedError("no right"))
    with pytest.raises(KafkaRefusedError):
        until_available("kafka", away, stop=StopSignal())
    assert away.calls == 1


def test_waiting_ends_when_a_stop_is_asked_for() -> None:
    stop = StopSignal()
    stop.ask()
    with pytest.raises(StoppedError):
        until_available("kafka", Away(99, KafkaUnavailableError("no broker")), stop=stop)


def test_waiting_ends_at_its_deadline_with_the_last_reason() -> None:
    with pytest.raises(KafkaUnavailableError, match="no broker"):
        until_available(
            "kafka",
            Away(99, KafkaUnavailableError("no broker")),
            stop=StopSignal(),
            give_up_after_s=0.0,
            sleep=lambda _: None,
        )


def test_a_process_is_ready_when_every_part_is() -> None:
    health = Health("table", "kafka")
    health.up("kafka")
    assert health.reasons == {"table": "starting"}
    health.up("table")
    assert health.ready
    health.down("kafka", "gone")
    assert health.reasons == {"kafka": "gone"}


def test_a_wait_ends_early_when_a_stop_is_asked_for() -> None:
    stop = StopSignal()
    assert not stop.wait(0)
    stop.ask()
    assert stop.wait(60)
