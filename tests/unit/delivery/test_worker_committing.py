"""When a worker commits, and when it must not send because it cannot."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hookstream.processors.deadline import Deadline
from hookstream.processors.delivery.checkpoints.commit_metadata import decode_metadata, log_digest, table_digest
from hookstream.processors.delivery.checkpoints.commit_state import SendCommit, StreamCommits
from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity
from hookstream.processors.delivery.checkpoints.state_codec import StateKey, decode_state
from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE, PartitionState, Snapshot, StoredCursor
from hookstream.processors.delivery.worker import committing, state_writer
from hookstream.processors.delivery.worker.commit_fence import FENCED_AFTER_S
from hookstream.processors.delivery.worker.committing import REPEAT_EVERY_S, CommitDeps, Committing
from hookstream.processors.delivery.worker.state_writer import StateWriter
from tests.support.in_loop import in_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import TopicPartition

IDENTITY = LogIdentity(log_digest("c", "t"), table_digest("s"))
PENDING = PartitionState((StoredCursor(7, "1", "a", None, 0, (), 0),))


class View:
    def __init__(self) -> None:
        self.offset, self.state = 0, EMPTY_STATE

    def progress(self) -> tuple[int, bytes]:
        return self.offset, b""

    def cursors(self) -> list[tuple[int, str | None]]:
        return [(cursor.hook_id, cursor.resource) for cursor in self.state.cursors]

    def snapshot(self) -> Snapshot:
        return Snapshot(self.offset, b"", self.state)


def commits_of(views: tuple[View, View], *, uncommitted: int, begun_at: float) -> Any:
    return SimpleNamespace(
        uncommitted=uncommitted,
        begun_at=begun_at,
        acknowledged=asyncio.Event(),
        streams=(StreamCommits(offset=0), StreamCommits(offset=0)),
        views=views,
    )


class Bench:
    """One partition, and a Kafka that answers when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.woken: list[float] = []
        self.sent: list[tuple[list[TopicPartition], Callable[[str | None], None]]] = []
        self.written: list[tuple[bytes | None, bytes | None, Callable[[int | None], None]]] = []
        self.views = (View(), View())
        self.part: Any = SimpleNamespace(
            index=3,
            gone=False,
            commits=commits_of(self.views, uncommitted=0, begun_at=0.0),
        )
        self.owned: list[Any] = [self.part]
        topics = ("deliveries", "deliveries.replay")
        self.states = StateWriter(
            SimpleNamespace(write=self._write),  # type: ignore[arg-type]
            topics=topics,
            state_topic="delivery-state",
            monotonic_s=lambda: self.now,
        )
        deps = CommitDeps(
            owned=self.owned,
            topics=topics,
            identities=(IDENTITY, IDENTITY),
            states=self.states,
            send=lambda offsets, committed: self.sent.append((offsets, committed)),
            table_offset=lambda: 11,
            wake=lambda: self.woken.append(self.now),
            monotonic_s=lambda: self.now,
        )
        self.committing = Committing(deps)

    def deadline(self, within_s: float) -> Deadline:
        return Deadline.after(within_s, lambda: self.now)

    def is_fenced(self) -> bool:
        return self.committing.fenced

    def _write(self, topic: str, key: bytes, value: bytes | None, written: Any, *, partition: int) -> None:
        assert (topic, partition) == ("delivery-state", 3)
        self.written.append((key, value, written))

    def deliver(self, records: int = 1) -> None:
        self.views[0].offset += records
        self.part.commits.uncommitted += records
        self.committing.soon()

    async def tick(self) -> None:
        """Have the tick of the committing's timer now."""
        if self.committing._timer is not None:
            self.committing._timer.cancel()
        self.committing._tick()
        await asyncio.sleep(0)

    async def answer(self, failure: str | None = None) -> list[TopicPartition]:
        offsets, committed = self.sent.pop(0)
        committed(failure)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return offsets


@in_loop
async def test_fifty_settlements_are_committed_at_once_and_few_after_a_second() -> None:
    bench = Bench()
    bench.part.commits.begun_at = bench.now
    bench.deliver(49)
    await bench.tick()
    assert not bench.sent
    bench.deliver(1)
    await bench.tick()
    (live,) = await bench.answer()
    assert (live.topic, live.partition, live.offset) == ("deliveries", 3, 50)
    found = decode_metadata(live.metadata)
    assert found is not None
    assert (found.table_offset, found.log_digest) == (11, IDENTITY.log_digest)
    bench.deliver(1)
    await bench.tick()
    assert not bench.sent
    bench.now += 1.0
    await bench.tick()
    assert (await bench.answer())[0].offset == 51


@in_loop
async def test_fifty_settlements_of_all_partitions_together_are_committed_in_one_request() -> None:
    bench = Bench()
    other = View()
    second: Any = SimpleNamespace(
        index=4,
        gone=False,
        commits=commits_of((other, View()), uncommitted=20, begun_at=bench.now),
    )
    other.offset = 20
    bench.part.commits.begun_at = bench.now
    bench.owned.append(second)
    bench.deliver(29)
    await bench.tick()
    assert not bench.sent
    bench.deliver(1)
    await bench.tick()
    assert [(tp.partition, tp.offset) for tp in await bench.answer()] == [(3, 30), (4, 20)]


@in_loop
async def test_one_request_is_under_way_at_a_time() -> None:
    bench = Bench()
    bench.deliver(60)
    await bench.tick()
    bench.deliver(60)
    await bench.tick()
    assert len(bench.sent) == 1
    assert (await bench.answer())[0].offset == 60
    await bench.tick()
    assert (await bench.answer())[0].offset == 120


@in_loop
async def test_a_state_is_acknowledged_before_the_commit_that_points_to_it() -> None:
    bench = Bench()
    bench.views[0].state = PENDING
    bench.deliver(60)
    await bench.tick()
    assert not bench.sent
    ((key, value, written),) = bench.written
    state_key = StateKey.decode(key)
    assert state_key is not None
    assert (state_key.topic, state_key.partition) == ("deliveries", 3)
    assert value is not None
    assert decode_state(value) == PENDING
    written(77)
    (live,) = await bench.answer()
    found = decode_metadata(live.metadata)
    assert found is not None
    assert found.pointer is not None
    assert (found.pointer.id, found.pointer.first_offset) == (state_key.state_id, 77)


@in_loop
async def test_a_state_that_is_acknowledged_while_a_request_is_under_way_waits_for_its_answer() -> None:
    """Of two under way, the answer to the older one would end a fence that began after it was sent."""
    bench = Bench()
    bench.views[0].state = PENDING
    bench.views[1].offset = 60
    bench.deliver(60)
    await bench.tick()
    ((_, _, written),) = bench.written
    written(77)
    assert len(bench.sent) == 1
    assert [(tp.topic, tp.offset) for tp in await bench.answer()] == [("deliveries.replay", 60)]
    assert [(tp.topic, tp.offset) for tp in await bench.answer()] == [("deliveries", 60)]


@in_loop
async def test_a_burst_just_after_a_start_waits_for_no_second_because_an_endpoint_fell_ill_in_it() -> None:
    bench = Bench()
    bench.deliver(60)
    await bench.tick()
    assert (await bench.answer())[0].offset == 60
    bench.now += 0.1
    bench.views[0].state = PENDING
    bench.deliver(600)
    await bench.tick()
    ((_, _, written),) = bench.written
    written(77)
    assert (await bench.answer())[0].offset == 660, "what a kill would repeat"


@in_loop
async def test_a_replaced_state_gets_tombstones_an_hour_after_the_commit_that_replaced_it() -> None:
    bench = Bench()
    bench.views[0].state = PENDING
    bench.deliver(60)
    await bench.tick()
    key, _, written = bench.written.pop()
    written(77)
    await bench.answer()
    bench.views[0].state = EMPTY_STATE
    bench.now += 2.0
    bench.deliver(60)
    await bench.tick()
    await bench.answer()
    bench.now += 3600 - 1
    bench.states.write_due_tombstones()
    assert not bench.written
    bench.now += 2
    bench.states.write_due_tombstones()
    bench.states.write_due_tombstones()
    assert [(k, v) for k, v, _ in bench.written] == [(key, None)]


@in_loop
async def test_half_a_minute_without_a_successful_commit_stops_dispatch_until_one_succeeds() -> None:
    bench = Bench()
    bench.deliver(60)
    await bench.tick()
    bench.now += FENCED_AFTER_S - 1
    assert not bench.is_fenced()
    await bench.answer("unknown member")
    bench.now += 2
    assert bench.is_fenced(), "failing is not succeeding"
    await bench.tick()
    await bench.answer()
    assert not bench.is_fenced()


@in_loop
async def test_an_idle_worker_says_the_same_again_and_so_hears_when_it_is_forgotten() -> None:
    bench = Bench()
    bench.deliver(60)
    await bench.tick()
    await bench.answer()
    for _ in range(5):
        bench.now += REPEAT_EVERY_S
        bench.committing.repeat_idle()
        await bench.tick()
        assert {(tp.topic, tp.offset) for tp in await bench.answer()} == {
            ("deliveries", 60),
            ("deliveries.replay", 0),
        }
        assert not bench.is_fenced()
    for _ in range(4):
        bench.now += REPEAT_EVERY_S
        bench.committing.repeat_idle()
        await bench.tick()
    assert bench.is_fenced(), "Kafka does not answer, and perhaps another worker delivers"
    await bench.answer()
    assert not bench.is_fenced()


@in_loop
async def test_a_worker_that_owned_nothing_for_long_begins_unfenced() -> None:
    bench = Bench()
    bench.owned.clear()
    bench.now += 3600
    bench.committing.repeat_idle()
    bench.owned.append(bench.part)
    assert not bench.is_fenced()


@in_loop
async def test_a_worker_that_was_suspended_checks_that_it_still_owns_before_it_sends() -> None:
    bench = Bench()
    bench.committing.require_commit()
    assert bench.committing.fenced
    await bench.tick()
    assert {tp.topic for tp in await bench.answer()} == {"deliveries", "deliveries.replay"}
    assert not bench.is_fenced()


@in_loop
async def test_giving_away_writes_the_last_state_and_returns_the_last_commits() -> None:
    bench = Bench()
    bench.deliver(60)
    await bench.tick()
    bench.views[0].state = PENDING
    bench.deliver(3)
    giving = asyncio.ensure_future(bench.committing.last_commits(bench.part, bench.deadline(5)))
    await asyncio.sleep(0)
    _, _, written = bench.written.pop()
    written(5)
    (live,) = await giving
    assert live.offset == 63
    found = decode_metadata(live.metadata)
    assert found is not None
    assert found.pointer is not None


@in_loop
async def test_giving_away_does_not_wait_for_ever_for_a_state() -> None:
    bench = Bench()
    bench.views[0].state = PENDING
    bench.deliver(3)
    assert await bench.committing.last_commits(bench.part, bench.deadline(0.05)) == []


@in_loop
async def test_the_answer_to_a_commit_from_before_the_suspension_does_not_end_the_fence() -> None:
    """It says who owned the partitions then. Who owns them now says the next one."""
    bench = Bench()
    bench.deliver(60)
    await bench.tick()
    bench.committing.require_commit()
    await bench.answer()
    assert bench.is_fenced()
    assert not bench.woken
    await bench.tick()
    await bench.answer()
    assert not bench.is_fenced()
    assert bench.woken


@in_loop
async def test_a_failed_commit_does_not_end_the_fence() -> None:
    bench = Bench()
    bench.committing.require_commit()
    await bench.tick()
    await bench.answer("unknown member")
    assert bench.is_fenced()
    await bench.tick()
    await bench.answer()
    assert not bench.is_fenced()


@in_loop
async def test_a_commit_that_failed_is_sent_again_by_itself() -> None:
    bench = Bench()
    bench.deliver(60)
    await bench.tick()
    first = await bench.answer("broker transport failure")
    bench.now += 1.0
    timer = bench.committing._timer
    assert timer is not None, "nothing else happens: no record, no answer"
    await bench.tick()
    assert [tp.offset for tp in await bench.answer()] == [tp.offset for tp in first] == [60]
    bench.now += 1.0
    await bench.tick()
    assert not bench.sent, "once it succeeded there is nothing to say"


def two_chunks(monkeypatch: Any) -> None:
    monkeypatch.setattr(state_writer, "chunks_of", lambda whole: [whole[:1], whole[1:]])


def test_a_state_is_pointed_to_when_every_chunk_of_it_is_acknowledged(monkeypatch: Any) -> None:
    two_chunks(monkeypatch)

    async def run() -> None:
        bench = Bench()
        bench.views[0].state = PENDING
        bench.deliver(60)
        await bench.tick()
        (_, _, first), (_, _, second) = bench.written
        second(78)
        await asyncio.sleep(0)
        assert not bench.sent
        first(77)
        (live,) = await bench.answer()
        found = decode_metadata(live.metadata)
        assert found is not None
        assert found.pointer is not None
        assert (found.pointer.chunks, found.pointer.first_offset, found.pointer.last_offset) == (2, 77, 78)

    asyncio.run(run())


def test_a_state_of_which_kafka_refuses_a_chunk_is_written_again_and_never_pointed_to(monkeypatch: Any) -> None:
    two_chunks(monkeypatch)

    async def run() -> None:
        bench = Bench()
        bench.views[0].state = PENDING
        bench.deliver(60)
        await bench.tick()
        (old, _, first), (_, _, second) = bench.written
        bench.written.clear()
        first(None)
        second(78)
        await asyncio.sleep(0)
        assert not bench.sent
        assert bench.committing._timer is not None, "by itself"
        bench.now += 1.0
        await bench.tick()
        (new, _, first), (_, _, second) = bench.written
        assert old != new
        first(80)
        second(81)
        (live,) = await bench.answer()
        found = decode_metadata(live.metadata)
        assert found is not None
        assert found.pointer is not None
        assert found.pointer.first_offset == 80

    asyncio.run(run())


@in_loop
async def test_nothing_is_committed_of_a_partition_that_is_gone() -> None:
    bench = Bench()
    bench.views[0].state = PENDING
    bench.deliver(60)
    await bench.tick()
    _, _, written = bench.written.pop()
    bench.part.gone = True
    written(77)
    await bench.tick()
    assert not bench.sent


@in_loop
async def test_what_is_ready_when_a_partition_goes_is_not_committed() -> None:
    bench = Bench()
    bench.deliver(60)
    await bench.tick()
    bench.committing._ready = [committing._Sent(bench.part, LIVE, SendCommit(70, b"", None, 11))]
    bench.part.gone = True
    await bench.answer()
    assert not bench.sent


@in_loop
async def test_the_answer_for_a_partition_that_is_gone_deletes_no_state_of_it() -> None:
    """Its next owner may point to the state that this commit replaced, if the commit came too late."""
    bench = Bench()
    bench.views[0].state = PENDING
    bench.deliver(60)
    await bench.tick()
    bench.written.pop()[2](77)
    await bench.answer()
    bench.views[0].state = EMPTY_STATE
    bench.now += 2.0
    bench.deliver(60)
    await bench.tick()
    bench.part.gone = True
    await bench.answer()
    bench.now += 2 * state_writer._TOMBSTONE_AFTER_S
    bench.states.write_due_tombstones()
    assert not bench.written


@in_loop
async def test_what_is_under_way_when_a_partition_is_given_away_is_replaced_by_the_last_word() -> None:
    bench = Bench()
    bench.deliver(60)
    await bench.tick()
    bench.deliver(3)
    assert [tp.offset for tp in await bench.committing.last_commits(bench.part, bench.deadline(5))] == [63]


@in_loop
async def test_one_partition_is_encoded_in_a_turn_of_the_loop_and_one_request_takes_all() -> None:
    bench = Bench()
    begun: list[int] = []

    class Counting(View):
        def __init__(self, index: int) -> None:
            super().__init__()
            self.offset, self.index = 10, index

        def snapshot(self) -> Snapshot:
            begun.append(self.index)
            return super().snapshot()

    bench.owned[:] = [
        SimpleNamespace(
            index=index,
            gone=False,
            commits=commits_of((Counting(index), View()), uncommitted=20, begun_at=bench.now),
        )
        for index in range(3)
    ]
    bench.committing._tick()
    seen = [len(begun)]
    bench.committing._tick()  # another look meanwhile begins nothing twice
    for _ in range(2):
        assert not bench.sent
        await asyncio.sleep(0)
        seen.append(len(begun))
    assert seen == [1, 2, 3]
    assert begun == [0, 1, 2]
    offsets = await bench.answer()
    assert sorted(tp.partition for tp in offsets if tp.topic == "deliveries") == [0, 1, 2]


@in_loop
async def test_a_partition_that_was_given_away_before_its_turn_is_not_committed() -> None:
    bench = Bench()
    parts = [
        SimpleNamespace(
            index=index, gone=False, commits=commits_of((View(), View()), uncommitted=50, begun_at=bench.now)
        )
        for index in range(2)
    ]
    for part in parts:
        part.commits.views[0].offset = 7
    bench.owned[:] = parts
    bench.committing._tick()
    parts[1].gone = True
    bench.owned.remove(parts[1])
    await asyncio.sleep(0)
    offsets = await bench.answer()
    assert {tp.partition for tp in offsets} == {0}
    assert parts[1].commits.streams[LIVE].idle
