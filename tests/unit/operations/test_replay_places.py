"""What a replayer has room for: no kind of replay takes the places of another one."""

from __future__ import annotations

from hookstream.processors.operations.replays.places import PLACES, kind_of, open_kinds
from hookstream.subscriptions.replays import (
    ALL_WORK,
    NewReplay,
    ReplayFilter,
    ReplayId,
    ReplayProgress,
    ReplayState,
    StoredReplay,
    WorkKind,
)


def replay(*, own: bool, state: ReplayState) -> StoredReplay:
    """One that was claimed."""
    return StoredReplay(
        id=ReplayId(1),
        own=own,
        asked=NewReplay(wanted=ReplayFilter(from_ms=0, to_ms=1), rate_per_s=1.0, endpoint_rate_per_s=1.0),
        state=state,
        created_by="test",
        created_at_ms=0,
        updated_at_ms=0,
        started_at_ms=None,
        ended_at_ms=None,
        window=None,
        count=None,
        progress=ReplayProgress(),
        reason=None,
        claimed_until_ms=0,
    )


def test_every_kind_of_work_has_places() -> None:
    assert set(PLACES) == ALL_WORK == open_kinds([])
    assert all(PLACES.values())


def test_slow_runs_of_integrators_leave_room_for_counts_and_for_operators() -> None:
    slow = [replay(own=True, state=ReplayState.RUNNING)] * PLACES[WorkKind(own=True, state=ReplayState.RUNNING)]
    assert open_kinds(slow) == ALL_WORK - {WorkKind(own=True, state=ReplayState.RUNNING)}
    assert open_kinds(slow[1:]) == ALL_WORK


def test_slow_runs_of_operators_leave_room_for_integrators_and_for_counts() -> None:
    kind = kind_of(replay(own=False, state=ReplayState.RUNNING))
    assert open_kinds([replay(own=False, state=ReplayState.RUNNING)] * PLACES[kind]) == ALL_WORK - {kind}


def test_where_every_place_is_taken_nothing_is_claimed() -> None:
    held = [replay(own=own, state=state) for (own, state), room in PLACES.items() for _ in range(room)]
    assert open_kinds(held) == frozenset()
