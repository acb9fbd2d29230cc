"""Promise: a flaky receiver is not treated as one that is down. These are the slow scenes of `engine_pace`."""

from __future__ import annotations

import pytest

from tests.support.engine_pace import COSTLY, SCENES, judge


@pytest.mark.parametrize("name", sorted(COSTLY))
def test_a_flaky_receiver_gets_most_of_its_deliveries_in_time(name: str) -> None:
    """A receiver that fails three, five or, after an outage, one request in ten gets the rest without a quarantine."""
    assert judge(SCENES[name], seed=1) is None
