"""What is said while the command waits for a replay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hookstream.processors.cli.commands.replay_watch import Standstill, watch
from hookstream.processors.cli.console import CommandError

NO_REPLAYER = (
    "no replayer has it: none runs, all are busy, or Kafka or the registry does not answer; their logs say which"
)
HAS_IT = "a replayer has it, and reads the table of hooks first, or waits for the attempt log to catch up"


def replay(state: str = "running", *, sent: int = 0, worked_on: bool = True, rate: float = 100.0) -> dict[str, Any]:
    """As the API shows it."""
    return {
        "state": state,
        "worked_on": worked_on,
        "progress": {"scanned": 0, "sent": sent},
        "window": None,
        "count": {"deliveries": 1000},
        "rate_per_second": rate,
        "rate_per_second_per_endpoint": 100.0,
    }


class Clock:
    """Time that goes on only by sleeping."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def watched(looks: Iterator[dict[str, Any] | Exception], first: dict[str, Any]) -> dict[str, Any]:
    """Watch it with a clock of our own."""
    clock = Clock()

    def look() -> dict[str, Any]:
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    return watch(look, first, "running", clock=clock, sleep=clock.sleep)


def test_a_replay_that_goes_on_for_long_and_ends_is_said_nothing_of(capsys: pytest.CaptureFixture[str]) -> None:
    looks = [replay(sent=n) for n in range(60)] + [replay("done", sent=60, worked_on=False)]
    assert watched(iter(looks), replay())["state"] == "done"
    err = capsys.readouterr().err
    assert "no replayer" not in err


def test_a_replay_is_waited_for_as_long_as_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    looks = [replay(worked_on=False)] * 5000 + [replay("done", worked_on=False)]
    assert watched(iter(looks), replay(worked_on=False))["state"] == "done"
    assert capsys.readouterr().err.splitlines().count(NO_REPLAYER) == 1


def test_an_api_that_is_unavailable_for_a_minute_ends_the_watch() -> None:
    with pytest.raises(CommandError, match="away"):
        watched(iter([CommandError("away")] * 1000), replay())


def heard(*looks: tuple[float, dict[str, Any]], state: str = "running") -> list[str | None]:
    """What is said at these times."""
    still = Standstill(state, 0.0)
    return [still.hear(found, now) for now, found in looks]


def test_what_it_waits_for_is_said_once_and_again_when_that_changes() -> None:
    idle, worked_on = replay(worked_on=False), replay()
    assert heard((0, idle), (9, idle), (11, idle), (60, idle), (61, worked_on), (90, worked_on)) == [
        None, None, NO_REPLAYER, None, HAS_IT, None,
    ]  # fmt: skip


def test_progress_ends_the_standstill() -> None:
    looks = (0, replay(worked_on=False)), (11, replay(worked_on=False, sent=1)), (23, replay(worked_on=False, sent=1))
    assert heard(*looks) == [None, None, NO_REPLAYER]


def test_a_slow_replay_is_not_stuck_between_two_deliveries() -> None:
    slow = replay(rate=0.01)
    assert heard((0, slow), (100, slow), (109, slow), (111, slow)) == [None, None, None, HAS_IT]
    assert heard((0, slow), (11, slow), state="counting") == [None, HAS_IT]
