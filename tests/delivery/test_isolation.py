"""Promise: no client waits for another one, whatever an endpoint, a resource or a rate does, in the same partition."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.delivery import DeadLetterReason
from tests.support.delivery_world import most_requests
from tests.support.targets import HANG, OK, Reply
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    import pytest

    from tests.support.delivery_world import DeliveryWorld
    from tests.support.processes import Processes

# A window that a single endpoint of these tests would fill several times over.
SMALL_WINDOW = {
    "window_records": 200,
    "read_ahead_records": 100,
    "buffer_records": 32,
    "resource_buffer_records": 4,
    "tail_records": 64,
    "probe_first_s": 0.4,
    "probe_steady_s": 0.4,
}
MANY = 600


def test_a_hanging_endpoint_holds_up_no_other(world: DeliveryWorld) -> None:
    """While an endpoint never answers, the other endpoints of its partition get everything."""
    bad, good = world.hooks("bad", "good")
    world.targets.answer = lambda seen: HANG if seen.path == "/bad" else OK
    world.start(policy=SMALL_WINDOW, drain_timeout_s=0.3, attempt_timeout_s=300.0)
    world.send(bad, [n % 20 for n in range(MANY)], partition=0)
    ours = world.send(good, range(MANY), partition=0)
    world.wait_all(of=ours)
    assert world.targets.held >= 1
    assert not world.targets.accepted_by("bad")


def test_clients_whose_endpoints_hang_do_not_take_every_place(world: DeliveryWorld) -> None:
    """While more clients hang than a worker has places for, one whose endpoint answers gets everything."""
    good = world.hook(1, 1, world.targets.url("good"))
    failing = [world.hook(number, number, world.targets.url(f"bad-{number}")) for number in range(2, 42)]
    world.publish(good, *failing)
    world.targets.answer = lambda seen: OK if seen.path == "/good" else HANG
    few = {"process_in_flight": 64, "client_in_flight": 8}
    world.start(policy=few, drain_timeout_s=0.3, attempt_timeout_s=300.0)
    world.wait_all(of=world.send(good, range(5), partition=0))
    for hook in failing:
        world.send(hook, range(8), partition=0)
    eventually(lambda: world.targets.held >= 50)
    world.wait_all(of=world.send(good, range(100), partition=0))
    assert world.targets.held >= 50


def test_a_worker_that_may_open_no_more_files_lives_on(world: DeliveryWorld, processes: Processes) -> None:
    """Endpoints that hang take all files that a worker may open: it stays and delivers everything once they answer."""
    failing = [world.hook(number, number, world.targets.url(f"bad-{number}")) for number in range(1, 61)]
    world.publish(*failing)
    world.targets.answer = lambda _seen: HANG
    worker = world.spawn(processes, open_files=256, attempt_timeout_s=3.0)
    for hook in failing:
        world.send(hook, range(8), partition=0)
    eventually(lambda: any(each.result is AttemptResult.CONNECT_FAILED for each in world.attempts()))
    assert "builtins.OSError" in worker.log_text(), "it was for another reason"
    world.targets.answer = lambda _seen: OK
    world.wait_all()
    assert worker.running


def test_a_failing_endpoint_holds_up_no_other(world: DeliveryWorld) -> None:
    """While an endpoint answers 503, it gets probes only, and the other endpoints of its partition get everything."""
    bad, good = world.hooks("bad", "good")
    world.targets.answer = lambda seen: Reply(503) if seen.path == "/bad" else OK
    began = time.monotonic()
    world.start(policy=SMALL_WINDOW)
    world.send(bad, [n % 20 for n in range(MANY)], partition=0)
    ours = world.send(good, range(MANY), partition=0)
    world.wait_all(of=ours)
    assert len(world.targets.to("bad")) <= most_requests(began, SMALL_WINDOW["probe_steady_s"])
    world.targets.answer = lambda _seen: OK
    assert world.check_promises() == 0


def test_a_slow_endpoint_lags_alone(world: DeliveryWorld) -> None:
    """A slow endpoint delays only its own deliveries, and gets everything in order."""
    slow, good = world.hooks("slow", "good")
    world.targets.answer = lambda seen: Reply(204, after_s=0.9) if seen.path == "/slow" else OK
    world.start(policy=SMALL_WINDOW | {"concurrency_max": 8})
    theirs = world.send(slow, range(MANY), partition=0)  # it takes longer for them than is waited for the others
    ours = world.send(good, range(MANY), partition=0)
    world.wait_all(of=ours)
    assert len(world.targets.accepted_by("slow")) < len(theirs)
    world.targets.answer = lambda _seen: OK
    assert world.check_promises() == 0


def test_a_rate_limited_hook_lags_alone_and_keeps_its_rate(world: DeliveryWorld) -> None:
    """A hook of ten deliveries a second gets no more than that, whatever waits for it, and no other hook is slower."""
    rate = 10
    behind = round(rate * (WITHIN_S + 10))  # it takes longer for them than is waited for the others
    limited = world.hook(1, 1, world.targets.url("limited"), rate_limit_per_s=float(rate))
    good = world.hook(2, 2, world.targets.url("good"))
    world.publish(limited, good)
    world.start(policy=SMALL_WINDOW)
    began = time.monotonic()
    world.send(limited, range(behind), partition=0)
    ours = world.send(good, range(MANY), partition=0)
    world.wait_all(of=ours)
    assert len(world.targets.accepted_by("limited")) < behind
    eventually(lambda: len(world.targets.to("limited")) >= 3 * rate)
    in_time = world.targets.to("limited")
    world.publish(world.hook(1, 1, world.targets.url("limited"), revision=2))
    assert world.check_promises() == 0
    # Counted from before the first was sent: a machine that is busy makes each of them later, never earlier.
    for count, seen in enumerate(in_time, 1):
        assert seen.at - began >= (count - rate) / rate - 0.05, "one second's worth in advance, and no more"


def test_a_poison_resource_ends_in_the_dead_letters_and_the_others_flow(world: DeliveryWorld) -> None:
    """One resource that is always answered 422 is given up after the short schedule; the others never wait."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda seen: Reply(422) if seen.concept == 0 else OK
    world.start(policy=SMALL_WINDOW | {"short_schedule_s": [0.3, 0.3, 0.3], "jitter": 0.0})
    world.send(hook, [1, 2, 3], partition=0)
    world.wait_all()
    poison = world.send(hook, [0], partition=0)[0]
    others = world.send(hook, [1 + n % 20 for n in range(MANY)], partition=0)
    world.wait_all(of=others)
    eventually(world.dead_letters, describe="a dead letter")
    (dead_letter,) = world.dead_letters()
    assert (dead_letter.delivery_id, dead_letter.reason, dead_letter.last_status) == (
        poison.id,
        DeadLetterReason.SCHEDULE,
        422,
    )
    assert [seen.attempt for seen in world.targets.to("one") if seen.id == poison.id] == [1, 2, 3, 4]

    world.targets.answer = lambda _seen: OK
    world.send(hook, [0, 0], partition=0)
    world.wait_all(of=world.sent[-2:])
    world.check_order()


def test_a_spent_resource_gets_one_attempt_a_record_until_one_succeeds(world: DeliveryWorld) -> None:
    """Once a resource has used up its schedule its next records do not run through it again."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda seen: Reply(422) if seen.concept == 0 else OK
    world.start(policy=SMALL_WINDOW | {"short_schedule_s": [0.1, 0.1], "jitter": 0.0})
    world.send(hook, [1, 2], partition=0)
    world.wait_all()
    first, second, third = world.send(hook, [0, 0, 0], partition=0)
    eventually(lambda: len(world.dead_letters()) == 3, describe="three dead letters")
    made = [seen.id for seen in world.targets.to("one")]
    assert [made.count(delivery.id) for delivery in (first, second, third)] == [3, 1, 1]


class NameServers:
    """The machine's resolver: names `hang…` get no answer for as long as this is entered; all others are loopback."""

    def __init__(self) -> None:
        """Know nothing."""
        self.asked: Counter[str] = Counter()
        self._answered = threading.Event()

    def getaddrinfo(self, host: str, *_: object, **__: object) -> list[object]:
        """Stand in for `socket.getaddrinfo`."""
        self.asked[host] += 1
        if host.startswith("hang"):
            self._answered.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")
        self._answered.wait(0.01)  # what a name server takes
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answered.set()


def test_hanging_names_hold_up_no_other_endpoint(world: DeliveryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """While name servers leave the names of one client's 23 hooks unanswered, another's new connections are all made.

    The worker is composed as in production, down to the machine's resolver, which is the only thing that is replaced.
    """
    names = 23
    bad = [
        world.hook(n, 1, f"http://hang{n}.example:{world.targets.port}/bad", event=f"lead.e{n}")
        for n in range(1, names + 1)
    ]
    good = world.hook(99, 2, f"http://healthy.example:{world.targets.port}/good")
    world.publish(*bad, good)
    world.targets.answer = lambda _seen: Reply(204, {"connection": "close"})  # every delivery resolves its name
    with NameServers() as servers:
        monkeypatch.setattr(socket, "getaddrinfo", servers.getaddrinfo)
        world.start(connect_timeout_s=3.0, drain_timeout_s=0.3)  # which a good connection of a busy machine may take
        for hook in bad:
            world.send(hook, range(4), partition=0)

        def failed() -> set[int]:
            return {attempt.hook_id for attempt in world.attempts() if attempt.result is AttemptResult.DNS_FAILED}

        eventually(lambda: len(failed()) == names, describe="every name has hung")
        ours = world.send(good, range(MANY), partition=0)
        world.wait_all(of=ours)
        assert servers.asked["healthy.example"] <= 3, "one look-up serves all who ask, and is remembered"
        assert {attempt.result for attempt in world.attempts() if attempt.hook_id == good.id} == {
            AttemptResult.DELIVERED
        }
    assert not world.targets.to("bad")


def test_many_dead_endpoints_do_not_add_up(world: DeliveryWorld) -> None:
    """With half of sixty endpoints dead or hanging, the other half gets everything while they are.

    It is waited for less long than a hanging request's time-out.
    """
    names = [f"{kind}{n}" for n in range(15) for kind in ("good", "fine", "dead", "hang")]
    hooks = world.hooks(*names)
    broken = {"dead": Reply(500), "hang": HANG}
    world.targets.answer = lambda seen: broken.get(seen.path[1:5], OK)
    world.start(drain_timeout_s=0.3, attempt_timeout_s=300.0)
    for _ in range(10):
        for hook in hooks:
            world.sent += (made := [world.delivery(hook, concept) for concept in range(3)])
            for delivery in made:
                world.produce_bytes(delivery.key, world.encode(delivery))
    world.producer.flush(30)
    healthy = {hook.id for hook, name in zip(hooks, names, strict=True) if name[:4] in ("good", "fine")}
    world.wait_all(of=[delivery for delivery in world.sent if delivery.hook_id in healthy])
