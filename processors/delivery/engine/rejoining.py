"""When cursors that have reached the live reading rejoin it: not in every turn, unless an endpoint was touched."""

from __future__ import annotations

from .catch_up import CatchUp
from .hand_over import HandOver
from .ledger import Ledger
from .probes import Probes
from .stream import Stream
from .timers import Timers


class Rejoining:
    """Looks at the cursors of one partition at the end of turns."""

    def __init__(self, ledger: Ledger, timers: Timers, catch_up: CatchUp, probes: Probes) -> None:
        """Work on a ledger; nothing is asked for yet."""
        self._ledger = ledger
        self._timers = timers
        self._catch_up = catch_up
        self._probes = probes
        self._hand_over = HandOver(ledger)
        self._look_at = 0.0
        self._asked = False

    def end_turn(self) -> None:
        """Let cursors that have reached the live reading rejoin it.

        This looks at every cursor, so it is not done in every turn: those of five hundred endpoints that are down would
        cost more than the deliveries to the others. A touched endpoint is looked at in the same turn.
        """
        ledger = self._ledger
        for stream in ledger.streams:
            if stream.restored_to is not None and stream.position >= stream.restored_to:
                self._restored_is_read(stream)
        catching_up = ledger.has_cursors
        if ledger.touched or (catching_up and ledger.now >= self._look_at):
            self._look_at = ledger.now + ledger.policy.rejoin_every_s
            self._catch_up.read_tails()
            self._probes.end_readings()
            self._hand_over.run()
        elif catching_up and not self._asked:
            self._asked = True
            self._timers.at(self._look_at, self._is_due)

    def _restored_is_read(self, stream: Stream) -> None:
        """The live reading has read again what a restored commit spoke of: look at the cursors that waited for that.

        One that owes nothing stands where its former owner read, above the live reading of this one. It wants nothing
        read, so nothing else would touch its endpoint when the live reading arrives there.
        """
        stream.restored_to = None
        for endpoint in self._ledger.tracked.endpoints.values():
            has_cursor = any(hook_id in stream.hooks_with_cursor for hook_id in endpoint.hooks)
            if has_cursor or endpoint.from_backlog[stream.index]:
                self._ledger.touched[endpoint] = None

    def _is_due(self) -> None:
        """The turn that this timer brings looks at the cursors."""
        self._asked = False
