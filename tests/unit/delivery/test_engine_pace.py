"""Flaky is not down, and down is soon known: what a receiver gets at the pace of a deployment, in simulated time."""

from __future__ import annotations

import pytest

from tests.support.engine_pace import COSTLY, SCENES, judge


@pytest.mark.parametrize("name", [name for name in SCENES if name not in COSTLY])  # those: tests/delivery
def test_a_receiver_gets_what_it_can_take_and_no_more(name: str) -> None:
    assert judge(SCENES[name], seed=1) is None
