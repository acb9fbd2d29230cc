"""The order of a turn, and of what happens to a partition that is given away, lost, or has to wait for the table."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.delivery.partitions.owned_partitions import OwnedPartitions
from hookstream.processors.delivery.worker import delivery_loop
from hookstream.processors.delivery.worker.catch_up_planner import CatchUpPlanner
from hookstream.processors.delivery.worker.delivery_loop import DeliveryLoop, LoopDeps
from hookstream.processors.delivery.worker.housekeeping import Housekeeping, HousekeepingDeps
from hookstream.processors.delivery.worker.internal_errors import InternalErrors
from hookstream.processors.delivery.worker.loop_clock import LoopClock
from hookstream.processors.delivery.worker.partition_handover import HandoverDeps, PartitionHandover
from hookstream.processors.delivery.worker.requests_in_flight import RequestDeps, Requesting
from hookstream.processors.delivery.worker.turns import SUSPENDED_AFTER_S, Turns
from hookstream.processors.metrics import Metrics
from tests.support.judging import Attempts, Builder, Http
from tests.support.partition_bench import Message, PartitionBench, given

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from hookstream.processors.deadline import Deadline

OK = Answer(204, None, b"", None, 0.01)


class Committing:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.fenced = False
        self.calls: list[str] = []
        self.of_parts: Callable[[Any], None] = lambda _: None

    def soon(self) -> None:
        self.calls.append("soon")

    def require_commit(self) -> None:
        self.calls.append("require")
        self.fenced = True

    def close(self) -> None:
        self.calls.append("close")

    async def last_commits(self, part: Any, _deadline: Deadline) -> list[Any]:
        self.of_parts(part)
        self.calls.append(f"last {part.index}")
        return [part.index]


class CancellableHttp(Http):
    """Takes requests, and notes which were cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = 0

    def post(self, *args: Any) -> Any:
        super().post(*args)

        def cancel() -> None:
            self.cancelled += 1

        return SimpleNamespace(cancel=cancel)


class Bench(PartitionBench):
    """A loop whose turns the test has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, drain_timeout_s: float = 5.0) -> None:
        super().__init__(monkeypatch)
        self.monotonic = 1000.0
        loop = asyncio.get_running_loop()
        self.committing, self.http, self.failures = Committing(), CancellableHttp(), list[Exception]()
        self.ready = True
        metrics = Metrics()
        committing: Any = self.committing
        http: Any = self.http
        builder: Any = Builder()
        attempts: Any = SimpleNamespace(add=Attempts().add, flush=lambda: None, poll=lambda: None, dropped=0)
        sweep: Any = SimpleNamespace(close=lambda: None, look=lambda _: None)
        states: Any = SimpleNamespace(write_due_tombstones=lambda: None)
        reading: Any = SimpleNamespace(forget=lambda _: None, plan=lambda _: False)
        clock = LoopClock(monotonic_s=lambda: self.monotonic)
        self.turns = Turns(loop, monotonic_s=lambda: self.monotonic)
        self.owned = OwnedPartitions()
        requests = Requesting(
            RequestDeps(
                dispatcher=self.dispatcher,
                http=http,
                builder=builder,
                attempts=attempts,
                lines=self.parts.lines,
                spans=None,
                metrics=metrics,
                internal_errors=InternalErrors(metrics),
            ),
            answered=self.turns.wake,
        )
        self.handover = PartitionHandover(
            HandoverDeps(
                shared=self.parts,
                partitions=self.owned,
                turns=self.turns,
                clock=clock,
                requests=requests,
                reading=reading,
                committing=committing,
                table_ready=lambda _: self.ready,
                drain_timeout_s=drain_timeout_s,
            )
        )
        self.housekeeping = Housekeeping(
            HousekeepingDeps(
                partitions=self.owned,
                turns=self.turns,
                clock=clock,
                attempts=attempts,
                committing=committing,
                states=states,
                sweep=sweep,
                metrics=metrics,
            ),
            loop,
        )
        self.loop = DeliveryLoop(
            LoopDeps(
                partitions=self.owned,
                turns=self.turns,
                clock=clock,
                dispatcher=self.dispatcher,
                requests=requests,
                attempts=attempts,
                committing=committing,
                planner=CatchUpPlanner(reading, self.owned, self.turns, loop),
                handover=self.handover,
                housekeeping=self.housekeeping,
                metrics=metrics,
                failed=self.failures.append,
            )
        )

    def own(self, partition: int) -> Any:
        """Take a partition over, with a record of two resources in its inbox."""
        assigned = given(partition)
        for offset, value in enumerate((b"%d" % partition, b"1%d" % partition)):
            assigned.inboxes[LIVE].messages.append(Message(offset, value))  # type: ignore[arg-type]
            assigned.inboxes[LIVE].given += 1
        self.handover.take_over([assigned])
        return self.owned.by_index.get(partition)

    def have_turn(self) -> None:
        self.turns.have()

    def answer_all(self, answer: Answer = OK) -> None:
        waiting, self.http.waiting = self.http.waiting, []
        for done in waiting:
            done(answer)


def on_loop(monkeypatch: pytest.MonkeyPatch, test: Callable[[Bench], Coroutine[Any, Any, None]], **kwargs: Any) -> None:
    async def main() -> None:
        bench = Bench(monkeypatch, **kwargs)
        try:
            await test(bench)
        finally:
            bench.loop.abandon_all()

    asyncio.run(main())


def test_a_loop_that_had_no_turn_for_long_sends_nothing_before_a_commit_shows_that_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(bench: Bench) -> None:
        bench.own(3)
        bench.monotonic += SUSPENDED_AFTER_S + 1
        bench.have_turn()
        assert bench.committing.calls.count("require") == 1
        assert not bench.http.waiting, "not even in the turn that noticed it"
        bench.monotonic += 0.1
        bench.have_turn()
        assert not bench.http.waiting
        assert bench.turns._timer is not None
        assert bench.turns._timer_at <= bench.monotonic + delivery_loop._LOOK_AGAIN_S, "it looks again by itself"
        bench.committing.fenced = False
        bench.have_turn()
        assert len(bench.http.waiting) == 2

    on_loop(monkeypatch, run)


def test_housekeeping_does_not_hide_that_the_loop_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its timer may be the first thing that runs when a process wakes up."""

    async def run(bench: Bench) -> None:
        bench.own(3)
        bench.monotonic += SUSPENDED_AFTER_S + 1
        bench.committing.repeat_idle = lambda: None  # type: ignore[attr-defined]
        bench.committing.metadata_characters = 0  # type: ignore[attr-defined]
        bench.housekeeping.close()
        bench.housekeeping._run()
        bench.have_turn()
        assert "require" in bench.committing.calls

    on_loop(monkeypatch, run)


def test_a_partition_begins_when_the_table_is_read_as_far_as_its_last_owner_s(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(bench: Bench) -> None:
        bench.ready = False
        assert bench.own(3) is None
        bench.have_turn()
        assert not bench.http.waiting
        assert bench.handover.waiting_for_table
        bench.ready = True
        bench.handover.start_waiting()
        bench.have_turn()
        assert len(bench.http.waiting) == 2

    on_loop(monkeypatch, run)


def test_a_partition_that_is_taken_away_while_it_waits_for_the_table_never_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(bench: Bench) -> None:
        for take in (bench.handover.give_away, bench.handover.drop_all):
            bench.ready = False
            bench.own(3)
            await take([3])
            bench.ready = True
            bench.handover.start_waiting()
            assert not bench.owned.by_index

    on_loop(monkeypatch, run)


def test_a_partition_is_given_away_when_what_was_in_flight_is_answered_and_nothing_is_sent_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(bench: Bench) -> None:
        leaving, staying = bench.own(3), bench.own(4)
        bench.have_turn()
        assert len(bench.http.waiting) == 4
        offsets: list[int] = []
        bench.committing.of_parts = lambda part: offsets.append(part.commits.views[LIVE].snapshot().offset)
        giving = asyncio.ensure_future(bench.handover.give_away([3]))
        await asyncio.sleep(0)
        for n in range(2, 6):
            leaving.inboxes[LIVE].messages.append(Message(n, b"3"))
            staying.inboxes[LIVE].messages.append(Message(n, b"4"))
        bench.have_turn()
        assert not giving.done()
        assert len(leaving.inboxes[LIVE].messages) == 4, "nothing more of it is read"
        bench.answer_all()
        bench.have_turn()
        assert await giving == [3]
        assert offsets == [2], "the answers count"
        assert bench.http.cancelled == 0
        assert (leaving.gone, staying.gone) == (True, False)
        assert list(bench.owned.by_index) == [4]
        assert len(bench.http.waiting) == 1, "the other one goes on"

    on_loop(monkeypatch, run)


def test_what_is_not_answered_when_the_drain_s_time_is_over_is_cancelled_and_owed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(bench: Bench) -> None:
        bench.own(3)
        bench.have_turn()
        offsets: list[int] = []
        bench.committing.of_parts = lambda part: offsets.append(part.commits.views[LIVE].snapshot().offset)
        assert await bench.handover.give_away([3]) == [3]
        assert offsets == [0]
        assert bench.http.cancelled == 2
        bench.answer_all()
        bench.have_turn()  # an answer that comes now belongs to no request

    on_loop(monkeypatch, run, drain_timeout_s=0.01)


def test_a_lost_partition_is_dropped_at_once_and_says_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(bench: Bench) -> None:
        part = bench.own(3)
        bench.have_turn()
        await bench.handover.drop_all([3])
        assert part.gone
        assert bench.http.cancelled == 2
        assert not any(call.startswith("last") for call in bench.committing.calls)
        assert bench.dispatcher.in_flight == 0

    on_loop(monkeypatch, run)


def test_a_turn_that_raises_ends_the_worker_which_says_nothing_more_of_its_partitions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An engine that raised in the middle of a change would commit a state that is wrong."""

    async def run(bench: Bench) -> None:
        part = bench.own(3)
        bench.have_turn()
        bench.random = lambda: 1 / 0  # asked for by the engine, between two steps of a retry
        bench.answer_all(Answer(503, None, b"", None, 0.01))
        bench.have_turn()
        assert [type(error) for error in bench.failures] == [ZeroDivisionError]
        bench.loop.abandon_all()
        assert part.gone
        assert "close" in bench.committing.calls
        assert await bench.handover.give_away([3]) == []

    on_loop(monkeypatch, run)


def test_a_worker_that_fails_does_not_wait_for_answers_of_what_it_was_giving_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(bench: Bench) -> None:
        bench.own(3)
        bench.have_turn()
        giving = asyncio.ensure_future(bench.handover.give_away([3]))
        await asyncio.sleep(0)
        bench.loop.abandon_all()
        async with asyncio.timeout(5):
            assert await giving == []
        assert bench.http.cancelled == 2

    on_loop(monkeypatch, run, drain_timeout_s=3600)
