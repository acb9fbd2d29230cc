"""What the commits of one partition have said, and how much there is to say. The loop's thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hookstream.processors.delivery.checkpoints.commit_state import StreamCommits

if TYPE_CHECKING:
    from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting, StreamStarting
    from hookstream.processors.delivery.engine.engine import Engine


class PartitionCommits:
    """The commits of both streams of a partition, and what they are made of."""

    __slots__ = ("acknowledged", "begun_at", "streams", "uncommitted", "views")

    def __init__(self, starting: PartitionStarting, engine: Engine) -> None:
        """Start with what was committed."""
        live, replay = (_commits_from(stream) for stream in starting.streams)
        self.streams: tuple[StreamCommits, StreamCommits] = (live, replay)
        self.views = engine.views
        self.uncommitted = 1
        """Records read and answers taken since the last commit began."""
        self.begun_at = 0.0
        """When the last commit began, in monotonic seconds."""
        self.acknowledged = asyncio.Event()
        """Set whenever Kafka has acknowledged a commit of this partition."""


def _commits_from(stream: StreamStarting) -> StreamCommits:
    start = stream.start
    if start.metadata is None or start.committed is None:
        return StreamCommits(offset=start.offset)
    metadata = start.metadata
    return StreamCommits(offset=start.committed, settled=metadata.settled, pointer=metadata.pointer, state=stream.state)
