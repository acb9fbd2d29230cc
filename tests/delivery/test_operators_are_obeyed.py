"""Promise: the worker that owns an endpoint does what an operator sets for it, at once or after a restart."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hookstream.processors.tables.endpoint_settings import EndpointSettingsReader
from hookstream.schemas.control import SkippedDelivery
from hookstream.schemas.delivery import DeadLetterReason
from tests.support.targets import OK, Reply
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.delivery_world import DeliveryWorld
    from tests.support.processes import Processes

# Nothing is tried again within a test: what is delivered was let go by an operator.
PATIENT = {
    "probe_first_s": 3600.0,
    "probe_steady_s": 3600.0,
    "probe_max_s": 3600.0,
    "full_schedule_s": [3600.0] * 3,
    "short_schedule_s": [3600.0] * 2,
}


def now_ms() -> int:
    """Wall time, which the broker of a test has, too."""
    return time.time_ns() // 1_000_000


def test_a_paused_endpoint_gets_nothing_until_it_is_resumed(world: DeliveryWorld, processes: Processes) -> None:
    """A pause holds at once and through a kill -9, harms no other endpoint, and a resume delivers all in order."""
    paused, other = world.hooks("paused", "other")
    worker = world.spawn(processes)
    world.send(paused, [1], partition=0)
    world.wait_all()
    world.wanted(paused, paused=True)
    world.send(other, range(20), partition=0)
    world.wait_all()
    eventually(lambda: world.pointer_of() is not None, describe="the settings were read: the endpoint is served apart")
    held = world.send(paused, [n % 3 for n in range(30)], partition=0)
    more = world.send(other, range(20), partition=0)
    world.wait_all(of=more)
    eventually(lambda: world.commit_of()[0] == world.end_of(0), describe="what is held is owed by a state")
    worker.kill()

    world.start()
    again = world.send(other, range(20), partition=0)
    world.wait_all(of=again)
    got = {seen.id for seen in world.targets.to("paused")}
    assert not got & {delivery.id for delivery in held}, "a restart obeys settings that it was not sent again"
    world.wanted(paused, paused=False)
    assert world.check_promises() == 0


def test_what_is_drained_is_in_the_dead_letters_and_can_be_resent(world: DeliveryWorld) -> None:
    """A drain moves what is owed by then, with who and why; what arrives later, and what is resent, is delivered."""
    (hook,) = world.hooks("down")
    world.targets.answer = lambda _seen: Reply(500)
    world.start(policy=PATIENT)
    owed = world.send(hook, [n % 5 for n in range(200)], partition=0)
    eventually(lambda: world.targets.to("down"))
    world.wanted(hook, skip_before_ms=now_ms() + 1, drained_by="operator 7", drain_reason="too old")

    def dead_letters() -> list[str]:
        return sorted(dead_letter.delivery_id for dead_letter in world.dead_letters())

    eventually(lambda: dead_letters() == sorted(d.id for d in owed), every_s=0.5, describe="all are dead letters")
    assert {dead_letter.reason for dead_letter in world.dead_letters()} == {DeadLetterReason.SKIPPED}
    assert {dead_letter.detail for dead_letter in world.dead_letters()} == {"drained by operator 7: too old"}
    world.targets.answer = lambda _seen: OK
    world.wanted(hook, retry_at_ms=now_ms())
    later = [world.delivery(hook, 1, arrived_ms=now_ms() + 2)]
    world.produce(later, partition=0)
    world.wait_all(of=later)
    resent = [replace(d, replay="resend", live_end=world.end_of(0), replayed_at_ms=now_ms() + 2) for d in owed[:3]]
    world.produce(resent, partition=0, topic=world.topics.replays)
    world.wait_all(of=resent)
    assert len(world.accepted()) == 4


def test_one_delivery_is_skipped_and_the_next_one_follows(world: DeliveryWorld) -> None:
    """A delivery that its endpoint never takes is skipped at once, though its next attempt is an hour away."""
    (hook,) = world.hooks("one")
    poison: list[str] = []
    world.targets.answer = lambda seen: Reply(422) if seen.id in poison else OK
    world.start(policy=PATIENT)
    world.send(hook, [1, 2, 3], partition=0)
    world.wait_all()
    bad = world.delivery(hook, 1)
    poison.append(bad.id)
    world.produce([bad], partition=0)
    behind = world.send(hook, [1, 1, 2], partition=0)
    world.wait_all(of=behind[2:])
    eventually(lambda: world.commit_of()[0] == world.end_of(0), describe="the lane of the poison is parked")
    assert not {d.id for d in behind[:2]} & {seen.id for seen in world.accepted()}

    skip = SkippedDelivery(delivery_id=bad.id, at_ms=now_ms() + 1, asked_by="operator 7", reason="never taken")
    world.wanted(hook, skipped=(skip,))
    world.wait_all()
    world.check_order()
    (dead_letter,) = world.dead_letters()
    assert (dead_letter.delivery_id, dead_letter.reason, dead_letter.detail) == (
        bad.id, DeadLetterReason.SKIPPED, "skipped by operator 7: never taken",
    )  # fmt: skip
    assert len([seen for seen in world.targets.requests if seen.id == bad.id]) == 1


def test_retry_now_ends_a_long_wait(world: DeliveryWorld) -> None:
    """An endpoint that asked for an hour of silence is tried when an operator says so, once for each time."""
    (hook,) = world.hooks("busy")
    world.targets.answer = lambda _seen: Reply(503, {"retry-after": "3000"})
    world.start(policy=PATIENT | {"concurrency_start": 1})
    world.send(hook, [1, 2, 3], partition=0)
    eventually(lambda: len(world.attempts()) == 1, describe="its answer is read: it waits")
    world.wanted(hook, retry_at_ms=now_ms())
    eventually(lambda: len(world.attempts()) == 2, describe="it is tried, and waits again")
    world.targets.answer = lambda _seen: OK
    world.wanted(hook, retry_at_ms=now_ms() + 1)
    assert world.check_promises() == 0


def test_settings_that_were_written_while_no_worker_lived_hold_from_the_start(world: DeliveryWorld) -> None:
    """The topic is read whole before the first delivery; the newest revision counts, wherever compaction left it."""
    paused, drained, resumed, other = world.hooks("paused", "drained", "resumed", "other")
    for hook in (paused, drained, resumed, other):
        world.send(hook, range(5), partition=0)
    world.wanted(paused, paused=True)
    stale = world.wanted(resumed, paused=True)
    world.wanted(resumed, paused=False)
    world.wanted(resumed, paused=True, revision=stale.revision)  # by a writer that was suspended
    world.wanted(drained, skip_before_ms=now_ms() + 1)
    world.start()
    world.wait_all(of=[d for d in world.sent if d.hook_id in (resumed.id, other.id)])
    eventually(lambda: len(world.dead_letters()) == 5, every_s=0.2)
    assert {dead_letter.hook_id for dead_letter in world.dead_letters()} == {drained.id}
    assert not world.targets.to("paused")
    assert not world.targets.to("drained")


def test_nothing_is_sent_before_all_settings_is_known(world: DeliveryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose reader of settings is slow joins the group when it is through, and not before."""
    (paused,) = world.hooks("paused")
    world.send(paused, range(5), partition=0)
    world.wanted(paused, paused=True)
    may_read = threading.Event()
    step = EndpointSettingsReader.step

    def slow(reader: EndpointSettingsReader, timeout_s: float) -> int:
        return step(reader, timeout_s) if may_read.wait(timeout_s) else 0

    monkeypatch.setattr(EndpointSettingsReader, "step", slow)
    worker = world.start(ready=False)
    eventually(lambda: "table" not in worker.health.reasons)
    with pytest.raises(AssertionError):
        eventually(lambda: world.targets.requests or "settings" not in worker.health.reasons, 2)
    may_read.set()
    worker.wait_ready()
    eventually(lambda: world.commit_of()[0] == 5, describe="all is owed")
    assert not world.targets.requests
