"""The replays that one replayer works on: claimed from the database, stepped in turn, dropped."""

from __future__ import annotations

import structlog

from hookstream.processors.errors import KafkaUnavailableError, ProcessorError, StoppedError
from hookstream.producers.errors import RegistryError
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.errors import DatabaseError, LeaseLostError
from hookstream.subscriptions.replays import ReplayId, ReplayWork

from .places import open_kinds
from .run import ReplayRun
from .run_deps import RunDeps

_CLAIM_EVERY_S = 0.5
_TRY_AGAIN_S = 2.0

log = structlog.get_logger("hookstream.replayer")


class ClaimedRuns:
    """As many as there are places. One thread."""

    def __init__(self, deps: RunDeps) -> None:
        """Hold none yet."""
        self._deps = deps
        self._runs: dict[ReplayId, ReplayRun] = {}
        self._not_before: dict[ReplayId, float] = {}
        self._claim_at = 0.0

    def step(self, *, claim: bool) -> int:
        """Claim another one where `claim` says so and there is a place, and step each; give how much was done.

        Raises:
            DatabaseError: everything was dropped; call it again.
            StoppedError: asked to stop.
        """
        try:
            if claim:
                self._claim_if_due()
            return sum([self._step_one(run) for run in [*self._runs.values()]])
        except DatabaseError:
            self._drop_all()
            raise

    def release(self) -> None:
        """Let go of all, so that others go on at once. Calling it twice is harmless."""
        for run in self._runs.values():
            try:
                run.release()
            except (ProcessorError, DatabaseError, LeaseLostError) as exc:  # its lease ends by itself
                log.warning("a replay was not let go of", replay=run.replay.id, reason=str(exc))
        self._drop_all()

    def _claim_if_due(self) -> None:
        now = self._deps.clock()
        kinds = open_kinds(run.replay for run in self._runs.values())
        if now < self._claim_at or not kinds:
            return
        self._claim_at = now + _CLAIM_EVERY_S
        self._not_before = {each: at for each, at in self._not_before.items() if at > now}
        but_not = [*self._runs, *self._not_before]
        deps = self._deps
        found = transact(
            deps.sessions,
            lambda session: ReplayWork(session, deps.lease, deps.lease_now_ms(session)).claim(
                but_not=but_not, kinds=kinds
            ),
        )
        if found is not None:
            self._claim_at = 0.0  # there may be another one
            self._runs[found.id] = ReplayRun(deps, found, claimed_at=now)
            log.info("a replay was taken", replay=found.id, state=found.state.value)

    def _step_one(self, run: ReplayRun) -> int:
        replay_id = run.replay.id
        try:
            done = run.step()
        except (DatabaseError, StoppedError):
            raise
        except LeaseLostError:
            log.warning("another process works on a replay now", replay=replay_id)
            self._drop(run)
        except (KafkaUnavailableError, RegistryError) as exc:
            log.warning("a replay waits", replay=replay_id, reason=str(exc))
            self._not_before[replay_id] = self._deps.clock() + _TRY_AGAIN_S
            self._drop(run)
        except ProcessorError as exc:
            log.error("a replay failed", replay=replay_id, reason=str(exc))  # noqa: TRY400  # the reason says it all
            self._fail(run, str(exc))
        else:
            if run.ended:
                self._drop(run)
            return done
        return 1

    def _fail(self, run: ReplayRun, reason: str) -> None:
        try:
            run.end(failed=reason)
        except LeaseLostError:
            log.warning("another process works on a replay now", replay=run.replay.id)
        self._drop(run)

    def _drop(self, run: ReplayRun) -> None:
        self._runs.pop(run.replay.id, None)
        run.close()

    def _drop_all(self) -> None:
        for run in [*self._runs.values()]:
            self._drop(run)
