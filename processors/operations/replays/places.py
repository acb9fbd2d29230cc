"""How many replays a replayer works on at once: places of their own for what is done, and for who asked. Pure.

Counts end by themselves; a run at a low rate may take a week. So runs hold up no count, and what integrators ask for
holds up nothing that operators ask for. Every run is stepped by the one thread of its replayer; where more integrators
replay slowly than there are places, more processes of the role help.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from hookstream.subscriptions.replays import ReplayState, StoredReplay, WorkKind

# A count reads as fast as Kafka gives; a run has a consumer and a few thousand deliveries in memory.
PLACES: Final[Mapping[WorkKind, int]] = {
    WorkKind(own=False, state=ReplayState.COUNTING): 4,
    WorkKind(own=True, state=ReplayState.COUNTING): 4,
    WorkKind(own=False, state=ReplayState.RUNNING): 8,
    WorkKind(own=True, state=ReplayState.RUNNING): 24,
}


def kind_of(replay: StoredReplay) -> WorkKind:
    """Which places a replay that was claimed takes one of."""
    return WorkKind(own=replay.own, state=replay.state)


def open_kinds(held: Iterable[StoredReplay], places: Mapping[WorkKind, int] = PLACES) -> frozenset[WorkKind]:
    """The kinds of replays that may be taken beside those that are held."""
    taken = Counter(map(kind_of, held))
    return frozenset(kind for kind, room in places.items() if taken[kind] < room)
