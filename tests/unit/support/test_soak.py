"""What a run on fresh seeds writes down."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from tests.soak import __main__ as soak


def test_a_red_world_is_in_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(seed: int) -> tuple[SimpleNamespace, str | None]:
        return SimpleNamespace(now=1800), "I1 lost" if seed == 8 else None

    monkeypatch.setattr(soak, "check", check)
    found = soak.batch(7, 4)
    assert found.red == {8: "I1 lost"}
    entry = json.loads(soak.line(7, found, 3.2))
    assert len(entry["engine"]) == 12
    assert {key: entry[key] for key in ("first_seed", "worlds", "simulated_hours", "red")} == {
        "first_seed": 7,
        "worlds": 4,
        "simulated_hours": 2.0,
        "red": [8],
    }
