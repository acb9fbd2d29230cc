"""The judge of notices about endpoints in the simulated world (I18): none is too early, too late, told twice, or lost.

Kafka answers the notices of the present owner every third second, and refuses one in five; those of an owner that was
killed or fenced are not answered.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hookstream.schemas.control import target_digest
from hookstream.schemas.hook import HookState
from hookstream.schemas.notices import Notice, NoticeName
from tests.support.engine_model import LIVE, ViolationError

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.model import Pending
    from tests.support.engine_model import Owner
    from tests.support.engine_world import World

_Where = tuple[str, str]
_Cause = tuple[NoticeName, str, str, str]


class NoticeJudge:
    """Answers notices as Kafka does, and checks each."""

    def __init__(self, world: World) -> None:
        """Watch a world from its beginning."""
        self.world = world
        self.acknowledged: Counter[_Cause] = Counter()
        self._answers = 0
        self._open_since: dict[tuple[int, _Where], int] = {}
        self._last_dead: dict[tuple[int, _Where], int] = {}
        self._made: dict[int, tuple[Notice, int]] = {}  # and when, by their identity
        self._to_end: set[_Cause] = set()  # notices of quarantines that an owner which starts now would know of
        self._looked = (0, 0)  # rows and `_to_end` when it was last looked for endpoints that are left
        self._told_dead: Counter[_Where] = Counter()
        self._dead: Counter[_Where] = Counter()

    def dead_lettered(self, owner: Owner, stream: int, pending: Pending) -> None:
        """Count a dead letter that Kafka is about to acknowledge to the present owner, unless it was cancelled."""
        endpoint = pending.hook.endpoint
        waits = pending.offset in owner.ledger.streams[stream].dead_letters_pending
        if endpoint is not None and waits and owner is self.world.owner:
            self._dead[endpoint.client_id, endpoint.target] += 1

    def made(self, owner: Owner, notice: Notice) -> None:
        """Check a notice that an engine makes."""
        self._made[id(notice)] = (notice, self.world.now)
        if owner is self.world.owner:
            self._judge_made(owner, notice)

    def step(self) -> None:
        """Look at what the present owner does, and answer."""
        world, owner = self.world, self.world.owner
        self._judge_late(owner)
        self._forget_left_endpoints()
        if world.now % 3 or not owner.told:
            return
        notice = owner.told.pop(0)
        self._answers += 1
        refused = self._answers % 5 == 0
        if not refused:
            self._judge_acknowledged(notice)
            owner.engine.notice_written(notice, acknowledged=True)
        else:
            self._refuse(owner, notice)

    @staticmethod
    def _refuse(owner: Owner, notice: Notice) -> None:
        """Refuse a notice; that of a quarantine may have been written, so its end is to be told whatever follows."""
        endpoint = owner.ledger.tracked.endpoints.get((notice.client, notice.target))
        waited = endpoint is not None and endpoint.told.unacknowledged is notice
        owner.engine.notice_written(notice, acknowledged=False)
        if endpoint is None or not waited or notice.name is not NoticeName.ENDPOINT_QUARANTINED:
            return
        if endpoint.told.perhaps_told_ms != notice.since_ms:
            raise ViolationError(f"I18 {notice.cause} was refused, and is not known to be told perhaps")

    def judge_end(self) -> None:
        """Nothing that was counted or told is left over, of what the last owner can know."""
        world = self.world
        for endpoint in world.owner.ledger.tracked.endpoints.values():
            where = (endpoint.client_id, endpoint.target)
            for _, client, target, cause in self._to_end:
                ended = self.acknowledged[NoticeName.ENDPOINT_RECOVERED, *where, cause]
                if (client, target) == where and not endpoint.health.breaker_open and not ended:
                    raise ViolationError(f"I18 the end of a quarantine of {where} was never told")
        if not world.traits.crashes:
            for where, count in self._dead.items():
                there = world.owner.ledger.tracked.endpoints.get(where)
                left = None if there is None else there.told.dead_untold
                if self._told_dead[where] + (left.total if left is not None else 0) != count:
                    raise ViolationError(f"I18 of {count} dead letters of {where} {self._told_dead[where]} were told")

    def _forget_left_endpoints(self) -> None:
        """An endpoint that no hook points to is none any more; one of its name that comes later is another."""
        looked = len(self.world.rows), len(self._to_end)
        if looked == self._looked:
            return
        living = {(row.client, row.target) for row in self.world.latest.values() if row.state is not HookState.DELETED}
        self._to_end = {cause for cause in self._to_end if (cause[1], cause[2]) in living}
        self._looked = looked[0], len(self._to_end)

    def _judge_made(self, owner: Owner, notice: Notice) -> None:
        world, where = self.world, (notice.client, notice.target)
        lasted_s = (world.wall_ms - (notice.since_ms or 0)) / 1000
        match notice.name:
            case NoticeName.ENDPOINT_QUARANTINED:
                if lasted_s < world.policy.quarantine_told_after_s:
                    raise ViolationError(f"I18 a quarantine of {where} was told after {lasted_s} s")
            case NoticeName.ENDPOINT_RECOVERED:
                if not self.acknowledged[NoticeName.ENDPOINT_QUARANTINED, *where, notice.cause]:
                    raise ViolationError(f"I18 the end of a quarantine of {where} was told, its begin was not")
            case NoticeName.BACKLOG_EXPIRING:
                before_s = world.policy.expire_after_s / 2
                if lasted_s < before_s:
                    raise ViolationError(f"I18 a backlog of {where} was told after {lasted_s} s")
            case _:
                last = self._last_dead.get((owner.serial, where))
                if last is not None and world.now - last < world.policy.dead_letters_told_every_s:
                    raise ViolationError(f"I18 dead letters of {where} were told twice in {world.now - last} s")

    def _judge_acknowledged(self, notice: Notice) -> None:
        where = (notice.client, notice.target)
        cause = (notice.name, *where, notice.cause)
        self.acknowledged[cause] += 1
        if notice.name is NoticeName.DEAD_LETTERED:
            self._last_dead[self.world.owner.serial, where] = self._made[id(notice)][1]
            self._told_dead[where] += notice.count or 0
        if notice.name is NoticeName.ENDPOINT_QUARANTINED and self._is_kept(notice):
            self._to_end.add(cause)
        if self.acknowledged[cause] > 1 and not self.world.traits.crashes:
            raise ViolationError(f"I18 {cause} was told twice")

    def _is_kept(self, notice: Notice) -> bool:
        """Whether the state that the last commit points to has the quarantine: one may be so young that it has not."""
        _, _, state = self.world.durable.said(LIVE)
        return any(
            (told.client, told.target_digest, told.quarantined_ms)
            == (notice.client, target_digest(notice.target), notice.since_ms)
            for told in state.told
        )

    def _judge_late(self, owner: Owner) -> None:
        """Look at every endpoint in quarantine; most of the time there is none."""
        world, before = self.world, self._open_since
        open_since: dict[tuple[int, _Where], int] = {}
        for endpoint in owner.ledger.tracked.endpoints.values():
            if not endpoint.health.breaker_open or all(hook.held for hook in endpoint.hooks.values()):
                continue
            where = (endpoint.client_id, endpoint.target)
            key = (owner.serial, where)
            since = open_since[key] = before.get(key, world.now)
            told = endpoint.told.told_ms or endpoint.told.unacknowledged
            patience = world.policy.quarantine_told_after_s + 2 * world.policy.notice_every_s
            if world.now - since > patience and not told:
                raise ViolationError(f"I18 a quarantine of {where} was not told for {world.now - since} s")
        self._open_since = open_since
