"""A worker that a bug ended is run again in its process, later each time."""

from __future__ import annotations

import pytest

from hookstream.processors.delivery.http.errors import InvalidProxyError
from hookstream.processors.delivery.worker.restarts import (
    FIRST_WAIT_S,
    LAST_WAIT_S,
    RECOVERED_AFTER_S,
    Worker,
    run_with_restarts,
)
from hookstream.processors.errors import ProduceFailedError, StartRefusedError, StoppedError
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.producers.errors import RegistryRefusedError


class Life:
    """What each worker does, and how long the process waited between them."""

    def __init__(self, *does: Exception | None, runs_for_s: float = 0.0, ended: bool = True) -> None:
        self.does, self.runs_for_s, self.ended = list(does), runs_for_s, ended
        self.now = 1000.0
        self.waited: list[float] = []
        self.reasons: list[str | None] = []
        self.reported: list[tuple[str, BaseException]] = []
        self.health = Health()
        self.stop = StopSignal()
        self.stop.wait = self._wait  # type: ignore[method-assign]

    def _wait(self, timeout_s: float) -> bool:
        self.waited.append(timeout_s)
        self.reasons.append(self.health.reasons.get("worker"))
        return self.stop.asked

    def run(self) -> None:
        self.now += self.runs_for_s
        does = self.does.pop(0)
        if does is not None:
            raise does

    def worker(self) -> Worker:
        return self

    def live(self) -> None:
        run_with_restarts(
            self.worker,
            stop=self.stop,
            health=self.health,
            report_error=lambda where, error: self.reported.append((where, error)),
            clock=lambda: self.now,
        )


def test_a_bug_is_no_crash_loop() -> None:
    life = Life(*(ValueError() for _ in range(8)), None)
    life.live()
    assert life.waited == [FIRST_WAIT_S, 2, 4, 8, 16, 32, LAST_WAIT_S, LAST_WAIT_S]
    assert all(life.reasons)
    assert life.health.ready
    assert [where for where, _ in life.reported] == ["worker"] * 8


def test_one_that_ran_for_long_had_recovered() -> None:
    life = Life(ValueError(), ValueError(), ValueError(), None, runs_for_s=RECOVERED_AFTER_S)
    life.live()
    assert life.waited == [FIRST_WAIT_S] * 3


def test_a_stop_does_not_wait_for_the_next_try() -> None:
    life = Life(ValueError(), ValueError())
    life.stop.ask()
    life.live()
    assert len(life.does) == 1


@pytest.mark.parametrize(
    "known",
    [
        StartRefusedError("no", "no"),
        ProduceFailedError("done for"),
        StoppedError("asked"),
        RegistryRefusedError("no"),
        InvalidProxyError("no"),
        MemoryError(),
    ],
    ids=lambda known: type(known).__name__,
)
def test_what_is_no_bug_ends_the_process(known: Exception) -> None:
    life = Life(known)
    with pytest.raises(type(known)):
        life.live()
    assert not life.waited
    assert not life.reported


def test_a_worker_that_cannot_be_ended_is_ended_with_its_process() -> None:
    """Its thread may be a member of the group still, and holds partitions."""
    life = Life(ValueError(), None, ended=False)
    with pytest.raises(ValueError):  # noqa: PT011 - it is the planted one
        life.live()
