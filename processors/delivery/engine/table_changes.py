"""Following the subscriptions table while records wait: deleted, replaced, retargeted, disabled and enabled hooks."""

from __future__ import annotations

from hookstream.schemas.hook import HookState

from .hook_table import HookRow
from .isolation import Isolation
from .ledger import Ledger
from .model import Endpoint, TrackedHook
from .probes import Probes


class TableChanges:
    """Applies rows to what a ledger holds of their hooks."""

    def __init__(self, ledger: Ledger, isolation: Isolation, probes: Probes) -> None:
        """Work on a ledger."""
        self._ledger = ledger
        self._isolation = isolation
        self._probes = probes

    def row_changed(self, client: str, event: str) -> None:
        """Follow a change of one subscription key; the table holds the new row already."""
        hooks = self._ledger.tracked.of_key.get((client, event))
        if not hooks:
            return
        row = self._ledger.tracked.table.get(client, event)
        if row is None:
            return
        self._ledger.changes += 1
        for hook in list(hooks.values()):
            hook.newest_row = row
            if row.id != hook.id and (hook.row is None or row.revision < hook.row.revision):
                continue  # the row of an older hook of this key: it says nothing of this hook
            left = hook.endpoint
            if (row.id != hook.id and hook.row is not None) or row.state is HookState.DELETED:
                self._drop(hook)
            elif row.id == hook.id:
                self._follow(hook, row)
            self._resettle_window(hook)
            # What other hooks have in its lanes may have waited for a record or a cursor that is no longer there.
            for endpoint in dict.fromkeys((left, hook.endpoint)):
                if endpoint is not None:
                    self._ledger.go_on(endpoint)

    def _drop(self, hook: TrackedHook) -> None:
        """Drop the cursors, disable and clocks of a deleted or replaced hook; its records are cancelled later."""
        ledger = self._ledger
        ledger.rewind([hook])
        for stream in ledger.streams:
            for cursor in hook.backlogs[stream.index].cursors():
                ledger.drop_cursor(hook, stream, cursor)
            hook.backlogs[stream.index].clocks.clear()
        hook.disabled_under = None

    def _follow(self, hook: TrackedHook, row: HookRow) -> None:
        """Take a newer row of the same hook over: target, state, limits."""
        ledger = self._ledger
        hook.row = row
        if hook.disabled_under is not None and row.revision > hook.disabled_under and row.state is HookState.ENABLED:
            hook.disabled_under = None
            if hook.endpoint is not None:
                hook.endpoint.health.failing_since_ms = 0
        if hook.endpoint is None or hook.endpoint.target != row.target:
            self._retarget(hook, ledger.tracked.endpoint(hook.subscription_key[0], row.target))
        if hook.held:
            self._isolation.hold(hook)
        elif hook.endpoint is not None:
            # Its backlog may begin below what the probes' walk has passed: the walk begins again.
            self._probes.forget(hook.endpoint)
            ledger.rewind([hook])

    def _retarget(self, hook: TrackedHook, endpoint: Endpoint) -> None:
        """Move what waits to the lanes of the new endpoint; they wait for what is in flight to the old one."""
        ledger = self._ledger
        ledger.rewind([hook])
        ledger.tracked.attach(hook, endpoint)
        for stream in ledger.streams:
            waiting = hook.backlogs[stream.index].unsettled()
            for pending in waiting:
                ledger.leave_lane(pending)
                ledger.queue(stream, pending, endpoint)
                endpoint.health.note_resource(pending.resource)
            if waiting and endpoint.from_backlog[stream.index]:
                ledger.open_cursor(hook, stream)

    def _resettle_window(self, hook: TrackedHook) -> None:
        """Settle what the new row cancels or skips, in the window and in the buffers."""
        for stream in self._ledger.streams:
            backlog = hook.backlogs[stream.index]
            buffered = [pending for cursor in backlog.cursors() for pending in cursor.buffer.values()]
            for pending in [*backlog.unsettled(), *buffered]:
                self._isolation.resettle(stream, pending)
