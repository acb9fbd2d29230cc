"""One engine with a few hooks and records, on a table, a log and a clock that the test moves: for tests of one rule.

Every part of the engine is the shipped one. Nothing is random, and nothing happens but what a test asks for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hookstream.processors.delivery.engine.catch_up import BacklogRecord
from hookstream.processors.delivery.engine.dispatcher import Dispatcher
from hookstream.processors.delivery.engine.engine import Engine, StreamStart
from hookstream.processors.delivery.engine.model import LIVE, Endpoint, Pending, Post, StreamIndex, TrackedHook
from hookstream.processors.delivery.engine.outcome import DELIVERED, FAILED, Outcome
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE, Snapshot
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.engine.tracker import SettledSet
from hookstream.schemas.control import EndpointSettings, SkippedDelivery, target_digest
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, Revision
from tests.support.values import DELIVERY

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.hook_table import HookRow
    from hookstream.processors.delivery.engine.model import Backlog, Cursor
    from hookstream.processors.delivery.engine.stream import Stream
    from hookstream.schemas.delivery import DeadLetterReason, Delivery
    from hookstream.schemas.hook import NoticeKind
    from hookstream.schemas.notices import Notice

START_S, START_MS = 1_000.0, DELIVERY.arrived_ms + 1_000


class Table(dict[tuple[str, str], Hook]):
    """The newest row of each subscription key."""

    def get(self, client: str, event: str) -> Hook | None:  # type: ignore[override]
        return super().get((client, event))


class Settings(dict[tuple[str, bytes], EndpointSettings]):
    """The settings of each endpoint."""

    def get(self, client: str, digest: bytes) -> EndpointSettings | None:  # type: ignore[override]
        return super().get((client, digest))


class SmallEngine:
    """One partition. Records are written to `logs` and read at once; a resource is a number; a turn is asked for."""

    def __init__(self, before: SmallEngine | None = None, /, **policy: Any) -> None:
        """Start empty, or where the engine `before` would commit now; `policy` overrides the shipped numbers."""
        self.policy: EnginePolicy = EnginePolicy(**policy) if before is None else before.policy
        self.now: float = START_S if before is None else before.now
        self.wall_ms: int = START_MS if before is None else before.wall_ms
        self.table: Table = Table() if before is None else before.table
        self.settings: Settings = Settings() if before is None else before.settings
        self.logs: tuple[list[Delivery], list[Delivery]] = ([], []) if before is None else before.logs
        self.dead_letters: list[tuple[StreamIndex, Pending, DeadLetterReason]] = []
        self.notices: list[tuple[int, NoticeKind]] = []
        self.told: list[Notice] = []  # notices about endpoints that Kafka has not answered yet
        self.unknown: list[int] = []  # hooks that the table does not know
        self.dispatcher = Dispatcher(self.policy)
        live, replay = (None, None) if before is None else [view.snapshot() for view in before.engine.views]
        self.engine: Engine = Engine(
            policy=self.policy,
            table=self.table,
            dispatcher=self.dispatcher,
            effects=self,
            decode=lambda value: self.logs[value[0]][int(value[1:])],
            random=lambda: 0.5,  # no jitter
            starts=(_start(live), _start(replay)),
            now=self.now,
            wall_ms=self.wall_ms,
            settings=self.settings,
        )

    # -- what the engine asks for ----------------------------------------------------------------------------------

    def dead_letter(self, stream: StreamIndex, pending: Pending, reason: DeadLetterReason) -> None:
        self.dead_letters.append((stream, pending, reason))

    def notify(self, hook: TrackedHook, _row: HookRow, kind: NoticeKind) -> None:
        self.notices.append((hook.id, kind))

    def tell(self, notice: Notice) -> None:
        self.told.append(notice)

    def stale(self, hook: TrackedHook) -> None:
        self.unknown.append(hook.id)

    # -- what a test does ------------------------------------------------------------------------------------------

    def row(self, number: int = 1, **changes: Any) -> Hook:
        """Put a row into the table: a hook of client 1 for the event that its number names, unless changed."""
        made = Hook(
            id=HookId(number),
            client=ClientId("1"),
            event=EventName(f"lead.e{number}"),
            target="https://one.example/",
            state=HookState.ENABLED,
            revision=Revision(1),
            secrets=(b"secret",),
        )
        return self.put(replace(made, **changes))

    def change(self, row: Hook, **changes: Any) -> Hook:
        """Put the next revision of a row into the table."""
        return self.put(replace(row, **{"revision": Revision(row.revision + 1), **changes}))

    def put(self, row: Hook) -> Hook:
        """Put a row into the table and let the engine follow it."""
        self.table[row.client, row.event] = row
        self.engine.row_changed(row.client, row.event)
        return row

    def operate(self, row: Hook, **changes: Any) -> None:
        """Change endpoint settings of a hook's endpoint and let the engine follow them."""
        key = (row.client, target_digest(row.target))
        known = self.settings.get(*key) or EndpointSettings(client=row.client, target_digest=key[1])
        self.settings[key] = replace(known, **changes)
        self.engine.settings_changed(*key)

    def skip(self, row: Hook, offset: int) -> None:
        """Let an operator skip one delivery of the live log."""
        skipped = SkippedDelivery(
            delivery_id=self.logs[LIVE][offset].id, at_ms=self.wall_ms, asked_by="operator", reason="poison"
        )
        self.operate(row, skipped=(skipped,))

    def read(self, row: Hook, *resources: int, stream: StreamIndex = LIVE, **changes: Any) -> None:
        """Append one record for each resource to the log, and let live reading read it."""
        for resource in resources:
            ids = {"hook_id": row.id, "hook_revision": row.revision, "client": row.client, "event": row.event}
            made = DeliveryId(f"msg_{stream}_{len(self.logs[stream])}")
            first = {"id": made, "concept_id": str(resource), "replayed_at_ms": 0, "live_end": 0}
            record = replace(DELIVERY, **{**ids, **first, **changes})
            offset = len(self.logs[stream])
            self.logs[stream].append(record)
            self.engine.read(stream, offset, record, 100)

    def read_log(self) -> None:
        """Let a new owner read the live log from where the commit says."""
        for offset in range(self.stream().position, len(self.logs[LIVE])):
            self.engine.read(LIVE, offset, self.logs[LIVE][offset], 100)

    def send(self) -> list[Post]:
        """Take every request that may be sent now."""
        posts = []
        while (post := self.dispatcher.next()) is not None:
            posts.append(post)
        return posts

    def send_one(self) -> Post:
        """Take the one request that may be sent now."""
        (post,) = self.send()
        return post

    def probe(self, row: Hook) -> Post:
        """Take the next probe of a hook's endpoint when it is due, after readings of what it may take if need be."""
        self.wait(max(0.0, self.endpoint(row).health.probe_times.due - self.now))
        found = self.send()
        for _ in range(2):  # a round that has ended is followed by one from the start
            if not found:
                self.catch_up()
                found = self.send()
        (post,) = found
        assert post.probe
        return post

    def answer(self, post: Post, outcome: Outcome = DELIVERED) -> None:
        """Answer a request, quickly."""
        self.engine.answer(post, outcome, 0.01)

    def wait(self, seconds: float) -> None:
        """Let time pass, and end a turn."""
        self.now += seconds
        self.wall_ms += round(seconds * 1000)
        self.engine.advance(self.now, self.wall_ms)
        self.engine.end_turn()

    def quarantine(self, row: Hook) -> None:
        """Let two resources of a hook fail until the breaker opens; nothing else may be ready to send."""
        self.read(row, 101, 102)
        for post in self.send():
            self.answer(post, FAILED)
        self.wait(self.policy.full_schedule_s[0])
        for post in self.send():
            self.answer(post, FAILED)
        assert self.endpoint(row).health.breaker_open

    def catch_up(self, stream: StreamIndex = LIVE) -> None:
        """Read what is pending from cursors, and let those rejoin that have reached live reading."""
        self.read_backlog(stream)
        self.wait(self.policy.rejoin_every_s)

    def read_backlog(self, stream: StreamIndex = LIVE) -> None:
        """Read what is pending from cursors, as far as they want it read now."""
        while (at := self.engine.plan(stream)) is not None:
            self.read_for_cursors(at, stream)

    def read_for_cursors(self, start: int, stream: StreamIndex = LIVE) -> None:
        """Give the cursors what the log holds from an offset on."""
        log = self.logs[stream]
        records = [BacklogRecord(n, log[n].key, b"%c%d" % (stream, n)) for n in range(start, len(log))]
        self.engine.feed(stream, start, len(log), records)

    def acknowledge(self) -> None:
        """Let Kafka acknowledge every dead letter that was produced."""
        produced, self.dead_letters = self.dead_letters, []
        for stream, pending, _ in produced:
            self.engine.dead_letter_acknowledged(stream, pending)

    def take_notice(self, *, acknowledged: bool = True) -> Notice:
        """Let Kafka answer the one notice that was produced."""
        (notice,) = self.told
        self.told.clear()
        self.engine.notice_written(notice, acknowledged=acknowledged)
        return notice

    # -- what a test looks at --------------------------------------------------------------------------------------

    def stream(self, index: StreamIndex = LIVE) -> Stream:
        """What is held of a log."""
        return self.engine._ledger.streams[index]

    def window(self) -> list[int]:
        """The offsets of the live log that are unsettled in the window."""
        return sorted(self.stream().unsettled)

    def hook(self, row: Hook) -> TrackedHook:
        """What is held of a hook."""
        return self.engine._ledger.tracked.hook(row.id, (row.client, row.event))

    def backlog(self, row: Hook) -> Backlog:
        """What the live stream holds of a hook."""
        return self.hook(row).backlogs[LIVE]

    def cursor(self, row: Hook, resource: int | None = None) -> Cursor:
        """The cursor of a hook in the live stream, or of one of its resources."""
        backlog = self.backlog(row)
        cursor = backlog.cursor if resource is None else backlog.resource_cursors.get(name(resource))
        assert cursor is not None
        return cursor

    def endpoint(self, row: Hook) -> Endpoint:
        """The endpoint that the row names."""
        return self.engine._ledger.tracked.endpoint(row.client, row.target)

    def snapshot(self) -> Snapshot:
        """What a commit of the live stream says now."""
        return self.engine.views[LIVE].snapshot()


def name(resource: int) -> str:
    """A resource by the engine's name."""
    return f"{DELIVERY.namespace}:{resource}"


def offsets(posts: list[Post]) -> list[int]:
    """Which records were sent, in order."""
    return [post.pending.offset for post in posts]


def _start(commit: Snapshot | None) -> StreamStart:
    if commit is None:
        return StreamStart(0, SettledSet(), EMPTY_STATE)
    return StreamStart(commit.offset, SettledSet(commit.offset, commit.settled), commit.state)
