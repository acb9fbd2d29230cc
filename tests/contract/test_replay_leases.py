"""By which clock the lease of a replay lasts, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from hookstream.processors import wall_clock
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.operations.replays.claimed_runs import ClaimedRuns
from hookstream.processors.operations.replays.run_deps import RunDeps
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import (
    Sessions,
    database_now_ms,
    open_database,
    open_sessions,
    reading,
    transact,
)
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.replays import (
    Lease,
    NewReplay,
    ReplayFilter,
    ReplayRepository,
    Window,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR_MS = 3_600_000
LEASE_MS = 10_000


@pytest.fixture
def sessions(any_database_url: str) -> Iterator[Sessions]:
    """A database with one replay that has work."""
    migrate(any_database_url)
    engine = open_database(any_database_url)
    made = open_sessions(engine)
    asked = NewReplay(wanted=ReplayFilter(from_ms=0, to_ms=1), rate_per_s=1.0, endpoint_rate_per_s=1.0)
    transact(made, lambda session: ReplayRepository(session, "x", 0).create(asked, one_at_a_time=False))
    yield made
    engine.dispose()


def replayer(sessions: Sessions, *, ahead_ms: int) -> ClaimedRuns:
    """The runs of a replayer whose clock is wrong, and whose table is never read to its end."""
    parts = cast("Any", SimpleNamespace(fix=lambda _asked, **_now: Window(stretches=()), end=lambda: 1, topic_id=None))
    return ClaimedRuns(
        RunDeps(
            kafka=KafkaConfig(bootstrap_servers="k:9092"),
            topics=TopicNames(),
            sessions=sessions,
            lookup=SimpleNamespace(fix=parts.fix, table_seen=lambda _asked: None),  # type: ignore[arg-type]
            table=SubscriptionTable(),
            reader=parts,
            writer=parts,
            selection=lambda _replay: parts,
            stop=StopSignal(),
            lease=Lease(owner="me", lasts_ms=LEASE_MS),
            now_ms=lambda: wall_clock.now_ms() + ahead_ms,
            clock=lambda: 100.0,
        )
    )


@pytest.mark.parametrize("ahead_ms", [HOUR_MS, -HOUR_MS], ids=["ahead", "behind"])
def test_a_replayer_holds_a_replay_for_its_lease_whatever_its_own_clock_says(sessions: Sessions, ahead_ms: int) -> None:
    """A replayer whose clock is ahead cannot hold a replay after it is killed; nor does it take one that is held."""
    replayer(sessions, ahead_ms=ahead_ms).step(claim=True)
    with reading(sessions) as session:
        until_ms = ReplayRepository(session, "", 0).get(1, client=None).claimed_until_ms
        now_ms = database_now_ms(session)
    assert now_ms < until_ms <= now_ms + LEASE_MS
    for other in (HOUR_MS, -HOUR_MS):
        assert replayer(sessions, ahead_ms=other).step(claim=True) == 0


def test_the_time_of_the_database_is_in_unix_milliseconds(sessions: Sessions) -> None:
    """PostgreSQL and SQLite tell the time that everything else on this machine tells, anew each time."""
    seen = [wall_clock.now_ms() - 1]
    with reading(sessions) as session:
        for _ in range(3):
            seen += [database_now_ms(session) for _ in range(2)]
            seen.append(wall_clock.now_ms())
    # To the millisecond, as each of them rounds it.
    assert all(before <= after + 1 for before, after in itertools.pairwise(seen))
