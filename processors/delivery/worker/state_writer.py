"""Writes the states of partitions to `delivery-state`, and tombstones for those that no commit points to any more.

The event loop's thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from hookstream.processors.delivery.checkpoints.commit_metadata import STATE_ID_BYTES, StatePointer
from hookstream.processors.delivery.checkpoints.state_codec import StateKey, chunks_of, encode_state
from hookstream.processors.delivery.engine.model import StreamIndex
from hookstream.processors.delivery.engine.partition_state import PartitionState
from hookstream.processors.delivery.partitions.record_writer import RecordWriter

_TOMBSTONE_AFTER_S = 3600.0


class StateWriter:
    """Every state has an id of its own; it is one record, or several where it is large."""

    def __init__(
        self,
        writer: RecordWriter,
        *,
        topics: tuple[str, str],
        state_topic: str,
        monotonic_s: Callable[[], float],
    ) -> None:
        """Write with a producer that is shared; `topics` are those whose partitions have states."""
        self._writer = writer
        self._topics = topics
        self._state_topic = state_topic
        self._monotonic_s = monotonic_s
        self._replaced: list[tuple[float, StateKey]] = []

    def write(
        self, partition: int, stream: StreamIndex, state: PartitionState, written: Callable[[StatePointer | None], None]
    ) -> None:
        """Write a state; `written` gets the pointer to it, or None where Kafka refuses it."""
        state_id = secrets.token_bytes(STATE_ID_BYTES)
        topic = self._topics[stream]
        chunks = chunks_of(encode_state(state))
        offsets: list[int] = []
        refused = False

        def acknowledged(offset: int | None) -> None:
            nonlocal refused
            if offset is None:
                if not refused:
                    refused = True
                    written(None)
                return
            offsets.append(offset)
            if len(offsets) == len(chunks):
                written(StatePointer(state_id, len(chunks), min(offsets), max(offsets)))

        for index, chunk in enumerate(chunks):
            key = StateKey(topic, partition, state_id, index).encode()
            self._writer.write(self._state_topic, key, chunk, acknowledged, partition=partition)

    def note_replaced(self, partition: int, stream: StreamIndex, pointer: StatePointer) -> None:
        """Note that no commit points to this state any more: its tombstones are due an hour later."""
        due_at = self._monotonic_s() + _TOMBSTONE_AFTER_S
        self._replaced += [
            (due_at, StateKey(self._topics[stream], partition, pointer.id, chunk)) for chunk in range(pointer.chunks)
        ]

    def write_due_tombstones(self) -> None:
        """Write the tombstones that are due; call it now and then."""
        now = self._monotonic_s()
        due = [key for at, key in self._replaced if at <= now]
        if due:
            self._replaced = [(at, key) for at, key in self._replaced if at > now]
            for key in due:
                self.write_tombstone(key)

    def write_tombstone(self, key: StateKey) -> None:
        """Let compaction remove one chunk of a state that nothing points to."""
        self._writer.write(self._state_topic, key.encode(), None, lambda _offset: None, partition=key.partition)
