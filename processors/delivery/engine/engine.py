"""The delivery engine of one partition, sans I/O: what is sent when, and what an answer means.

The worker calls it from one thread, in turns: `advance` the clock, `read` what Kafka brought, send what `Dispatcher`
offers, `answer` what came back, `end_turn`; `views` answer questions. The tests drive the same class through crashes,
zombies and hostile endpoints and judge every turn; rule numbers (R1 …) refer to `docs/adr`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hookstream.schemas.delivery import Delivery
from hookstream.schemas.notices import Notice

from .answers import Answers
from .catch_up import BacklogRecord, CatchUp
from .dispatcher import Dispatcher
from .engine_view import EngineView
from .hook_table import HookTable, Standing
from .isolation import Effects, Isolation
from .ledger import Ledger
from .live_reading import LiveReading
from .model import LIVE, REPLAY, Endpoint, Pending, Post, StreamIndex
from .notices import EndpointNotices
from .operator_settings import OperatorSettings, SettingsTable
from .outcome import Outcome
from .partition_state import PartitionState
from .periodic_work import PeriodicWork
from .policy import EnginePolicy
from .probes import Probes
from .rejoining import Rejoining
from .sending import Sending
from .snapshot import Restoration
from .stream import Stream
from .table_changes import TableChanges
from .timers import Timers
from .tracked_hooks import TrackedHooks
from .tracker import SettledSet


class StreamStart(NamedTuple):
    """Where a stream begins: the restored commit and the state it points to."""

    offset: int
    settled: SettledSet
    state: PartitionState


class Engine:
    """One partition of `deliveries` and of `deliveries.replay`."""

    def __init__(  # noqa: PLR0913 - the parts are injected, nothing is looked up
        self,
        *,
        policy: EnginePolicy,
        table: HookTable,
        dispatcher: Dispatcher,
        effects: Effects,
        decode: Callable[[bytes], Delivery],
        random: Callable[[], float],
        starts: tuple[StreamStart, StreamStart],
        now: float,
        wall_ms: int,
        settings: SettingsTable | None = None,
    ) -> None:
        """Start where the commits say. `now` is monotonic seconds, `wall_ms` Unix ms; `settings` are the operators'."""
        streams = (_stream(LIVE, starts[LIVE]), _stream(REPLAY, starts[REPLAY]))
        tracked = TrackedHooks(policy=policy, table=table, dispatches=self, random=random)
        self._ledger = ledger = Ledger(policy=policy, tracked=tracked, dispatcher=dispatcher, streams=streams)
        self.views = (EngineView(ledger, streams[LIVE]), EngineView(ledger, streams[REPLAY]))
        self.policy = policy
        self._timers = timers = Timers()
        probes = Probes(ledger, timers)
        self._notices = EndpointNotices(ledger, timers, effects)
        isolation = Isolation(ledger, probes, self._notices, effects)
        self._sending = Sending(ledger, timers, isolation, probes)
        self._answers = Answers(ledger, timers, isolation, probes, self._notices, random)
        self._table_changes = TableChanges(ledger, isolation, probes)
        self._catch_up = CatchUp(ledger, isolation, probes, decode=decode)
        self._rejoining = Rejoining(ledger, timers, self._catch_up, probes)
        self._live_reading = LiveReading(ledger, timers, isolation, probes)
        self.advance(now, wall_ms)
        restoration = Restoration(ledger, timers)
        self._settings = OperatorSettings(ledger, isolation, probes, settings)
        restoration.restore([start.state for start in starts])
        PeriodicWork(ledger, timers, isolation, self._settings, self._notices).begin()

    # -- turns ---------------------------------------------------------------------------------------------------

    def advance(self, now: float, wall_ms: int) -> None:
        """Begin a turn: move the clock and do what is due."""
        self._ledger.now, self._ledger.wall_ms = now, wall_ms
        self._timers.run(now)

    def next_due(self) -> float | None:
        """Monotonic time of the next thing to do, None if there is none."""
        return self._timers.next_due

    def end_turn(self) -> None:
        """End a turn: let cursors that have reached the live reading rejoin it, see `Rejoining.end_turn`."""
        self._rejoining.end_turn()

    # -- live reading --------------------------------------------------------------------------------------------

    def room(self, stream: StreamIndex) -> int:
        """How many records the live reading takes now, see `LiveReading.room`."""
        return self._live_reading.room(self._ledger.streams[stream])

    def skip_to(self, stream: StreamIndex, position: int) -> None:
        """Note that the log has no records below `position` that were not read."""
        self._ledger.streams[stream].tracker.skip_to(position)

    def read(self, stream: StreamIndex, offset: int, delivery: Delivery, size: int) -> None:
        """Take the next record of a log, `size` bytes long; call `room` first."""
        self._live_reading.read(self._ledger.streams[stream], offset, delivery, size)

    # -- requests and answers ------------------------------------------------------------------------------------

    def take(self, endpoint: Endpoint, stream: StreamIndex) -> Post | None:
        """Return the next request of an endpoint whose turn it is, see `Sending.take`."""
        return self._sending.take(endpoint, stream)

    def answer(self, post: Post, outcome: Outcome, duration_s: float) -> None:
        """Take the answer of a request that this engine sent, see `Answers.answer`."""
        self._answers.answer(post, outcome, duration_s)

    def abandon(self, post: Post) -> None:
        """Forget a request whose answer is not waited for: its partition was revoked."""
        self._answers.abandon(post)

    def dead_letter_acknowledged(self, stream: StreamIndex, pending: Pending) -> None:
        """Settle a dead letter: Kafka has acknowledged it (rule R7)."""
        held = self._ledger.streams[stream]
        reason = held.dead_letters_pending.pop(pending.offset, None)
        if reason is not None:
            self._notices.dead_lettered(stream, pending, reason)
            self._ledger.settle(held, pending.offset, pending.hook, pending.resource)
            self._ledger.ready.offer_resource(pending.hook, pending.resource)

    def notice_written(self, notice: Notice, *, acknowledged: bool) -> None:
        """Take Kafka's answer to a notice, see `EndpointNotices.written`."""
        self._notices.written(notice, acknowledged=acknowledged)

    def row_changed(self, client: str, event: str) -> None:
        """Follow a change of one subscription key; the table holds the new row already."""
        self._table_changes.row_changed(client, event)

    def settings_changed(self, client: str, target_digest: bytes) -> None:
        """Follow a change of an endpoint's settings, which the table holds already."""
        self._settings.changed(client, target_digest)

    # -- what is read for cursors ------------------------------------------------------------------------------------

    def lose_below(self, stream: StreamIndex, low: int) -> int:
        """Go on at the low watermark where retention passed a cursor; return how many offsets may have been lost."""
        return self._catch_up.lose_below(self._ledger.streams[stream], low)

    def plan(self, stream: StreamIndex, *, at: int | None = None, near: bool | None = None) -> int | None:
        """Where the catch-up reader should read next, see `CatchUp.plan`."""
        return self._catch_up.plan(self._ledger.streams[stream], at=at, near=near)

    def feed(self, stream: StreamIndex, start: int, end: int, records: Sequence[BacklogRecord]) -> None:
        """Take what the reader read, see `CatchUp.feed`."""
        self._catch_up.feed(self._ledger.streams[stream], start, end, records)

    # -- questions -------------------------------------------------------------------------------------------------

    @property
    def changes(self) -> int:
        """A number that grows with every change of what a stored state would hold."""
        return self._ledger.changes

    @property
    def has_cursors(self) -> bool:
        """Whether anything is pending from a backlog cursor."""
        return self._ledger.has_cursors

    @property
    def posts_in_flight(self) -> list[Post]:
        """The requests that were taken and have neither an answer nor been abandoned."""
        return [post for stream in self._ledger.streams for post in stream.in_flight.values()]

    def take_settled_unsent(self) -> dict[Standing, int]:
        """How many deliveries were settled without a request since the last call, by the reason."""
        return self._ledger.take_settled_unsent()


def _stream(index: StreamIndex, start: StreamStart) -> Stream:
    return Stream(index, start.offset, start.settled)


__all__ = ["LIVE", "REPLAY", "Effects", "Engine", "StreamStart"]
