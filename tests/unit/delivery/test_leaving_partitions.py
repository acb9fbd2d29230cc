"""What is not sent because its partition is given away is put back once, and not asked for again in the same turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hookstream.processors.delivery.worker.requests_in_flight import Requesting
from tests.support.judging import Bench
from tests.support.posts import a_post


class Probed:
    """An engine and a dispatcher in one: its endpoint's probe is due for as long as none is on its way."""

    def __init__(self) -> None:
        self.probing = False
        self.asked = self.abandoned = 0

    def next(self, *, quick_only: bool) -> Any:
        assert not quick_only
        self.asked += 1
        assert self.asked < 10, "the turn does not end"
        if self.probing:
            return None
        self.probing = True
        return a_post(probe=True, engine=self)

    def abandon(self, _post: Any) -> None:
        self.abandoned += 1
        self.probing = False


def test_a_probe_of_a_partition_that_is_given_away_ends_the_turn() -> None:
    probed, part = Probed(), object()
    requesting = Requesting(replace(Bench().parts, dispatcher=probed), answered=lambda: None)
    owners: Any = {probed: part}
    leaving: Any = {part}
    requesting.dispatch(owners, leaving, 0.0, 0)
    assert (probed.asked, probed.abandoned, probed.probing) == (2, 1, False)
