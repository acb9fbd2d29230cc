"""What clients, operators and the API do in the simulated world: hooks, endpoint settings, replays, notices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hookstream.schemas.control import EndpointSettings, SkippedDelivery, target_digest
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookState, Revision
from tests.support.engine_model import LIVE, REPLAY

if TYPE_CHECKING:
    from tests.support.engine_world import World


class Users:
    """One step each; what is changed, and how, falls by chance."""

    def __init__(self, world: World) -> None:
        """Act in a world."""
        self.world = world

    # -- clients -------------------------------------------------------------------------------------------------
    def change_subscription(self) -> None:
        """A hook is created, deleted, enabled, disabled or retargeted."""
        world, chance = self.world, self.world.random
        key = chance.choice(sorted(world.latest))
        row = world.latest[key]
        row = replace(row, revision=Revision(row.revision + 1))
        choice = chance.random()
        if row.state is HookState.DELETED:
            world.create(key)
        elif choice < 0.25:
            world.judge.deleted.add(row.id)
            world.publish(replace(row, state=HookState.DELETED))
            if chance.random() < 0.5:
                world.create(key)
        elif row.state is HookState.DISABLED:
            world.enable(row, skip=choice < 0.6)
        else:
            world.judge.disturbed.add(row.id)
            if choice < 0.65:
                world.publish(replace(row, target="y" if row.target == "x" else "x"))
            else:
                world.publish(replace(row, state=HookState.DISABLED))

    def ask_replay(self) -> None:
        """A client asks for some deliveries again."""
        world = self.world
        originals = [(o, r) for o, r in enumerate(world.logs[LIVE]) if r]
        if originals and len(world.logs[REPLAY]) < 40:
            first = world.random.randrange(len(originals))
            for _, record in originals[first : first + 4]:
                world.logs[REPLAY].append(
                    replace(record, replay="job", live_end=len(world.logs[LIVE]), replayed_at_ms=world.wall_ms)
                )
            world.say("replay asked, log ends at", len(world.logs[REPLAY]))

    # -- the API -------------------------------------------------------------------------------------------------
    def apply_notice(self) -> None:
        """Disable the hook of a notice, unless it was changed since."""
        world = self.world
        key, hook, revision = world.notices.pop()
        row = world.latest[key]
        if (row.id, row.revision, row.state) == (hook, revision, HookState.ENABLED):
            world.publish(replace(row, revision=Revision(revision + 1), state=HookState.DISABLED))

    def enable_all(self) -> None:
        """Enable every hook that is disabled, or that the owner has taken out of service."""
        world = self.world
        for row in list(world.latest.values()):
            hook = world.owner.ledger.tracked.hooks.get(row.id)
            struck = row.state is HookState.ENABLED and hook is not None and hook.disabled_under == row.revision
            if row.state is HookState.DISABLED or struck:
                world.enable(replace(row, revision=Revision(row.revision + 1)), skip=False)

    # -- operators -----------------------------------------------------------------------------------------------
    def change_settings(self) -> None:
        """An operator pauses, resumes or skips an endpoint, or asks to try it now; the owner hears of it at once."""
        world, chance = self.world, self.world.random
        client, target = chance.choice(("1", "2")), chance.choice("xy")
        key = client, target_digest(target)
        settings = world.settings.get(key) or EndpointSettings(client=ClientId(client), target_digest=key[1])
        choice = chance.random()
        if choice < 0.35:
            settings = replace(settings, retry_at_ms=world.wall_ms)
            world.judge.retry_asked((world.owner.serial, (client, target)))
        elif choice < 0.45:
            settings = replace(settings, skip_before_ms=world.wall_ms - 300_000)
        elif choice < 0.7:
            settings = self._skip_one(settings)
        else:
            settings = replace(settings, paused=not settings.paused)
        self._publish_settings(settings)

    def resume_all(self) -> None:
        """Resume every endpoint."""
        for settings in list(self.world.settings.values()):
            self._publish_settings(replace(settings, paused=False))

    def _skip_one(self, settings: EndpointSettings) -> EndpointSettings:
        """Skip the oldest delivery that is owed, or any one."""
        world = self.world
        owed = [
            record
            for offset, record in enumerate(world.logs[LIVE])
            if record and record.client == settings.client and not world.judge.is_settled(LIVE, offset)
        ]
        if not owed:
            return settings
        record = world.random.choice((owed[0], world.random.choice(owed)))
        skip = SkippedDelivery(delivery_id=record.id, at_ms=world.wall_ms, asked_by="operator", reason="poison")
        return replace(settings, skipped=(*settings.skipped[-2:], skip))

    def _publish_settings(self, settings: EndpointSettings) -> None:
        world = self.world
        key = settings.client, settings.target_digest
        skipped = [skip.delivery_id for skip in settings.skipped]
        state = "paused" if settings.paused else "running"
        world.say("settings", key[0], state, settings.skip_before_ms, settings.retry_at_ms, skipped)
        world.settings[key] = world.owner.table.settings[key] = settings
        world.owner.engine.settings_changed(*key)
