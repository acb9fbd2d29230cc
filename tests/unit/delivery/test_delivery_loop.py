"""The order of a turn, and of what happens to a partition that is given away, lost, or has to wait for the table."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.delivery.worker import delivery_loop
from hookstream.processors.delivery.worker.delivery_loop import DeliveryLoop, LoopParts
from hookstream.processors.delivery.worker.internal_errors import InternalErrors
from hookstream.processors.metrics import Metrics
from tests.support.judging import Attempts, Builder, Http
from tests.support.partition_bench import Message, PartitionBench, given

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

OK = Answer(204, None, b"", None, 0.01)


class Committing:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.fenced = False
        self.calls: list[str] = []
        self.of_parts: Callable[[Any], None] = lambda _: None

    def own(self, owned: Any) -> None:
        self.owned = owned

    def soon(self) -> None:
        self.calls.append("soon")

    def prove(self) -> None:
        self.calls.append("prove")
        self.fenced = True

    def close(self) -> None:
        self.calls.append("close")

    async def last_commits(self, part: Any, _ends: float) -> list[Any]:
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
        monkeypatch.setattr(
            delivery_loop, "time", SimpleNamespace(monotonic=lambda: self.monotonic, time_ns=time.time_ns)
        )
        self.committing, self.http, self.failures = Committing(), CancellableHttp(), list[Exception]()
        self.ready = True
        metrics = Metrics()
        self.loop = DeliveryLoop(
            LoopParts(
                shared=self.parts,
                dispatcher=self.dispatcher,
                http=self.http,  # type: ignore[arg-type]
                requests=Builder(),  # type: ignore[arg-type]
                attempts=SimpleNamespace(add=Attempts().add, flush=lambda: None, poll=lambda: None, dropped=0),  # type: ignore[arg-type]
                spans=None,
                committing=self.committing,  # type: ignore[arg-type]
                sweep=SimpleNamespace(close=lambda: None, look=lambda _: None),  # type: ignore[arg-type]
                metrics=metrics,
                internal_errors=InternalErrors(metrics),
                table_ready=lambda _: self.ready,
                failed=self.failures.append,
                drain_timeout_s=drain_timeout_s,
            ),
            asyncio.get_running_loop(),
        )
        self.loop.readers = SimpleNamespace(forget=lambda _: None, plan=lambda _: False)  # type: ignore[assignment]

    def own(self, partition: int) -> Any:
        """Take a partition over, with a record of two resources in its inbox."""
        assigned = given(partition)
        for offset, value in enumerate((b"%d" % partition, b"1%d" % partition)):
            assigned.inboxes[LIVE].messages.append(Message(offset, value))  # type: ignore[arg-type]
            assigned.inboxes[LIVE].given += 1
        self.loop._take_over([assigned])
        return self.loop.partitions.get(partition)

    def have_turn(self) -> None:
        self.loop._turn()

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


def test_a_loop_that_had_no_turn_for_long_sends_nothing_before_a_commit_proved_that_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(bench: Bench) -> None:
        bench.own(3)
        bench.monotonic += delivery_loop._AWAY_S + 1
        bench.have_turn()
        assert bench.committing.calls.count("prove") == 1
        assert not bench.http.waiting, "not even in the turn that noticed it"
        bench.monotonic += 0.1
        bench.have_turn()
        assert not bench.http.waiting
        assert bench.loop._timer is not None
        assert bench.loop._timer_at <= bench.monotonic + delivery_loop._LOOK_AGAIN_S, "it looks again by itself"
        bench.committing.fenced = False
        bench.have_turn()
        assert len(bench.http.waiting) == 2

    on_loop(monkeypatch, run)


def test_housekeeping_does_not_hide_that_the_loop_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its timer may be the first thing that runs when a process wakes up."""

    async def run(bench: Bench) -> None:
        bench.own(3)
        bench.monotonic += delivery_loop._AWAY_S + 1
        bench.committing.keep = bench.committing.bury_tombstones = lambda: None  # type: ignore[attr-defined]
        bench.committing.metadata_characters = 0  # type: ignore[attr-defined]
        bench.loop.house.cancel()
        bench.loop._keep_house()
        bench.have_turn()
        assert "prove" in bench.committing.calls

    on_loop(monkeypatch, run)


def test_a_partition_begins_when_the_table_is_read_as_far_as_its_last_owner_s(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(bench: Bench) -> None:
        bench.ready = False
        assert bench.own(3) is None
        bench.have_turn()
        assert not bench.http.waiting
        assert bench.loop.waiting_for_table
        bench.ready = True
        bench.loop.start_waiting()
        bench.have_turn()
        assert len(bench.http.waiting) == 2

    on_loop(monkeypatch, run)


def test_a_partition_that_is_taken_away_while_it_waits_for_the_table_never_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(bench: Bench) -> None:
        for take in (bench.loop.give_away, bench.loop._drop_all):
            bench.ready = False
            bench.own(3)
            await take([3])
            bench.ready = True
            bench.loop.start_waiting()
            assert not bench.loop.partitions

    on_loop(monkeypatch, run)


def test_a_partition_is_given_away_when_what_was_in_flight_is_answered_and_nothing_is_sent_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(bench: Bench) -> None:
        leaving, staying = bench.own(3), bench.own(4)
        bench.have_turn()
        assert len(bench.http.waiting) == 4
        offsets: list[int] = []
        bench.committing.of_parts = lambda part: offsets.append(part.views[LIVE].snapshot().offset)
        giving = asyncio.ensure_future(bench.loop.give_away([3]))
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
        assert list(bench.loop.partitions) == [4]
        assert len(bench.http.waiting) == 1, "the other one goes on"

    on_loop(monkeypatch, run)


def test_what_is_not_answered_when_the_drain_s_time_is_over_is_cancelled_and_owed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(bench: Bench) -> None:
        bench.own(3)
        bench.have_turn()
        offsets: list[int] = []
        bench.committing.of_parts = lambda part: offsets.append(part.views[LIVE].snapshot().offset)
        assert await bench.loop.give_away([3]) == [3]
        assert offsets == [0]
        assert bench.http.cancelled == 2
        bench.answer_all()
        bench.have_turn()  # an answer that comes now belongs to no request

    on_loop(monkeypatch, run, drain_timeout_s=0.01)


def test_a_lost_partition_is_dropped_at_once_and_says_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(bench: Bench) -> None:
        part = bench.own(3)
        bench.have_turn()
        await bench.loop._drop_all([3])
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
        monkeypatch.setattr(part.engine, "answer", lambda *_: 1 / 0)
        bench.answer_all()
        bench.have_turn()
        assert [type(error) for error in bench.failures] == [ZeroDivisionError]
        bench.loop.abandon_all()
        assert part.gone
        assert "close" in bench.committing.calls
        assert await bench.loop.give_away([3]) == []

    on_loop(monkeypatch, run)


def test_a_worker_that_fails_does_not_wait_for_answers_of_what_it_was_giving_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(bench: Bench) -> None:
        bench.own(3)
        bench.have_turn()
        giving = asyncio.ensure_future(bench.loop.give_away([3]))
        await asyncio.sleep(0)
        bench.loop.abandon_all()
        async with asyncio.timeout(5):
            assert await giving == []
        assert bench.http.cancelled == 2

    on_loop(monkeypatch, run, drain_timeout_s=3600)
