"""The owner of the simulated partition: how an engine starts from what was committed, and what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hookstream.processors.errors import StartRefusedError, StoredFormatError
from tests.support.engine_commits import Committer, Restored, tamper
from tests.support.engine_model import LIVE, REPLAY, Owner, SettingsView, Table, ViolationError, skips

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.hook_table import HookRow
    from hookstream.processors.delivery.engine.model import Pending, TrackedHook
    from hookstream.schemas.delivery import DeadLetterReason
    from hookstream.schemas.hook import NoticeKind
    from hookstream.schemas.notices import Notice
    from tests.support.engine_world import World


def start(world: World) -> None:
    """Give the world a new owner, which begins where the last commit says, with a table that may be behind."""
    restored = [_restore(world, stream) for stream in (LIVE, REPLAY)]
    kit = world.kit
    starts = [kit.engine.StreamStart(*each.start) for each in restored]
    table = _read_table(world, least=max(each.table_offset for each in restored))
    owner = Owner(None, kit.dispatcher.Dispatcher(world.policy), table, next(world.serials))
    owner.engine = kit.engine.Engine(
        policy=world.policy,
        table=table,
        settings=SettingsView(table),
        dispatcher=owner.dispatcher,
        effects=Recorder(world, owner),
        decode=lambda value: world.logs[value[0]][int(value[1:])],
        random=world.random.random,
        starts=(starts[0], starts[1]),
        now=float(world.now),
        wall_ms=world.wall_ms,
    )
    owner.committers = [Committer(owner.engine.views[stream], restored[stream].commits) for stream in (LIVE, REPLAY)]
    world.owner = owner
    for disable in starts[LIVE].state.disables:
        world.judge.gone[owner.serial, disable.hook_id] = disable.revision
    world.say("start", [start.offset for start in starts], [s.state.cursors for s in starts])


def _read_table(world: World, least: int) -> Table:
    table = Table()
    read_to = world.random.randint(max(least, len(world.rows) - 5), len(world.rows))
    if world.random.random() < 0.2:
        read_to = min(read_to, least)
    for row in world.rows[:read_to]:
        table.apply(row)
    table.settings.update(world.settings)
    return table


def _restore(world: World, stream: int) -> Restored:
    """Read what the last owner has left; what an operator did to it is refused, and undone."""
    durable, log = world.durable, world.logs[stream]
    kept = durable.offsets[stream]
    resets = world.traits.offset_resets and kept[0] is not None
    if resets and world.random.random() < 0.4 and tamper(durable, stream):
        try:
            durable.restore(stream, len(log), world.low[stream])
        except StartRefusedError:
            world.say("refused", stream, kept[0])
            durable.offsets[stream] = kept
        else:
            raise ViolationError(f"I14 a start on {durable.offsets[stream]} was not refused")
    try:
        return durable.restore(stream, len(log), world.low[stream])
    except (StartRefusedError, StoredFormatError) as refused:
        raise ViolationError(f"I14 a start was refused, though no offset was tampered with: {refused}") from None


class Recorder:
    """What an engine asked for beside requests."""

    def __init__(self, world: World, owner: Owner) -> None:
        """Record for one owner."""
        self.world, self.owner = world, owner

    def dead_letter(self, stream: int, pending: Pending, reason: DeadLetterReason) -> None:
        """Take a dead letter, which Kafka acknowledges later."""
        record, settings = pending.delivery, self.owner.table.settings
        if pending.offset in self.owner.ledger.streams[stream].in_flight:
            raise ViolationError(f"I17 {stream}:{pending.offset} is a dead letter while it is in flight")
        if reason.value == "skipped" and not any(
            skips(wanted, record) for (client, _), wanted in settings.items() if client == record.client
        ):
            raise ViolationError(f"I13 {stream}:{pending.offset} was not skipped, or was resent since")
        self.world.judge.judge_dead_letter(stream, pending, reason.value)
        self.owner.dead_letters.append((stream, pending, reason.value))

    def notify(self, hook: TrackedHook, row: HookRow, kind: NoticeKind) -> None:
        """Take a notice, which the API applies later, and check that the hook deserves it."""
        world, owner, judge = self.world, self.owner, self.world.judge
        world.say("notice", hook.id, kind.value)
        early = world.traits.early_disable
        if kind.value == "gone" and not early and (hook.id, row.revision) not in judge.gone_under:
            raise ViolationError(f"I9 hook {hook.id} disabled under revision {row.revision}, which never got a 410")
        if kind.value == "failing" and owner is world.owner and not world.traits.crashes:
            endpoint = (hook.subscription_key[0], row.target)
            since = judge.first_failure.get(endpoint, world.now)
            first = hook.notice_at - world.now == world.policy.notice_every_s
            if first and world.now - since < world.policy.disable_after_s:
                raise ViolationError(f"I11 {endpoint} disabled after {world.now - since} s of failure")
        world.notices.append((hook.subscription_key, hook.id, row.revision))
        judge.disturbed.add(hook.id)

    def tell(self, notice: Notice) -> None:
        """Take a notice about an endpoint, which Kafka answers later."""
        self.world.say("told", notice.name.value, notice.client, notice.target, notice.cause)
        self.owner.told.append(notice)
        self.world.notice_judge.made(self.owner, notice)

    def stale(self, hook: TrackedHook) -> None:
        """Note a hook whose delivery is newer than the table."""
        self.owner.stale.add(hook.id)
