"""What the commits of one partition have said, and how much there is to say. The loop's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

from hookstream.processors.delivery.checkpoints.commit_state import CursorName, StreamCommits
from hookstream.processors.delivery.engine.model import LIVE, REPLAY, StreamIndex

if TYPE_CHECKING:
    from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting, StreamStarting
    from hookstream.processors.delivery.engine.engine import Engine
    from hookstream.processors.delivery.engine.partition_state import Snapshot


class PartitionCommits:
    """The commits of both streams of a partition, and what they are made of."""

    __slots__ = ("acknowledged", "begun_at", "streams", "uncommitted", "views")

    def __init__(self, starting: PartitionStarting, engine: Engine) -> None:
        """Start with what was committed."""
        live, replay = (_commits_from(stream) for stream in starting.streams)
        self.streams: tuple[StreamCommits, StreamCommits] = (live, replay)
        self.views = (EngineView(engine, LIVE), EngineView(engine, REPLAY))
        self.uncommitted = 1
        """Records read and answers taken since the last commit began."""
        self.begun_at = 0.0
        """When the last commit began, in monotonic seconds."""
        self.acknowledged = asyncio.Event()
        """Set whenever Kafka has acknowledged a commit of this partition."""


class EngineView:
    """One stream of an engine, as commits see it."""

    __slots__ = ("_engine", "_stream")

    def __init__(self, engine: Engine, stream: StreamIndex) -> None:
        """Look at a stream."""
        self._engine = engine
        self._stream = stream

    def progress(self) -> tuple[int, bytes]:
        """The lowest unsettled offset, and the settled set above it."""
        return self._engine.progress(self._stream)

    def cursors(self) -> Collection[CursorName]:
        """Every open cursor."""
        return self._engine.cursors(self._stream)

    def snapshot(self) -> Snapshot:
        """Everything that a commit with a new state says."""
        return self._engine.snapshot(self._stream)


def _commits_from(stream: StreamStarting) -> StreamCommits:
    start = stream.start
    if start.metadata is None or start.committed is None:
        return StreamCommits(offset=start.offset)
    metadata = start.metadata
    return StreamCommits(offset=start.committed, settled=metadata.settled, pointer=metadata.pointer, state=stream.state)
