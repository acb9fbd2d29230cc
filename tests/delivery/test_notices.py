"""Promise: a client is told of its own endpoints by notices, once for each cause, in order, and never in a storm."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook

from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.operations.group_reader import GroupReader
from hookstream.processors.operations.relays.hook_events import NoticeRelay, NoticeWriter
from hookstream.processors.operations.relays.notices import HookNotices
from hookstream.processors.operations.relays.relay import Relay
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.processors.operations.relays.subscriptions import SubscriptionsStep
from hookstream.processors.routing.router import Router, RouterConfig, run
from hookstream.processors.tables.subscription_reader import SubscriptionReader
from hookstream.schemas.catalogue import subject
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.codecs.hooks import notice_decoder, subscription_decoder, subscription_encoder
from hookstream.schemas.event import ClientId
from hookstream.schemas.notices import NoticeName, is_notice
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.repository import HookRepository
from hookstream.subscriptions.target_policy import TargetPolicy
from tests.support.relay_topic import now_ms
from tests.support.subscriptions_api import Api
from tests.support.targets import OK, Reply, Seen
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hookstream.schemas.hook import Hook
    from tests.support.delivery_world import DeliveryWorld
    from tests.support.processes import Processes

CLIENT, OPERATORS = 1, 9
DAY_MS = 86_400_000
# The rules' own numbers are those of unit tests; here they are short, for the clocks are real.
POLICY: dict[str, Any] = {
    "probe_first_s": 0.2,
    "probe_steady_s": 0.2,
    # Less than the first retry takes: so the second failure begins the quarantine, not the third, 6 s later.
    "breaker_after_s": 0.2,
    "notice_every_s": 0.5,
    "quarantine_told_after_s": 1.0,
    "dead_letters_told_every_s": 1.0,
}


class AnyAddress:
    """Permits loopback, where the tests listen."""

    def permits(self, _ip: object, /) -> bool:
        """Whether it is permitted."""
        return True


@dataclass
class NoticeWorld:
    """The API on SQLite with its relays, a router, and a world for workers."""

    world: DeliveryWorld
    api: Api
    secrets: dict[int, str] = field(default_factory=dict)

    def register(self, client: int, event: str, path: str) -> Hook:
        """Register a hook through the API."""
        made = self.api.integrator(client).create(event=event, target=self.world.targets.url(path)).json()["hook"]
        self.secrets[made["id"]] = made["secret"]
        return self.hook(made["id"])

    def register_for_notices(self, client: int, path: str) -> None:
        """Register a hook for each notice."""
        for name in NoticeName:
            self.register(client, name.value, path)

    def hook(self, hook_id: int) -> Hook:
        """Read a hook as it is now."""
        stored = transact(self.api.sessions, lambda s: HookRepository(s, "test", now_ms()).get(hook_id, client=None))
        return stored.hook

    def enable(self, hook: Hook) -> None:
        """Enable a hook through the API."""
        asked = self.api.integrator(int(hook.client))("POST", f"/hooks/{hook.id}/enable", {"backlog": "resume"})
        assert asked.status_code == 200

    def told(self, path: str) -> list[tuple[str, dict[str, Any]]]:
        """What a target was told, each `webhook-id` once: name and the body's data."""
        found: dict[str, tuple[str, dict[str, Any]]] = {}
        for seen in self.world.targets.accepted_by(path):
            body = json.loads(seen.body)
            if is_notice(body["event"]):
                found.setdefault(seen.id, (body["event"].partition(".")[2], body["data"]))
        return list(found.values())

    def names(self, path: str, target: str) -> list[str]:
        """The notices about one of the targets that another one was told of, in order."""
        return [name for name, data in self.told(path) if data["target"] == self.world.targets.url(target)]

    def wait_told(self, path: str, target: str, *names: str) -> None:
        """Wait until these notices about a target have arrived, in order, and no others."""

        def told() -> bool:
            assert self.names(path, target) == list(names), f"about {target}, told to {path}"
            return True

        eventually(told, describe=f"{names} about {target}")

    def verify(self, seen: Seen) -> None:
        """Check the signature with the public library, by the secret of the hook that the request names."""
        Webhook(self.secrets[int(seen.headers["hookstream-hook"])]).verify(seen.body, seen.headers)


@contextmanager
def _thread(run_it: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=run_it, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(WITHIN_S)
        assert not thread.is_alive()


@pytest.fixture
def notices(world: DeliveryWorld, sqlite_url: str) -> Iterator[NoticeWorld]:
    kafka, topics, registry, catalogue = world.config.kafka, world.topics, world.registry, world.catalogue

    def schema_id(topic: str) -> int:
        return registry.id_for(subject(topic), catalogue.subjects(topics)[subject(topic)])

    rows = SubscriptionWriter(kafka, topics.subscriptions, encode=subscription_encoder(schema_id(topics.subscriptions)))
    events = topics.events("hookstream")
    woken: list[Callable[[], None]] = []
    with ExitStack() as stack:
        api = Api(
            sqlite_url,
            secret_box=world.config.secrets,
            target_policy=TargetPolicy(addresses=AnyAddress()),
            now_ms=now_ms,
            changed=lambda: [wake() for wake in woken],
        )
        stack.callback(api.close)
        decode = subscription_decoder(registry.schema_text_by_id)
        relay = Relay(
            SubscriptionsStep(
                api.sessions,
                stack.enter_context(rows),
                lambda deliver: SubscriptionReader(kafka, topics.subscriptions, decode=decode, deliver=deliver),
                now_ms=now_ms,
            )
        )
        writer = NoticeWriter(
            kafka, events, encode=event_encoder(catalogue, "hookstream", schema_id(events)), told=lambda _: None
        )
        told = NoticeRelay(api.sessions, stack.enter_context(writer))
        woken += [relay.wake, told.wake]
        observed = HookNotices(
            api.sessions,
            topics,
            decode=notice_decoder(registry.schema_text_by_id),
            now_ms=now_ms,
            changed=lambda: [wake() for wake in woken],  # type: ignore[arg-type]
        )
        config = RouterConfig(kafka=kafka, topics=topics, catalogue=catalogue, operator_client=ClientId(str(OPERATORS)))
        stop = StopSignal()
        router = Router(config, registry, stop=stop, health=Health(), metrics=Metrics())
        ends = threading.Event()

        def end() -> None:
            ends.set()
            relay.wake()
            told.wake()

        stack.enter_context(_thread(lambda: relay.run(ends), end))
        stack.enter_context(_thread(lambda: told.run(ends), end))
        stack.enter_context(_thread(lambda: GroupReader(kafka, observed).run(stop), stop.ask))
        stack.enter_context(_thread(lambda: run(router, stop), stop.ask))
        eventually(lambda: router.ready, describe="the router is ready")
        yield NoticeWorld(world, api)


def test_each_cause_is_told_once_in_order_signed_to_the_client_and_the_operators(notices: NoticeWorld) -> None:
    """A quarantine and its end, a 410 and its end, failing for long, dead letters, an expiring backlog."""
    world, targets = notices.world, notices.world.targets
    notices.register_for_notices(CLIENT, "notices")
    notices.register_for_notices(OPERATORS, "operators")
    down = notices.register(CLIENT, "lead.new", "down")
    gone = notices.register(CLIENT, "lead.status", "gone")
    failing = notices.register(2, "lead.new", "failing")
    refused = notices.register(CLIENT, "lead.deleted", "refused")
    held = notices.register(CLIENT, "lead.updated", "held")
    assert notices.api.integrator(CLIENT)("POST", f"/hooks/{held.id}/disable").status_code == 200
    answers = {
        "/down": Reply(500),
        "/failing": Reply(500),
        "/gone": Reply(410),
        "/refused": Reply(422, {"webhook-delivery": "abort"}),
    }
    targets.answer = lambda seen: answers.get(seen.path, OK)
    worker = world.start(policy=POLICY)
    for hook in (down, gone, failing, refused):
        world.send(hook, range(3))
    old_ms = now_ms() - 5 * DAY_MS + 1_500
    world.produce([world.delivery(notices.hook(held.id), 1, arrived_ms=old_ms)])

    notices.wait_told("notices", "gone", "hook-disabled")
    notices.wait_told("notices", "held", "hook-disabled", "backlog-expiring")
    notices.wait_told("notices", "down", "endpoint-quarantined")
    del answers["/down"], answers["/gone"]
    notices.enable(gone)
    notices.wait_told("notices", "down", "endpoint-quarantined", "endpoint-recovered")
    notices.wait_told("notices", "gone", "hook-disabled", "hook-enabled")
    notices.wait_told("operators", "failing", "endpoint-quarantined")
    # For what is long enough now an endpoint may have failed for less than the others took to be told of.
    worker.stop()
    world.start(policy={**POLICY, "disable_after_s": 1.0})
    notices.wait_told("operators", "failing", "endpoint-quarantined", "hook-disabled")

    def dead() -> list[dict[str, Any]]:
        return [data for name, data in notices.told("notices") if name == "dead-lettered"]

    eventually(lambda: sum(data["count"] for data in dead()) == 3)
    assert dead()[0]["reasons"].keys() == {"refused"}

    mine = {path: Counter(notices.names("notices", path)) for path in ("down", "gone", "refused", "held", "failing")}
    assert not mine.pop("failing"), "another client's endpoint"
    eventually(lambda: {path: Counter(notices.names("operators", path)) for path in mine} == mine)
    for seen in (*targets.accepted_by("notices"), *targets.accepted_by("operators")):
        notices.verify(seen)
        assert b"secret" not in seen.body


def test_an_endpoint_for_notices_that_is_down_makes_no_notices(notices: NoticeWorld) -> None:
    """Whatever becomes of it, nothing is told about it, and what is pending arrives when it answers again."""
    world, targets = notices.world, notices.world.targets
    notices.register_for_notices(CLIENT, "notices")
    beside, down = notices.register(CLIENT, "lead.new", "notices"), notices.register(CLIENT, "lead.status", "down")
    targets.answer = lambda _seen: Reply(500)
    worker = world.start(policy=POLICY)
    for hook in (beside, down):
        world.send(hook, range(5))
    eventually(lambda: worker.metrics.notices[NoticeName.ENDPOINT_QUARANTINED] == 1, describe="one is told")
    asked = len(targets.to("notices"))
    eventually(lambda: len(targets.to("notices")) > asked + 10, describe="two more seconds of probes")
    assert sum(worker.metrics.notices.values()) == 1
    targets.answer = lambda _seen: OK
    notices.wait_told("notices", "down", "endpoint-quarantined", "endpoint-recovered")
    assert notices.names("notices", "notices") == []


def test_kill_9_between_a_cause_and_its_notice_loses_none(notices: NoticeWorld, processes: Processes) -> None:
    """A worker that is killed in a quarantine is followed by one that tells it when it has lasted since it began."""
    world, targets = notices.world, notices.world.targets
    notices.register_for_notices(CLIENT, "notices")
    down = notices.register(CLIENT, "lead.new", "down")
    targets.answer = lambda seen: Reply(500) if seen.path == "/down" else OK
    policy = {**POLICY, "quarantine_told_after_s": 4.0}
    worker = world.spawn(processes, policy=policy)
    world.send(down, range(3), partition=0)
    worker.wait_until(lambda: "its endpoint is quarantined" in worker.log_text(), what="the endpoint is quarantined")
    known = world.pointer_of()
    eventually(lambda: world.pointer_of() not in (None, known), describe="a later state says since when")
    killed_ms = now_ms()
    worker.kill()
    world.start(policy=policy)
    notices.wait_told("notices", "down", "endpoint-quarantined")
    targets.answer = lambda _seen: OK
    notices.wait_told("notices", "down", "endpoint-quarantined", "endpoint-recovered")
    (since,) = {datetime.fromisoformat(data["since"]) for _, data in notices.told("notices")}
    assert since.timestamp() * 1000 < killed_ms, "the quarantine is the one that the killed worker saw"
