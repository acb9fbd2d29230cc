"""A turn is short, whatever is due at once: between turns everybody else is served."""

from __future__ import annotations

from hookstream.processors.delivery.http.exchange import Answer
from hookstream.schemas.attempt import AttemptResult
from tests.support.judging import Bench

OK = Answer(204, None, b"", None, 0.01)


def test_a_turn_sends_to_whom_answered_quickly_and_to_a_few_others() -> None:
    """Sixty clients with 23 hooks each have a thousand requests at once, and each costs a connection."""
    bench = Bench()
    quick = bench.hook(1)
    bench.read(quick)
    bench.turn()
    bench.answer(OK)
    for client in range(2, 102):
        bench.read(bench.hook(client))
    bench.read(quick, 3)
    assert bench.turn() == 16 + 3
    bench.read(quick)
    assert bench.turn() == 16 + 1, "whoever is read last does not wait for the hundred"
    while sent := bench.turn():
        assert sent <= 16
    assert len(bench.http.waiting) == 100 + 4


def test_a_turn_takes_every_answer_and_some_failures() -> None:
    """A thousand time-outs come within a second, fifteen seconds after their requests."""
    bench = Bench()
    for client in range(2, 102):
        bench.read(bench.hook(client))
    while bench.turn():
        pass
    waiting, bench.http.waiting = bench.http.waiting, []
    for done in waiting[1:]:
        done(Answer(None, AttemptResult.TIMEOUT, b"", None, 15.0))
    waiting[0](OK)
    taken = []
    for _ in range(4):
        before = len(bench.attempts.results)
        bench.turn()
        taken.append(bench.attempts.results[before:])
    assert [results.count("delivered") for results in taken] == [1, 0, 0, 0]
    assert [results.count("timeout") for results in taken] == [32, 32, 32, 3]
