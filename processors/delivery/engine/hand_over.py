"""Hand-over: cursors that have read up to the live reading end, and what they buffered goes back into the window.

Decided in one turn and for a whole group (rule R5): all hooks of an endpoint that is served from its backlog, or all
hooks with a cursor for one resource. If one hook went alone, its deliveries of a lane would overtake those that another
hook's cursor has not read yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from .hook_table import Standing
from .ledger import Ledger
from .model import Cursor, Endpoint, TrackedHook
from .stream import Stream


class HandOver:
    """Lets the cursors of one partition rejoin the live reading."""

    def __init__(self, ledger: Ledger) -> None:
        """Work on a ledger."""
        self._ledger = ledger

    def run(self) -> None:
        """Hand over what can be, of the endpoints whose cursors may have become ready."""
        ledger = self._ledger
        if not ledger.touched:
            return
        touched, ledger.touched = ledger.touched, {}
        for stream in ledger.streams:
            if stream.hooks_with_cursor or any(endpoint.from_backlog[stream.index] for endpoint in touched):
                for endpoint in touched:
                    self._hand_over(stream, endpoint)

    def _hand_over(self, stream: Stream, endpoint: Endpoint) -> None:
        """Move cursors that have reached the live reading back into the window, group by group."""
        ledger, index = self._ledger, stream.index
        if endpoint.health.waits(ledger.now) or stream.position < stream.restored_settled.end:
            return
        for group in self._hook_groups(stream, endpoint):
            cursors = [hook.backlogs[index].cursor for hook in group]
            if self._rejoins(stream, cursors) and not self._awaits_table(stream, cursors):
                for hook in group:
                    self._leave_resource_cursors(stream, endpoint, hook)
                    cursor = hook.backlogs[index].cursor
                    if cursor is not None:
                        ledger.reenter_window(stream, hook, cursor)
        if endpoint.from_backlog[index] and not any(
            hook.backlogs[index].cursor is not None and not hook.held for hook in endpoint.hooks.values()
        ):
            endpoint.from_backlog[index] = False
            ledger.changes += 1
        if not endpoint.from_backlog[index]:
            for resource, hooks in self._resource_groups(stream, endpoint).items():
                self._hand_over_resource(stream, resource, hooks)
        ledger.ready.wake_lanes(endpoint)

    def _hook_groups(self, stream: Stream, endpoint: Endpoint) -> list[list[TrackedHook]]:
        """All hooks of an endpoint that is served from its backlog go together; otherwise each goes alone."""
        hooks = [
            hook for hook in endpoint.hooks.values() if hook.backlogs[stream.index].cursor is not None and not hook.held
        ]
        if endpoint.from_backlog[stream.index]:
            return [hooks] if hooks else []
        return [[hook] for hook in hooks]

    def _resource_groups(self, stream: Stream, endpoint: Endpoint) -> dict[str, list[TrackedHook]]:
        groups = defaultdict(list)
        for hook in endpoint.hooks.values():
            if not hook.held:
                for resource in hook.backlogs[stream.index].resource_cursors:
                    groups[resource].append(hook)
        return groups

    def _hand_over_resource(self, stream: Stream, resource: str, hooks: list[TrackedHook]) -> None:
        """Not while one of the hooks has a cursor of its own, nor while the resource's head has failed."""
        backlogs = [hook.backlogs[stream.index] for hook in hooks]
        for backlog in backlogs:
            failed = backlog.clock(resource).attempts and backlog.resource_cursors[resource].buffer
            if backlog.cursor is not None or failed:
                return
        if self._rejoins(stream, [backlog.resource_cursors[resource] for backlog in backlogs]):
            for hook, backlog in zip(hooks, backlogs, strict=True):
                self._ledger.reenter_window(stream, hook, backlog.resource_cursors[resource])

    def _rejoins(self, stream: Stream, cursors: Sequence[Cursor | None]) -> bool:
        """Whether a whole group has been read to the position, and what it buffers fits into the window."""
        position = stream.position
        found = [cursor for cursor in cursors if cursor is not None]
        lowest = min((cursor.next for cursor in found), default=position)
        fits = position - lowest < self._ledger.policy.window_records
        return fits and all(cursor.scan >= position for cursor in found)

    def _awaits_table(self, stream: Stream, cursors: Sequence[Cursor | None]) -> bool:
        """Whether a record waits for a row that the table does not show: in the window it would hold the offset."""
        newest = (next(reversed(cursor.buffer.values()), None) for cursor in cursors if cursor is not None)
        return any(
            pending is not None and self._ledger.standing(pending.delivery, pending.hook, stream.index) is Standing.WAIT
            for pending in newest
        )

    def _leave_resource_cursors(self, stream: Stream, endpoint: Endpoint, hook: TrackedHook) -> None:
        """Records of a lane for which another hook still has a resource cursor join one of their own."""
        cursor = hook.backlogs[stream.index].cursor
        if cursor is None:
            return
        for resource in sorted({pending.resource for pending in cursor.buffer.values()}):
            if self._ledger.has_resource_cursor(stream, endpoint, resource):
                self._ledger.open_cursor(hook, stream, resource)
