"""What a run on fresh seeds writes down."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.soak import __main__ as soak
from tests.soak import worlds


def test_a_red_world_is_in_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(seed: int) -> tuple[SimpleNamespace, str | None]:
        return SimpleNamespace(now=1800), "I1 lost" if seed == 8 else None

    monkeypatch.setattr(worlds, "check", check)
    found = soak.batch("engine", 7, 4)
    assert found.red == {8: "I1 lost"}
    entry = json.loads(soak.line("engine", 7, found, 3.2))
    assert len(entry["engine"]) == 12
    assert {key: entry[key] for key in ("first_seed", "worlds", "simulated_hours", "red")} == {
        "first_seed": 7,
        "worlds": 4,
        "simulated_hours": 2.0,
        "red": [8],
    }


@pytest.mark.parametrize("kind", ["routers", "relays", "settings", "resyncs", "outbox", "replayers"])
def test_a_world_of_each_kind_is_run_and_what_ends_one_is_kept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        now = 100.0

        def __init__(self, seed: int) -> None:
            self.seed = seed

        def run(self) -> None:
            self.now += 60.0
            if self.seed == 8:
                raise AssertionError("seed 8: lost")
            if self.seed == 9:
                raise KeyError("gone")

    monkeypatch.setitem(worlds.KINDS, kind, dataclasses.replace(worlds.KINDS[kind], run=worlds._of(Broken)))
    found = soak.batch(kind, 7, 4)
    assert (found.worlds, found.simulated_s) == (4, 240.0)
    assert found.red == {8: "seed 8: lost", 9: "seed 9: KeyError('gone')"}
    assert len(json.loads(soak.line(kind, 7, found, 3.2))[kind]) == 12


def test_a_run_that_is_told_to_end_writes_what_it_has_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(options: argparse.Namespace, first: int, found: soak.Found) -> None:
        del options, first
        found.add(soak.Found(worlds=20, simulated_s=3600.0))
        signal.raise_signal(signal.SIGTERM)

    ledger = tmp_path / "soak.jsonl"
    monkeypatch.setattr(soak, "run", run)
    monkeypatch.setattr(sys, "argv", ["soak", "--ledger", str(ledger)])
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert soak.main() == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert json.loads(ledger.read_text())["worlds"] == 20
