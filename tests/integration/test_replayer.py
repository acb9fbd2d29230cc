"""Replays on a real broker: what is read, what is written, who goes on, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from hookstream.processors.kafka import make_admin
from hookstream.processors.operations.replays import claimed_runs, preparation
from hookstream.processors.operations.replays import run as replay_run
from hookstream.processors.operations.replays.places import open_kinds
from hookstream.processors.topics import topic_ids
from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.hook import HookId, HookState
from hookstream.subscriptions.attempt_log import LoggedAttempt, LogProgress, write_attempts
from hookstream.subscriptions.choices import ReplayOnly, ReplaySource
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.replays import ReplayState, WorkKind
from tests.support.replaying import ReplayStage, now_ms
from tests.support.routing import RoutingWorld
from tests.support.values import ATTEMPT
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hookstream.processors.operations.replays.replayer import Replayer
    from hookstream.schemas.delivery import Delivery
    from hookstream.schemas.topics import TopicNames
    from hookstream.subscriptions.replays import StoredReplay
    from tests.support.kafka_broker import Kafka
    from tests.support.routing import Arrived

CLIENTS = (1, 2, 3, 4)
EVENTS = 400
AGE_MS = 3_600_000


@pytest.fixture
def stage(kafka: Kafka, topics: TopicNames, sqlite_url: str) -> Iterator[ReplayStage]:
    """Four clients with a hook each, and four hundred events that were routed."""
    made = ReplayStage(RoutingWorld(kafka.bootstrap_servers, topics), sqlite_url)
    made.world.put_hooks(*(made.world.hook(client) for client in CLIENTS))
    made.world.put_events(EVENTS, clients=len(CLIENTS))
    made.route()
    yield made
    made.close()


def ids(found: list[Arrived]) -> list[str]:
    return sorted(each.delivery.id for each in found)


def in_order(found: list[Arrived]) -> bool:
    """Whether each resource's first appearances are in the order of the log."""
    seen: dict[tuple[str, str], list[int]] = {}
    for each in found:
        offsets = seen.setdefault((each.delivery.client, each.delivery.concept_id), [])
        if each.delivery.source_offset not in offsets:
            offsets.append(each.delivery.source_offset)
    return all(offsets == sorted(offsets) for offsets in seen.values())


def stepped(replayer: Replayer) -> bool:
    replayer.run_once(0.01)
    return True


def counts(found: StoredReplay) -> tuple[int, dict[int, int]]:
    assert found.count is not None
    return found.count.deliveries, {int(hook): number for hook, number in found.count.hooks.items()}


@pytest.mark.parametrize("source", ReplaySource)
def test_what_was_counted_is_what_is_sent(stage: ReplayStage, source: ReplaySource) -> None:
    """A count sends nothing; a run sends just that, with the ids of the first deliveries, in order, behind the live."""
    replayer = stage.replayer()
    replay_id = stage.create(source=source)
    found = stage.work(replay_id)
    assert (found.state, stage.world.replayed()) == (ReplayState.PLANNED, [])
    assert counts(found) == (EVENTS, {1000 + client: EVENTS // len(CLIENTS) for client in CLIENTS})
    before = {each.delivery.id for each in stage.world.arrived()}
    stage.world.put_events(40, clients=len(CLIENTS))  # behind the window by now
    stage.route()
    done = stage.run(replay_id)
    assert (done.state, done.progress.sent) == (ReplayState.DONE, EVENTS)
    written, first = stage.written(done.job), stage.world.arrived()
    window = {each.delivery.id for each in written}
    assert len(written) == len(window) == EVENTS
    assert window == before
    assert in_order(written)
    ends = {place: max(e.offset for e in first if e.partition == place) + 1 for place in {e.partition for e in first}}
    assert all(each.delivery.replayed_at_ms >= found.updated_at_ms for each in written)
    assert all(each.delivery.live_end == ends[each.partition] for each in written)
    originals = {each.delivery.id: each.delivery for each in first}
    routed = [replace(each.delivery, replay=None, live_end=0, replayed_at_ms=0) for each in written]
    assert all(delivery == originals[delivery.id] for delivery in routed)
    assert replayer.health.ready


def test_a_filter_sends_nothing_else(stage: ReplayStage) -> None:
    """Clients, hooks, resources and times outside of what was asked for get nothing."""
    stage.replayer()
    arrived = stage.world.arrived()
    middle = sorted(each.delivery.arrived_ms for each in arrived)[EVENTS // 2]
    cases: list[tuple[dict[str, object], Callable[[Delivery], bool]]] = [
        ({"client": "2", "event": "lead.updated"}, lambda delivery: delivery.client == "2"),
        ({"hook_id": 1003, "to_ms": middle}, lambda delivery: delivery.client == "3" and delivery.arrived_ms < middle),
        ({"namespace": "lead", "concept_id": "4"}, lambda delivery: delivery.concept_id == "4"),
        ({"from_ms": middle}, lambda delivery: delivery.arrived_ms >= middle),
        ({"event": "lead.new"}, lambda _: False),
    ]
    for wanted, matches in cases:
        replay_id = stage.create(wanted=wanted)
        counted = stage.work(replay_id)
        done = stage.run(replay_id)
        expected = sorted(each.delivery.id for each in arrived if matches(each.delivery))
        assert ids(stage.written(done.job)) == expected
        assert counts(counted)[0] == done.progress.sent == len(expected)


def test_a_hook_that_was_registered_afterwards_gets_the_window(stage: ReplayStage) -> None:
    """Source `events` serves the hooks of today, disabled ones too; `deliveries` what was routed to them then."""
    world = stage.world
    stage.world.put_events(10, clients=5)  # two of them without a delivery: client 5 has no hook
    stage.route()
    world.put_hooks(
        world.hook(5),
        world.hook(1, revision=2, state=HookState.DELETED),
        world.hook(2, revision=2, state=HookState.DISABLED),
        replace(world.hook(3, revision=2), id=HookId(2003)),
    )
    stage.replayer()
    events = stage.create()
    hooks = counts(stage.work(events))[1]
    assert set(hooks) == {1005, 1002, 2003, 1004}
    assert hooks[1005] == 2
    done = stage.run(events)
    assert done.progress.sent == sum(hooks.values()) == len(stage.written(done.job))
    deliveries = stage.create(source=ReplaySource.DELIVERIES)
    assert set(counts(stage.work(deliveries))[1]) == {1002, 1004}


def test_the_window_ends_where_the_routers_are(stage: ReplayStage) -> None:
    """What has yet to be routed is left to the router: it would be delivered twice."""
    stage.replayer()
    stage.world.put_events(40, clients=len(CLIENTS))
    replay_id = stage.create()
    assert counts(stage.work(replay_id))[0] == EVENTS


def test_a_replayer_that_vanishes_is_followed_without_a_gap(stage: ReplayStage) -> None:
    """Its successor goes on when the lease is over, repeats a tail at most, and a suspended one writes nothing more."""
    first = stage.replayer(lease_s=3.0)
    replay_id = stage.create(rate=100.0)
    stage.work(replay_id)
    stage.ask(lambda replays: replays.run(replay_id, client=None))

    def in_the_middle() -> bool:
        first.run_once(0.01)
        return stage.get(replay_id).progress.sent > 100

    eventually(in_the_middle, every_s=0.0)
    second = stage.replayer()
    done = stage.work(replay_id, second)
    written = stage.written(done.job)
    assert (done.state, done.progress.sent) == (ReplayState.DONE, EVENTS)
    assert len(set(ids(written))) == EVENTS
    assert in_order(written)
    assert len(written) < EVENTS + 250, "more than a tail was repeated"
    for _ in range(50):
        first.run_once(0.0)
    assert len(stage.written(done.job)) == len(written), "it wrote without its lease"
    assert stage.get(replay_id).progress.sent == EVENTS


def test_a_replay_can_be_paused_resumed_and_cancelled(stage: ReplayStage) -> None:
    """A pause ends within moments, nothing is sent while it lasts, and what is resumed sends the rest and no more."""
    replayer = stage.replayer()
    replay_id = stage.create(rate=150.0)
    stage.work(replay_id)
    stage.ask(lambda replays: replays.run(replay_id, client=None))

    def some_are_sent() -> bool:
        replayer.run_once(0.01)
        return stage.get(replay_id).progress.sent > 30

    eventually(some_are_sent, every_s=0.0)
    stage.ask(lambda replays: replays.pause(replay_id, client=None))
    eventually(lambda: stepped(replayer) and stage.get(replay_id).claimed_until_ms == 0, every_s=0.0)
    paused = stage.get(replay_id)
    assert 30 < paused.progress.sent < EVENTS
    for _ in range(30):
        replayer.run_once(0.0)
    assert len(stage.written(paused.job)) == paused.progress.sent
    done = stage.run(replay_id)
    assert (done.state, len(stage.written(done.job))) == (ReplayState.DONE, EVENTS)

    other = stage.create(rate=50.0)
    stage.work(other)
    stage.ask(lambda replays: replays.run(other, client=None))
    eventually(lambda: stepped(replayer) and stage.get(other).progress.sent, every_s=0.0)
    stage.ask(lambda replays: replays.cancel(other, client=None))
    eventually(lambda: stepped(replayer) and stage.get(other).claimed_until_ms == 0, every_s=0.0)
    ended = stage.get(other)
    assert ended.state is ReplayState.CANCELLED
    for _ in range(30):
        replayer.run_once(0.0)
    assert len(stage.written(ended.job)) == ended.progress.sent < EVENTS


def test_an_endpoint_at_its_rate_holds_up_no_other(stage: ReplayStage) -> None:
    """The one with much to get takes no more turns than the others while they have something to get."""
    stage.world.put_events(300, clients=1)
    stage.route()
    stage.replayer()
    replay_id = stage.create(endpoint_rate=100.0)
    counted = stage.work(replay_id)
    assert counted.count is not None
    assert counted.count.estimate_s == pytest.approx(4.0)
    done = stage.run(replay_id)
    written = stage.written(done.job)
    assert len(written) == 700
    assert in_order(written)
    busy = sorted(each.delivery.replayed_at_ms for each in written if each.delivery.client == "1")
    for client in (2, 3, 4):
        served_ms = max(each.delivery.replayed_at_ms for each in written if each.delivery.client == str(client))
        # Each had a hundred by then; what may be saved up, and a batch, come on top.
        assert sum(at_ms <= served_ms for at_ms in busy) <= 200, "another endpoint waited for the one at its rate"


def test_slow_replays_of_integrators_hold_up_no_count_and_no_operator(
    stage: ReplayStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they have taken all of their places, an operator's replay is counted and sent at once, and a count too."""
    running, counting = ReplayState.RUNNING, ReplayState.COUNTING
    few = {WorkKind(own, state): 1 for own in (False, True) for state in (counting, running)}
    monkeypatch.setattr(claimed_runs, "open_kinds", lambda held: open_kinds(held, few))
    replayer = stage.replayer()
    slow = stage.create(own=True, rate=1.0, wanted={"client": 1})
    stage.work(slow)
    stage.ask(lambda replays: replays.run(slow, client=None))
    eventually(lambda: stepped(replayer) and stage.get(slow).claimed_until_ms, every_s=0.0)
    later = stage.create(own=True, rate=1.0, wanted={"client": 2})
    assert stage.work(later).state is ReplayState.PLANNED
    stage.ask(lambda replays: replays.run(later, client=None))
    operators = stage.create()
    assert stage.work(operators).state is ReplayState.PLANNED
    assert stage.run(operators).progress.sent == EVENTS
    assert (stage.get(slow).state, stage.get(later).state) == (running, running)
    assert stage.get(later).claimed_until_ms == 0, "it waits for the place of the slow one"


def test_a_run_that_gave_its_connection_back_goes_on_where_it_was(
    stage: ReplayStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left out or repeated by it, and what was sent is committed."""
    monkeypatch.setattr(replay_run, "_REST_AFTER_S", 0.0)
    stage.replayer()
    replay_id = stage.create(rate=200.0)
    stage.work(replay_id)
    done = stage.run(replay_id)
    assert done.progress.sent == EVENTS
    assert len(set(ids(stage.written(done.job)))) == len(stage.written(done.job)) == EVENTS


def test_a_window_that_retention_has_cut_says_what_is_left(stage: ReplayStage) -> None:
    """The plan says from when on it is whole; what goes later is passed and counted."""
    world, kafka = stage.world, stage.world.kafka
    admin = make_admin(kafka)
    arrived = world.arrived()
    parts = sorted({each.delivery.source_partition for each in arrived})

    def cut(share: float) -> dict[int, int]:
        counts = {part: sum(each.delivery.source_partition == part for each in arrived) for part in parts}
        upto = {part: int(count * share) for part, count in counts.items()}
        futures = admin.delete_records([TopicPartition(world.source, part, to) for part, to in upto.items()])
        for future in futures.values():
            future.result(30)
        return upto

    first = cut(0.25)
    stage.replayer(ahead_ms=AGE_MS)
    whole = stage.work(stage.create())
    assert whole.window is not None
    assert whole.window.left_from_ms is None, "what went is older than what its age allows: it was never in the window"
    # By the replayer's clock everything may have gone for its age; by the broker's, which deletes it, nothing has.
    retention = ConfigEntry("retention.ms", str(AGE_MS), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, world.source, incremental_configs=[retention])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)
    replay_id = stage.create()
    counted = stage.work(replay_id)
    left = {
        part: min(
            each.delivery.arrived_ms
            for each in arrived
            if each.delivery.source_partition == part and each.delivery.source_offset >= offset
        )
        for part, offset in first.items()
    }
    assert counted.window is not None
    assert counted.window.left_from_ms == max(left.values())
    assert counts(counted)[0] == EVENTS - sum(first.values())
    more = cut(0.5)
    done = stage.run(replay_id)
    assert done.progress.expired == sum(more.values()) - sum(first.values())
    assert done.progress.sent == EVENTS - sum(more.values()) == len(stage.written(done.job))


def test_only_what_was_not_delivered_is_judged_by_a_log_that_knows(
    stage: ReplayStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused where the attempt log has not read, is behind, or begins too late; else nothing delivered is repeated."""
    monkeypatch.setattr(preparation, "CATCH_UP_WITHIN_S", 0.5)
    world = stage.world
    attempts = world.topics.attempts
    world.put(attempts, b"an attempt", b"1", partition=0)
    world.flush()
    topic_id = topic_ids(world.kafka, [attempts])[attempts] or ""
    stage.replayer()

    def progress(next_offset: int, covers_from_ms: int = 0) -> list[LogProgress]:
        return [
            LogProgress(
                partition=part,
                topic_id=topic_id,
                next_offset=next_offset if part == 0 else 0,
                appended_at_ms=None,
                covers_from_ms=covers_from_ms,
            )
            for part in range(world.partitions)
        ]

    def refused() -> str:
        found = stage.work(stage.create(only=ReplayOnly.UNDELIVERED))
        assert (found.state, stage.world.replayed()) == (ReplayState.FAILED, [])
        return found.reason or ""

    assert "has not read partition 0" in refused()
    transact(stage.sessions, lambda session: write_attempts(session, [], progress(0)))
    assert "1 attempts behind" in refused()

    made = [each.delivery for each in world.arrived()]
    outcomes = [AttemptResult.DELIVERED, AttemptResult.ERROR_STATUS, None]
    logged = [
        LoggedAttempt(
            replace(ATTEMPT, delivery_id=delivery.id, hook_id=delivery.hook_id, client=delivery.client, result=outcome),
            now_ms(),
        )
        for number, delivery in enumerate(made)
        if (outcome := outcomes[number % 3]) is not None
    ]
    transact(stage.sessions, lambda session: write_attempts(session, logged, progress(1)))
    for only, wanted in ((ReplayOnly.UNDELIVERED, {1, 2}), (ReplayOnly.FAILED, {1})):
        replay_id = stage.create(only=only)
        counted = stage.work(replay_id)
        done = stage.run(replay_id)
        expected = sorted(delivery.id for number, delivery in enumerate(made) if number % 3 in wanted)
        assert ids(stage.written(done.job)) == expected
        assert counts(counted)[0] == done.progress.sent == len(expected)

    transact(stage.sessions, lambda session: write_attempts(session, [], progress(2, covers_from_ms=now_ms())))
    found = stage.work(stage.create(only=ReplayOnly.UNDELIVERED))
    assert found.reason is not None
    assert "begins later than the window" in found.reason
