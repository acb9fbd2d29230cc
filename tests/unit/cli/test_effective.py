"""Waiting until every router works by hooks that were registered a moment ago."""

from __future__ import annotations

from typing import Any

import pytest

from hookstream.processors.cli.effective import wait_effective


class FakeApi:
    """Says of a hook what comes next, and at the end always the same."""

    def __init__(self, *effective: bool) -> None:
        self.effective = list(effective)

    def get(self, path: str) -> dict[str, Any]:
        assert path in ("/hooks/1", "/hooks/2")
        return {"hook": {"effective": self.effective.pop(0) if self.effective else False}}


def waited_for(api: Any, *, hint: str = "") -> list[float]:
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return False

    wait_effective(api, [1, 2], wait, hint=hint)
    return waited


def test_it_waits_for_every_hook_and_says_once_for_what(capsys: pytest.CaptureFixture[str]) -> None:
    api = FakeApi(False, False, True, False, True, False)
    assert len(waited_for(api, hint=" (--no-wait goes on at once)")) == 3
    assert api.effective == [False]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "waiting until every router works by hook 1, 10 s at most (--no-wait goes on at once)"


def test_what_is_in_use_already_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert waited_for(FakeApi(True, True)) == []
    assert capsys.readouterr().err == ""


def test_without_a_router_it_goes_on_after_a_while_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert sum(waited_for(FakeApi())) == pytest.approx(10)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "no router works by hook 1 yet: until one does, what is published is not delivered to it"
    )


def test_it_stops_waiting_when_it_is_asked_to_stop() -> None:
    api: Any = FakeApi()
    wait_effective(api, [1], lambda _seconds: True)
