"""The command line and the API replay a window of the log; every role is a process."""

from __future__ import annotations

import threading
import time
from bisect import bisect
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from hookstream.producers.config import ProducerConfig
from hookstream.producers.event_producer import EventProducer
from hookstream.schemas.delivery import delivery_id
from tests.support.deployment import Caller, Deployment, Role
from tests.support.targets import OK, Reply, Targets
from tests.support.values import an_event
from tests.support.wait import eventually

if TYPE_CHECKING:
    from typing import Any

    from hookstream.schemas.delivery import DeliveryId
    from hookstream.schemas.event import Event
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes
    from tests.support.targets import Seen

EVENTS, RESOURCES = 25_000, 200
RATE = 4_000
DOWN = Reply(503)
WITHIN_S = 180.0
# Live deliveries take milliseconds, in which a replay has some dozens; one that waited for replays would wait for all
# that a worker has read. Counted and not timed: where a machine that others use too stalls, both stand still.
OVERTAKEN = RATE


@dataclass
class Night:
    """A deployment in which every role runs, and the targets that its hooks point to."""

    deployment: Deployment
    api: Role
    router: Role
    targets: Targets

    def producer(self) -> EventProducer:
        """What a service publishes with."""
        config = ProducerConfig(
            bootstrap_servers=self.deployment.kafka,
            schema_registry_url=self.deployment.registry,
            topics=self.deployment.topics,
        )
        return EventProducer(config)

    def sent(self, replay_id: int) -> int:
        """How many deliveries a replay says that it has sent."""
        replay = self.operator("GET", f"/replays/{replay_id}").json()["replay"]
        assert replay["state"] in ("running", "done"), replay
        return int(replay["progress"]["sent"])

    @property
    def operator(self) -> Caller:
        """An operator, who may see everything."""
        return Caller(self.api.url, self.deployment.env["HOOKSTREAM_API_TOKEN"])


@pytest.fixture
def night(
    kafka: Kafka, registry_url: str, database_url: str, topics: TopicNames, processes: Processes, targets: Targets
) -> Night:
    """Everything but a replayer, ready."""
    deployment = Deployment(kafka.bootstrap_servers, registry_url, database_url, topics, processes)
    deployment.prepare()
    api, router, worker = [deployment.role(name) for name in ("api", "router", "deliver")]
    for role in (api, router, worker):
        role.wait_ready()
    deployment.env["HOOKSTREAM_API_URL"] = api.url
    deployment.env["HOOKSTREAM_API_TOKEN"] = deployment.token("operator")
    return Night(deployment, api, router, targets)


class LiveTraffic:
    """Events of the hooks of two clients, published in a thread at some fifty a second."""

    def __init__(self, night: Night) -> None:
        self.events: list[tuple[float, Event]] = []
        self._night = night
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Publish no more."""
        self._ends.set()
        self._thread.join(30)

    def _publish(self) -> None:
        with self._night.producer() as producer:
            while not self._ends.wait(0.02):
                number = len(self.events)
                name, client = ("lead.updated", 434) if number % 2 else ("lead.new", 9999)
                event = an_event(name, client=client, concept=number % RESOURCES)
                producer.produce(event).result(30)
                self.events.append((time.monotonic(), event))


def first_of_each_resource_in_order(seen: list[Seen]) -> bool:
    """Whether first deliveries of a resource are in the order of the log."""
    firsts: dict[int, dict[str, int]] = defaultdict(dict)
    for request in seen:
        offset = int(request.headers["hookstream-sequence"].rpartition(":")[2])
        firsts[request.concept].setdefault(request.id, offset)
    return all(list(found.values()) == sorted(found.values()) for found in firsts.values())


def test_a_hook_registered_afterwards_gets_the_whole_window_though_the_replayer_is_killed(night: Night) -> None:
    """25,000 events: counted, sent at a rate, the replayer killed in the middle; none is missing, nothing live is late.

    It takes a while: the window is long, and a killed replayer's lease has to end.
    """
    events = [an_event("lead.updated", client=434, concept=number % RESOURCES) for number in range(EVENTS)]
    with night.producer() as producer:
        for receipt in [producer.produce(event) for event in events]:
            receipt.result(60)
    unwanted = 'hookstream_routed_total{result="unwanted"}'
    eventually(lambda: night.router.metric(unwanted) >= EVENTS, WITHIN_S, describe="no hook wants them")
    own = Caller(night.api.url, night.deployment.token("integrator", 434))
    hook = own.register("lead.updated", night.targets.url("late"))
    other = Caller(night.api.url, night.deployment.token("integrator", 9999))
    others = other.register("lead.new", night.targets.url("other"))
    other.wait_effective(max(hook["id"], others["id"]))

    killed = night.deployment.role("replayer").wait_ready()
    rates = ("--rate", str(RATE), "--rate-per-endpoint", str(RATE))
    done = night.deployment.run("replay", "--from", "-1h", "--client", "434", *rates, "--dry-run", "--json")
    assert done.code == 0, done.err
    plan = done.json()
    assert plan["count"]["deliveries"] == EVENTS
    (counted,) = plan["count"]["hooks"]
    assert (counted["id"], counted["deliveries"], counted["client"]) == (hook["id"], EVENTS, {"id": 434})
    assert (counted["event"], counted["target"]) == ("lead.updated", night.targets.url("late"))
    assert plan["count"]["estimate_s"] == pytest.approx(EVENTS / RATE)
    assert night.targets.requests == [], "a dry run sends nothing"
    assert plan["state"] == "cancelled", "and leaves nothing that waits"
    done = night.deployment.run("replay", "--from", "-1h", "--client", "434", *rates, "--json")
    assert done.code == 1, "so many are not sent without --yes"
    (plan, _) = night.deployment.run("replay", "list", "--json").json()
    assert (plan["state"], plan["count"]["deliveries"]) == ("planned", EVENTS)

    live = LiveTraffic(night)
    try:
        eventually(lambda: len(live.events) > 10, WITHIN_S)
        path = f"/replays/{plan['id']}"
        assert night.operator("PATCH", path, {"replay": {"state": "running"}}).status_code == 200
        eventually(lambda: night.sent(plan["id"]), WITHIN_S, every_s=0.05, describe="it sends")
        killed.process.kill()
        assert night.sent(plan["id"]) < EVENTS, "too late to be killed in the middle"
        night.deployment.role("replayer").wait_ready()
        done = night.deployment.run("replay", "resume", str(plan["id"]))
        assert (done.code, done.out) == (0, f"replay {plan['id']}: done, sent {EVENTS:,}\n"), done.err
        wanted = {delivery_id(event.id, hook["id"]) for event in events}

        def all_arrived() -> bool:
            missing = wanted - {seen.id for seen in night.targets.accepted_by("late")}
            assert not missing, f"{len(missing)} missing"
            return True

        eventually(all_arrived, WITHIN_S, every_s=0.5)
    finally:
        live.stop()

    check_replayed(night, plan, wanted)
    check_live(night, live, {434: hook["id"], 9999: others["id"]})


def check_replayed(night: Night, plan: dict[str, Any], wanted: set[DeliveryId]) -> None:
    """Everything that was counted arrived as a replay, nothing else did, first deliveries in order."""
    replayed = [seen for seen in night.targets.accepted_by("late") if "hookstream-replay" in seen.headers]
    assert {seen.headers["hookstream-replay"] for seen in replayed} == {plan["job"]}
    assert {seen.id for seen in replayed} == wanted, "something else was sent, too"
    assert len(replayed) < EVENTS + 4 * RATE, "more than a tail was repeated"
    assert first_of_each_resource_in_order(replayed)
    assert min(int(seen.headers["webhook-timestamp"]) for seen in replayed) >= plan["created_at_ms"] // 1000


def check_live(night: Night, live: LiveTraffic, hooks: dict[int, int]) -> None:
    """Everything that was published meanwhile arrived, before what was replayed meanwhile, in order."""

    def live_arrived() -> dict[str, Seen]:
        accepted = [*night.targets.accepted_by("late"), *night.targets.accepted_by("other")]
        found = {seen.id: seen for seen in accepted if "hookstream-replay" not in seen.headers}
        assert len(found) == len(live.events), f"{len(live.events) - len(found)} live deliveries missing"
        return found

    arrived = eventually(live_arrived, WITHIN_S, every_s=0.5)
    replayed = [seen.at for seen in list(night.targets.requests) if "hookstream-replay" in seen.headers]
    came = [arrived[delivery_id(event.id, hooks[int(event.client)])].at for _, event in live.events]
    overtaken = [
        bisect(replayed, at) - bisect(replayed, published) for at, (published, _) in zip(came, live.events, strict=True)
    ]
    late = [count for count in overtaken if count > OVERTAKEN]
    assert len(late) <= len(overtaken) // 100, f"live deliveries waited for replays: {late}"
    for name in ("late", "other"):
        seen = [each for each in night.targets.accepted_by(name) if "hookstream-replay" not in each.headers]
        assert first_of_each_resource_in_order(seen)


def test_a_replay_never_overtakes_what_a_failing_endpoint_is_owed(night: Night) -> None:
    """A window is replayed to an endpoint that is down: the owed and the replayed arrive, first deliveries first."""
    night.targets.answer = lambda _seen: DOWN
    own = Caller(night.api.url, night.deployment.token("integrator", 434))
    hook = own.register("lead.updated", night.targets.url("failing"))
    own.wait_effective(hook["id"])
    events = [an_event("lead.updated", client=434, concept=number % 3) for number in range(60)]
    with night.producer() as producer:
        for receipt in [producer.produce(event) for event in events]:
            receipt.result(30)
    routed = 'hookstream_routed_total{result="routed"}'
    eventually(lambda: night.router.metric(routed) == len(events), WITHIN_S)
    night.deployment.role("replayer").wait_ready()
    done = night.deployment.run("replay", "--from", "-1h", "--hook", str(hook["id"]), "--yes", "--json")
    assert done.code == 0, done.err
    assert (done.json()["state"], done.json()["progress"]["sent"]) == ("done", len(events))
    night.targets.answer = lambda _seen: OK
    wanted = {delivery_id(event.id, hook["id"]) for event in events}

    def both_arrived() -> list[Seen]:
        accepted = night.targets.accepted_by("failing")
        replayed = {seen.id for seen in accepted if "hookstream-replay" in seen.headers}
        first = {seen.id for seen in accepted if "hookstream-replay" not in seen.headers}
        assert replayed == first == wanted, f"{len(first)} live, {len(replayed)} replayed of {len(wanted)}"
        return accepted

    accepted = eventually(both_arrived, WITHIN_S, every_s=0.5)
    assert first_of_each_resource_in_order(accepted)
    firsts: dict[str, Seen] = {}
    for seen in accepted:
        firsts.setdefault(seen.id, seen)
    assert not [seen for seen in firsts.values() if "hookstream-replay" in seen.headers], "a replay came first"


def test_what_is_much_or_cut_is_not_sent_unasked(night: Night) -> None:
    """A large replay without --yes and a terminal waits; it can be seen, and ended; usage errors are one line."""
    own = Caller(night.api.url, night.deployment.token("integrator", 434))
    hook = own.register("lead.updated", night.targets.url("much"))
    own.wait_effective(hook["id"])
    with night.producer() as producer:
        for receipt in [producer.produce(an_event("lead.updated", client=434, concept=n)) for n in range(1_001)]:
            receipt.result(30)
    eventually(lambda: len(night.targets.accepted_by("much")) == 1_001, WITHIN_S)
    night.deployment.role("replayer").wait_ready()
    run = night.deployment.run
    done = run("replay", "--from", "-1h")
    assert done.code == 1
    assert "deliveries 1,001, at least 0:00:10" in done.out
    assert done.err.count("\n") == 1, done.err
    assert "not sent without --yes: replay 1 waits" in done.err
    (listed,) = run("replay", "list", "--json").json()
    assert (listed["id"], listed["state"]) == (1, "planned")
    assert "planned" in run("replay", "show", "1").out
    assert run("replay", "pause", "1").code == 1
    assert run("replay", "cancel", "1").code == 0
    assert run("replay", "show", "1", "--json").json()["state"] == "cancelled"
    for wrong in ((), ("--from", "yesterday"), ("--from", "-1h", "--resource", "property")):
        done = run("replay", *wrong)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
    nothing = run("replay", "--from", "-1h", "--event", "lead.new", "--json")
    assert (nothing.code, nothing.err) == (0, "nothing to send: replay 2 is cancelled\n")
    assert nothing.json()["state"] == "cancelled"
    assert len(night.targets.requests) == 1_001
