"""What a worker waits for, in which order it ends, and which exceptions end it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors.delivery.checkpoints.commit_metadata import (
    CommitMetadata,
    StatePointer,
    log_digest,
    table_digest,
)
from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting, StreamStarting
from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity, StartAt
from hookstream.processors.delivery.checkpoints.state_codec import StateKey
from hookstream.processors.delivery.engine.model import LIVE, REPLAY
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE
from hookstream.processors.delivery.partitions.catch_up_reading import CatchUpReading
from hookstream.processors.delivery.partitions.log_reader import Chunk
from hookstream.processors.delivery.partitions.schema_fetcher import SchemaFetcher
from hookstream.processors.delivery.worker import state_sweep
from hookstream.processors.delivery.worker.failure import Failure
from hookstream.processors.delivery.worker.internal_errors import InternalErrors
from hookstream.processors.delivery.worker.state_sweep import StateSweep
from hookstream.processors.delivery.worker.worker import RunningWorker
from hookstream.processors.delivery.worker.worker_tables import WorkerTables
from hookstream.processors.errors import KafkaUnavailableError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.schemas.topics import TopicNames

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTITY = LogIdentity(log_digest("c", "t"), table_digest("s"))
METADATA = CommitMetadata(log_digest=IDENTITY.log_digest, table_digest=IDENTITY.table_digest, table_offset=50)


def tables_read_to(offset: int, *, resynced: str | None = None) -> WorkerTables:
    """The tables of a worker whose topic ended at 100 when it began."""
    loop: Any = None
    kafka = KafkaConfig(bootstrap_servers="127.0.0.1:1")
    tables = WorkerTables(kafka, TopicNames(), lambda _: "", loop, failed=lambda _: None)
    tables.rows.advance(offset)
    tables.rows.resynced_topic_id = resynced
    tables.rows_reader.bounds, tables.rows_reader.topic_id = {0: (0, 100)}, "s"
    return tables


def starting(live: CommitMetadata | None, replay: CommitMetadata | None = None) -> PartitionStarting:
    streams = [StreamStarting(StartAt(0, 0, metadata), EMPTY_STATE) for metadata in (live, replay)]
    return PartitionStarting(3, (streams[0], streams[1]))


class TestTheTable:
    """A worker that knows less than its predecessor did would send to a target of long ago."""

    @pytest.mark.parametrize(
        ("read_to", "live", "replay", "ready"),
        [
            (100, METADATA, METADATA, True),
            (99, METADATA, None, False),  # not yet what was there when this worker began
            (100, None, None, True),
            (100, replace(METADATA, table_offset=100), None, True),
            (100, replace(METADATA, table_offset=101), None, False),
            (100, METADATA, replace(METADATA, table_offset=101), False),
        ],
    )
    def test_a_partition_waits_until_it_is_read_to_both_ends(
        self, read_to: int, live: CommitMetadata | None, replay: CommitMetadata | None, ready: bool
    ) -> None:
        tables = tables_read_to(read_to)
        assert tables.know_enough_for(starting(live, replay), (IDENTITY, IDENTITY)) == ready

    @pytest.mark.parametrize(("resynced", "ready"), [(None, False), ("another", False), ("s", True)])
    def test_another_topic_of_this_name_is_no_table_before_its_end_mark(
        self, resynced: str | None, ready: bool
    ) -> None:
        tables = tables_read_to(100, resynced=resynced)
        old = replace(METADATA, table_digest=table_digest("of before"), table_offset=10_000)
        assert tables.know_enough_for(starting(old), (IDENTITY, IDENTITY)) == ready


class TestItsEnd:
    def test_nothing_is_handed_over_then_everything_given_away_then_the_group_left(self) -> None:
        done: list[Any] = []

        async def give_away(partitions: list[int]) -> list[str]:
            done.append(("give away", partitions))
            return ["commit"]

        deps, parts = SimpleNamespace(health=Health()), SimpleNamespace()
        parts.poll_requests = SimpleNamespace(
            drain=lambda: done.append("drain"), finish=lambda commits: done.append(("finish", commits))
        )
        parts.partitions, parts.handover = SimpleNamespace(by_index={3: None}), SimpleNamespace(give_away=give_away)
        asyncio.run(RunningWorker(SimpleNamespace(), deps, parts)._finish())  # type: ignore[arg-type]
        assert done == ["drain", ("give away", [3]), ("finish", ["commit"])]
        assert not deps.health.ready

    def test_the_first_error_counts_and_at_once_nothing_more_is_sent_or_committed(self) -> None:
        async def main() -> None:
            abandoned: list[int] = []
            failure = Failure(asyncio.get_running_loop(), InternalErrors(Metrics()))
            failure.listen(lambda: abandoned.append(1))
            first = ValueError()
            failure.fail(first)
            assert abandoned == [1]
            failure.fail(KeyError())
            assert failure.ended.exception() is first
            assert abandoned == [1]

        asyncio.run(main())

    @pytest.mark.parametrize(
        ("context", "where"),
        [
            ({"transport": 1, "protocol": 2}, "connection"),
            ({"protocol": 2}, "connection"),
            ({"task": 3}, "task"),
            ({"future": 3}, "task"),
            ({"handle": 4}, None),
            ({}, None),
        ],
    )
    def test_an_uncaught_exception_ends_what_hangs_on_it(self, context: dict[str, Any], where: str | None) -> None:
        reported: list[str] = []
        error = ValueError()

        async def main() -> BaseException | None:
            loop = asyncio.get_running_loop()
            errors: Any = SimpleNamespace(report=lambda where, _: reported.append(where))
            failure = Failure(loop, errors)
            failure.take_uncaught(loop, {"message": "x", "exception": error, **context})
            return failure.ended.exception() if failure.ended.done() else None

        failed = asyncio.run(main())
        assert reported == ([] if where is None else [where])
        assert failed is (error if where is None else None)


NOW_MS = 1_790_000_000_000
OLD, YOUNG = NOW_MS - state_sweep._OLD_MS - 1, NOW_MS - state_sweep._OLD_MS + 1


class TestSweeping:
    def sweep(self, monkeypatch: pytest.MonkeyPatch, *, owner: bool = True, read: Any = None) -> list[bytes]:
        """Look through four states; give the ids of those that get tombstones."""
        keys = {
            StateKey("deliveries", 3, state_id, 0): written
            for state_id, written in ((b"pointed!", OLD), (b"replays!", OLD), (b"orphaned", OLD), (b"underway", YOUNG))
        }
        removed: list[bytes] = []

        async def main() -> None:
            part: Any = SimpleNamespace(
                index=3,
                gone=False,
                commits=SimpleNamespace(
                    uncommitted=0,
                    acknowledged=asyncio.Event(),
                    streams=tuple(
                        SimpleNamespace(pointed=StatePointer(state_id, 1, 0, 0), forget_commit=lambda: None)
                        for state_id in (b"pointed!", b"replays!")
                    ),
                ),
            )
            committing: Any = SimpleNamespace(soon=part.commits.acknowledged.set if owner else lambda: None)
            states: Any = SimpleNamespace(write_tombstone=lambda key: removed.append(key.state_id))
            sweep = StateSweep(
                KafkaConfig(bootstrap_servers="127.0.0.1:1"),
                topics=("deliveries", "deliveries.replay"),
                state_topic="delivery-state",
                committing=committing,
                states=states,
            )
            monkeypatch.setattr(sweep, "_read", read or (lambda _: keys))
            monkeypatch.setattr(state_sweep, "_CONFIRM_WITHIN_S", 0.01)
            monkeypatch.setattr(state_sweep, "now_ms", lambda: NOW_MS)
            await sweep._sweep(part)

        asyncio.run(main())
        return removed

    def test_only_what_is_old_and_not_pointed_to_is_removed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.sweep(monkeypatch) == [b"orphaned"]

    def test_nothing_is_removed_before_a_commit_shows_who_owns_the_partition(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker that was suspended would remove its successor's state."""
        assert self.sweep(monkeypatch, owner=False) == []

    def test_states_that_cannot_be_read_are_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(_: int) -> Any:
            raise KafkaUnavailableError("away")

        assert self.sweep(monkeypatch, read=away) == []


class Reader:
    """A log reader that notes what it is asked."""

    def __init__(self, deliver: Callable[[Chunk], None]) -> None:
        self.deliver = deliver
        self.asked: list[tuple[str, Any]] = []

    def start(self) -> None:
        pass

    def read(self, _key: Any, start: int) -> None:
        self.asked.append(("read", start))

    def leave(self, key: Any) -> None:
        self.asked.append(("leave", key))


class TestReadingForCursors:
    KEY = ("deliveries", 3)

    def bench(self) -> tuple[CatchUpReading, dict[str, Reader], Any]:
        readers: dict[str, Reader] = {}

        def make(name: str, deliver: Callable[[Chunk], None]) -> Any:
            readers[name] = Reader(deliver)
            return readers[name]

        reading = CatchUpReading(("deliveries", "deliveries.replay"), make, fed=lambda _: None)
        part: Any = SimpleNamespace(index=3, gone=False, fed=[])

        def plan(stream: int, *, at: int | None = None, near: bool | None = None) -> int | None:
            del at
            return 10 if stream == LIVE and near is not False else None

        part.engine = SimpleNamespace(plan=plan, lose_below=lambda *_: 7)
        part.feed = lambda _stream, chunk, fed: part.fed.append((chunk, fed))
        return reading, readers, part

    async def arrive(self, reader: Reader, chunk: Chunk) -> None:
        reader.deliver(chunk)
        await asyncio.sleep(0)

    def test_one_chunk_at_a_time_is_read_for_a_place_and_the_next_when_the_engine_has_it(self) -> None:
        async def main() -> None:
            reading, readers, part = self.bench()
            for _ in range(3):
                assert reading.plan(part)
            assert readers["near"].asked == [("read", 10)]
            await self.arrive(readers["near"], Chunk(self.KEY, 10, 20, ()))
            assert len(readers["near"].asked) == 1, "its dead letters may not be acknowledged yet"
            part.fed[0][1]()
            assert len(readers["near"].asked) == 2

        asyncio.run(main())

    def test_an_engine_that_wants_nothing_is_asked_once_for_both_readers_which_leave(self) -> None:
        async def main() -> None:
            reading, readers, part = self.bench()
            reading.plan(part)
            await self.arrive(readers["near"], Chunk(self.KEY, 10, 20, ()))
            asked: list[int] = []
            part.engine.plan = lambda stream, **_: asked.append(stream)
            part.fed[0][1]()
            asked.clear()
            assert not reading.plan(part)
            assert asked == [LIVE, REPLAY]
            assert readers["near"].asked[-1] == ("leave", self.KEY)
            assert readers["near"].asked.count(("leave", self.KEY)) == 1

        asyncio.run(main())

    def test_what_was_read_for_a_partition_that_was_given_away_reaches_no_engine(self) -> None:
        async def main() -> None:
            reading, readers, part = self.bench()
            reading.plan(part)
            reading.forget(part)
            assert ("leave", self.KEY) in readers["near"].asked
            await self.arrive(readers["near"], Chunk(self.KEY, 10, 20, ()))
            assert not part.fed

        asyncio.run(main())

    def test_what_is_read_for_a_worker_that_has_failed_reaches_no_engine(self) -> None:
        async def main() -> None:
            reading, readers, part = self.bench()
            reading.plan(part)
            part.gone = True
            await self.arrive(readers["near"], Chunk(self.KEY, 10, 20, ()))
            assert not part.fed

        asyncio.run(main())

    def test_a_chunk_that_was_asked_for_before_the_partition_came_back_is_fed_once(self) -> None:
        async def main() -> None:
            reading, readers, part = self.bench()
            reading.plan(part)
            await self.arrive(readers["near"], Chunk(self.KEY, 10, 20, ()))
            reading.forget(part)
            _, _, again = self.bench()
            reading.plan(again)
            asked = len(readers["near"].asked)
            part.fed[0][1]()  # the first owner's dead letters are acknowledged only now
            assert len(readers["near"].asked) == asked
            assert (True, self.KEY) in reading._requests, "the chunk of the new owner is still awaited"

        asyncio.run(main())

    def test_what_retention_took_is_counted_and_reading_goes_on(self) -> None:
        async def main() -> None:
            reading, readers, part = self.bench()
            reading.plan(part)
            await self.arrive(readers["near"], Chunk(self.KEY, 10, 10, (), low=17))
            assert reading.expired == 7
            assert len(readers["near"].asked) == 2

        asyncio.run(main())


class TestSchemas:
    def test_what_needs_a_schema_waits_until_the_registry_gives_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[int] = []

        def fetch(schema_id: int) -> None:
            asked.append(schema_id)
            if len(asked) < 3:
                raise RegistryUnavailableError("away")

        async def main() -> None:
            monkeypatch.setattr("hookstream.processors.delivery.partitions.schema_fetcher._ASK_EVERY_S", 0.0)
            health, failed = Health(), list[Exception]()
            schemas: Any = SimpleNamespace(fetch=fetch)
            fetcher = SchemaFetcher(schemas, health=health, stop=StopSignal(), failed=failed.append)
            known = asyncio.Event()
            fetcher.fetch(9, known.set)
            async with asyncio.timeout(10):
                await known.wait()
            assert asked == [9, 9, 9]
            assert health.ready
            assert not failed

        asyncio.run(main())
