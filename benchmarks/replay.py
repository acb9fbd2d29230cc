"""What live deliveries feel of a replay that runs beside them, and what they feel without one, in one run.

A window is filled and delivered; then events are written at a rate, to other targets, first alone and then while the
window is replayed. Latency is from the event's own time to its receipt, through router and worker.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, allowed_p99_ms
from benchmarks.load import EVENTS
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import healthy_run, settle, wait_received, warm_load
from benchmarks.stack import READY_WITHIN_S, NotMeasuredError, Stack, broker, until
from hookstream.subscriptions.choices import ReplaySource
from hookstream.subscriptions.database import Sessions, open_database, open_sessions, transact
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.replays import (
    NewReplay,
    ReplayFilter,
    ReplayId,
    ReplayRepository,
    ReplayState,
    StoredReplay,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

LIVE, WINDOW = range(1, 11), range(11, 21)
SIZES = (
    Size("records", 25_000, 2_000, "deliveries in the window"),
    Size("rate", 200.0, 100.0, "live events a second"),
    Size("replay-rate", 1_000.0, 500.0, "replayed deliveries a second"),
    Size("seconds", 25.0, 4.0, "how long each of both lasts"),
)


@contextmanager
def database() -> Iterator[tuple[str, Sessions]]:
    """An empty one."""
    with tempfile.TemporaryDirectory(prefix="hookstream-bench-") as directory:
        url = f"sqlite:///{Path(directory) / 'hookstream.sqlite3'}"
        migrate(url)
        engine = open_database(url)
        try:
            yield url, open_sessions(engine)
        finally:
            engine.dispose()


def now_ms() -> int:
    """Wall time."""
    return time.time_ns() // 1_000_000


class Replays:
    """An operator who asks for replays."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def count(
        self,
        from_ms: int,
        to_ms: int,
        *,
        rate_per_s: float,
        source: ReplaySource = ReplaySource.EVENTS,
        within_s: float = READY_WITHIN_S,
    ) -> StoredReplay:
        """Have a window counted."""
        new = NewReplay(
            wanted=ReplayFilter(from_ms=from_ms, to_ms=to_ms),
            source=source,
            rate_per_s=rate_per_s,
            endpoint_rate_per_s=rate_per_s / len(WINDOW),
        )
        made = transact(
            self._sessions, lambda s: ReplayRepository(s, "bench", now_ms()).create(new, one_at_a_time=False)
        )
        until(lambda: self.get(made.id).state is not ReplayState.COUNTING, within_s, what="counted")
        return self.get(made.id)

    def get(self, replay_id: ReplayId) -> StoredReplay:
        """As it is now."""
        return transact(self._sessions, lambda s: ReplayRepository(s, "bench", now_ms()).get(replay_id, client=None))

    def run(self, replay_id: ReplayId) -> None:
        """Let it run."""
        transact(self._sessions, lambda s: ReplayRepository(s, "bench", now_ms()).run(replay_id, client=None))


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Alone, then beside a replay."""
    with broker() as servers, Stack(servers) as stack, database() as (url, sessions):
        stack.publish_hooks([*LIVE, *WINDOW])
        roles = [stack.role("router"), stack.role("deliver"), stack.role("replayer", also={"DATABASE_URL": url})]
        for role in roles:
            role.wait_ready()
        from_ms = now_ms() - 1000
        stack.fill(EVENTS, WINDOW, options.records)
        until(lambda: stack.receiver.count().distinct >= options.records, READY_WITHIN_S, what="the window delivered")
        time.sleep(1.0)
        replays = Replays(sessions)
        found = replays.count(from_ms, now_ms(), rate_per_s=options.replay_rate)
        if found.count is None or found.count.deliveries != options.records:
            raise NotMeasuredError(f"counted {found.count} of {options.records}: {found.reason}")
        alone = healthy_run(stack, EVENTS, LIVE, rate_per_s=options.rate, seconds=options.seconds, of=LIVE)
        load = warm_load(stack, EVENTS, LIVE, rate_per_s=options.rate, seconds=options.seconds)
        replays.run(found.id)
        until(lambda: stack.receiver.count(only=WINDOW).received > 0, READY_WITHIN_S, what="a first replay")
        began = time.monotonic()
        load.go()
        load.wait(options.seconds + 60)
        replayed = stack.receiver.count(only=WINDOW).received / (time.monotonic() - began)
        wait_received(stack, LIVE, load.plan.records, 30)
        settle(stack, LIVE, quiet_s=0.3)
        beside = stack.receiver.stats(only=LIVE)
        memory = roles[2].peak_mib
        wait_received(stack, WINDOW, options.records, options.records / options.replay_rate + 60)
        missing = options.records - stack.receiver.count(only=WINDOW).distinct
        stack.stop(*roles)
    return [
        Figure(name="live p50 alone", value=alone.p50_ms, unit="ms"),
        Figure(name="live p99 alone", value=alone.p99_ms, unit="ms"),
        Figure(name="live p50 beside a replay", value=beside.p50_ms, unit="ms"),
        Figure(name="live p99 beside a replay", value=beside.p99_ms, unit="ms", at_most=allowed_p99_ms(alone.p99_ms)),
        Figure(name="live not delivered", value=load.plan.records - beside.distinct, at_most=0),
        Figure(name="replayed meanwhile", value=replayed, unit="/s"),
        Figure(name="replays not delivered", value=missing, at_most=0),
        Figure(name="replayer's memory", value=memory, unit="MiB"),
    ], []


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("replay", chosen, lambda: measure(chosen))
