"""Which deliveries an operator's settings skip."""

from __future__ import annotations

from dataclasses import replace

from hookstream.processors.delivery.engine.skips import Skips
from tests.support.values import DELIVERY


def test_what_an_operator_skips_is_by_when_it_is_owed_so_what_was_resent_since_is_sent() -> None:
    skips = Skips()
    old, resent = replace(DELIVERY, arrived_ms=5, replayed_at_ms=0), replace(DELIVERY, arrived_ms=5, replayed_at_ms=11)
    assert not skips.some
    skips.drained_before_ms = 10
    assert (skips.some, skips.covers(old), skips.covers(resent)) == (True, True, False)
    skips.drained_before_ms, skips.single = 0, {DELIVERY.id: 10}
    assert (skips.some, skips.covers(old), skips.covers(resent)) == (True, True, False)
