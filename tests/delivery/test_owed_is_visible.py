"""Promise: the backlog shows everything that is not delivered, also while no worker runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition

from hookstream.processors.operations.queries.backlog import KafkaBacklogs, LookLimits
from hookstream.schemas.codecs.deliveries import delivery_decoder
from hookstream.schemas.hook import HookState
from hookstream.subscriptions.backlogs import Endpoint, EndpointHook, judge_all
from hookstream.subscriptions.choices import EndpointState
from tests.support.targets import HANG, OK, Reply
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from hookstream.schemas.event import ClientId
    from hookstream.schemas.hook import Hook, HookId
    from tests.support.delivery_world import DeliveryWorld
    from tests.support.processes import Processes

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
EVERYTHING_AT_ONCE = LookLimits(fresh_for_s=0.0, scan_s=60.0)


@dataclass
class Looker:
    """Looks at what is owed as the API does, with the hooks that a test made in place of the database's.

    `now_ms`: the time to judge by, for ever; None: that of the look.
    """

    world: DeliveryWorld
    backlogs: KafkaBacklogs
    now_ms: int | None = None

    def __call__(self, *hooks: Hook) -> list[Endpoint]:
        """The endpoints of these hooks, in their order."""
        rows = [row_of(hook) for hook in hooks]

        def not_before(clients: Collection[ClientId]) -> dict[HookId, int]:
            return {row.id: row.not_before_ms for row in rows if row.client in clients and row.not_before_ms}

        now_ms = self.world.delivery(hooks[0], 0).arrived_ms if self.now_ms is None else self.now_ms
        judged = judge_all(rows, self.backlogs.read(None, not_before), paused=(), now_ms=now_ms)
        return [endpoint for endpoint in judged if endpoint.target is not None]  # others are the test's other hooks

    def wait(self, hook: Hook, state: EndpointState, pending: int) -> Endpoint:
        """Wait until a hook's endpoint is in a state, with so many behind; give it."""

        def there() -> Endpoint | None:
            (found,) = self(hook)
            assert (found.state, found.pending, found.exact) == (state, pending, True), found
            return found

        endpoint = eventually(there, every_s=0.2)
        assert endpoint is not None
        return endpoint


def row_of(hook: Hook) -> EndpointHook:
    return EndpointHook(
        id=hook.id,
        client=hook.client,
        event=hook.event,
        target=hook.target,
        disabled_reason=None,
        disabled=hook.state is HookState.DISABLED,
        gone=False,
        revision=hook.revision,
        not_before_ms=hook.not_before_ms,
        rate_limit_per_s=hook.rate_limit_per_s,
    )


@pytest.fixture
def lookers(world: DeliveryWorld) -> Iterator[Callable[..., Looker]]:
    """Make readers of what is owed on the test's topics."""
    made: list[KafkaBacklogs] = []

    def make(limits: LookLimits = EVERYTHING_AT_ONCE) -> Looker:
        decode = delivery_decoder(world.registry.schema_text_by_id)
        made.append(KafkaBacklogs(world.config.kafka, world.topics, decode=decode, limits=limits))
        return Looker(world, made[-1])

    yield make
    for backlogs in made:
        backlogs.close()


def group_lag(world: DeliveryWorld, sent: int) -> int:
    """What a monitor of consumer groups shows for partition 0."""
    return sent - world.commit_of(0)[0]


def test_a_quarantined_backlog_is_counted_though_the_groups_lag_is_none(
    world: DeliveryWorld, lookers: Callable[..., Looker]
) -> None:
    """Every delivery of a quarantined endpoint is owed while the group has committed past them; healed, none is."""
    bad, good = world.hooks("bad", "good")
    world.targets.answer = lambda seen: Reply(503) if seen.path == "/bad" else OK
    worker = world.start(policy=SMALL_WINDOW)
    look = lookers()
    first = world.send(bad, [n % 20 for n in range(MANY)], partition=0)[0]
    ours = world.send(good, range(MANY), partition=0)
    world.wait_all(of=ours)
    endpoint = look.wait(bad, EndpointState.QUARANTINED, MANY)
    eventually(lambda: group_lag(world, 2 * MANY) == 0)
    assert endpoint.oldest_ms == first.arrived_ms
    assert endpoint.next_attempt_ms is not None
    assert endpoint.failing_since_ms is not None
    age_s = time.time() - first.arrived_ms / 1000
    eventually(lambda: worker.metrics.worker.cursors >= 1 and worker.metrics.worker.owed_oldest_seconds >= age_s)
    assert look.wait(good, EndpointState.HEALTHY, 0).oldest_ms is None

    world.targets.answer = lambda _seen: OK
    world.wait_all()
    for hook in (bad, good):
        healed = look.wait(hook, EndpointState.HEALTHY, 0)
        assert (healed.oldest_ms, healed.next_attempt_ms, healed.failing_since_ms) == (None, None, None)
    eventually(lambda: (worker.metrics.worker.cursors, worker.metrics.worker.owed_oldest_seconds) == (0, 0.0))


def test_the_age_of_what_is_owed_covers_the_window(world: DeliveryWorld) -> None:
    """One delivery that hangs, without any backlog, makes `hookstream_owed_oldest_seconds` grow."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda _seen: HANG
    worker = world.start(drain_timeout_s=0.3)
    world.send(hook, [1])
    eventually(lambda: worker.metrics.worker.owed_oldest_seconds > 1)
    assert worker.metrics.worker.cursors == 0


def test_what_a_killed_worker_owed_is_still_told_and_grows(
    world: DeliveryWorld, lookers: Callable[..., Looker], processes: Processes
) -> None:
    """After kill -9 of the only worker its backlog is shown, and what arrives meanwhile, to a new reader too."""
    bad, good = world.hooks("bad", "good")
    world.targets.answer = lambda seen: Reply(503) if seen.path == "/bad" else OK
    worker = world.spawn(processes, policy=SMALL_WINDOW)
    look = lookers()
    world.send(bad, [n % 20 for n in range(300)], partition=0)
    ours = world.send(good, range(100), partition=0)
    world.wait_all(of=ours)
    look.wait(bad, EndpointState.QUARANTINED, 300)
    look.wait(good, EndpointState.HEALTHY, 0)
    worker.kill()
    world.send(bad, range(50), partition=0)
    world.send(good, range(70), partition=0)
    for each in (look, lookers()):
        each.now_ms = world.sent[-1].arrived_ms  # five seconds later they would lag, which no worker ends
        each.wait(bad, EndpointState.QUARANTINED, 350)
        each.wait(good, EndpointState.HEALTHY, 70)


def test_a_disabled_endpoint_is_owed_everything_since(world: DeliveryWorld, lookers: Callable[..., Looker]) -> None:
    """A 410, and an operator's disabling, keep what arrives; both are shown as disabled, with its count."""
    gone, off = world.hooks("gone", "off")
    world.targets.answer = lambda seen: Reply(410) if seen.path == "/gone" else OK
    world.publish(disabled := replace(off, state=HookState.DISABLED, revision=type(off.revision)(2)))
    world.start(policy=SMALL_WINDOW)
    look = lookers()
    world.send(gone, range(250), partition=0)
    world.send(disabled, range(250), partition=0)
    for hook in (gone, disabled):
        endpoint = look.wait(hook, EndpointState.DISABLED, 250)
        assert endpoint.next_attempt_ms is None
        assert [share.disabled for share in endpoint.hooks] == [True]
    skipping = replace(gone, not_before_ms=world.sent[249].arrived_ms + 1)
    (endpoint,) = look(skipping)
    assert (endpoint.pending, endpoint.oldest_ms) == (0, None), "what a hook's new beginning skips is not owed"


def test_a_rate_limited_endpoint_lags_and_the_count_is_the_truth(
    world: DeliveryWorld, lookers: Callable[..., Looker]
) -> None:
    """A slow hook's backlog is counted down as it is delivered, as lagging, and nothing of its neighbours'."""
    slow = world.hook(1, 1, world.targets.url("slow"), rate_limit_per_s=1.0)
    good = world.hook(2, 2, world.targets.url("good"))
    world.publish(slow, good)
    world.start(policy=SMALL_WINDOW)
    look = lookers()
    world.send(slow, range(300), partition=0)
    ours = world.send(good, range(300), partition=0)
    world.wait_all(of=ours)

    def lags() -> bool:
        before = len(world.targets.accepted_by("slow"))
        (endpoint,) = look(slow)
        after = len(world.targets.accepted_by("slow"))
        assert endpoint.state is EndpointState.LAGGING
        # Kafka has of a second ago what the target has seen.
        assert 300 - after <= endpoint.pending <= 300 - before + 4
        return True

    assert eventually(lags, every_s=0.2)
    look.wait(good, EndpointState.HEALTHY, 0)


def test_a_long_backlog_is_estimated_and_then_counted(world: DeliveryWorld, lookers: Callable[..., Looker]) -> None:
    """A look that may keep little says that it estimates, and is near; later looks read on, and the count is exact."""
    one, two = world.hooks("one", "two")
    for n in range(10_000):
        hook = one if n % 4 else two
        world.produce_bytes(hook.key, world.encode(world.delivery(hook, n)), partition=n % 2)
    assert not world.producer.flush(60)
    estimating = lookers(replace(EVERYTHING_AT_ONCE, kept_records=500))
    for hook, truth in ((one, 7_500), (two, 2_500)):
        (endpoint,) = estimating(hook)
        assert not endpoint.exact
        assert endpoint.pending == pytest.approx(truth, rel=0.1)
    hurried = lookers(replace(EVERYTHING_AT_ONCE, scan_s=0.2))

    def counted() -> int:
        endpoints = hurried(one, two)
        return sum(endpoint.pending for endpoint in endpoints) if all(endpoint.exact for endpoint in endpoints) else 0

    assert eventually(counted) == 10_000


def test_a_commit_that_no_worker_would_begin_with_is_said(world: DeliveryWorld, lookers: Callable[..., Looker]) -> None:
    """After the group's offset was reset, what the partition owes is unknown, and not nothing."""
    (bad,) = world.hooks("bad")
    world.targets.answer = lambda _seen: Reply(503)
    worker = world.start(policy=SMALL_WINDOW)
    look = lookers()
    world.send(bad, [n % 20 for n in range(MANY)], partition=0)
    look.wait(bad, EndpointState.QUARANTINED, MANY)
    worker.stop()
    world.alter_offset(TopicPartition(world.topics.deliveries, 0, MANY))
    for each in (look, lookers()):
        (unknown,) = each.backlogs.read(None, lambda _clients: {}).unknown
        assert unknown.startswith(f"{world.topics.deliveries}:0: ")
        assert "hookstream recover" in unknown
