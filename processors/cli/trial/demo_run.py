"""The demo: every event of the catalogue on its whole way, in one process, judged by its own receiver."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from hookstream.processors import logs
from hookstream.processors.cli.api_client import ApiClient
from hookstream.processors.cli.console import CommandError, as_cell
from hookstream.processors.cli.deps import event_producer
from hookstream.processors.cli.roles.process import listen
from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import StoppedError
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.settings import KEY_BYTES, Settings
from hookstream.processors.wall_clock import now_ms
from hookstream.producers.receipt import EventSink
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.event import EventName
from hookstream.subscriptions.database import open_sessions, transact
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.tokens import TokenRequest, issue_token

from .demo_plan import CLIENT, EVENTS_OF_EACH, RESOURCES, Judge, event_without_hooks, events_to_send, path_of
from .demo_receiver import Arrival, DemoReceiver
from .demo_view import view_for
from .embedded_roles import Embedded, Listeners, embedded_roles

# On a machine that does much else everything takes many times as long as alone; what takes so long does not come.
_EFFECTIVE_WITHIN_S = 60.0
_ARRIVED_WITHIN_S = 30.0
_LOOK_S = 0.01
_PACE_S = 0.005
_PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the demo saw. No problems: every delivery arrived, in order per resource, with a valid signature."""

    events: int
    deliveries: int
    duplicates: int
    problems: Sequence[str]
    latencies_ms: Sequence[float]
    seconds: float

    def fields(self) -> dict[str, object]:
        """For programs."""
        return {
            "events": self.events,
            "deliveries": self.deliveries,
            "duplicates": self.duplicates,
            "problems": list(self.problems),
            "latency_ms": {"median": _percentile(self.latencies_ms, 0.5), "max": _percentile(self.latencies_ms, 1)},
            "seconds": round(self.seconds, 3),
        }

    def lines(self) -> list[str]:
        """For people."""
        if self.problems:
            more = len(self.problems) - _PROBLEMS_SHOWN
            return [*self.problems[:_PROBLEMS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        median, worst = _percentile(self.latencies_ms, 0.5), _percentile(self.latencies_ms, 1)
        return [
            f"{self.deliveries} deliveries of {self.events} events: all here, in order per resource, signatures valid",
            f"{self.seconds:.1f} s from start to last delivery, {self.duplicates} duplicates",
            f"latency from event to receiver: {median:.1f} ms at the median, {worst:.1f} ms at most",
        ]


def run_demo(console: Console, started: float) -> Report:
    """Run it; `started` is the monotonic time that the demo counts from.

    Raises:
        CommandError: something did not start, or an API call failed.
    """
    logs.configure(level="error")
    stop = StopSignal()
    stop.catch_signals()
    with tempfile.TemporaryDirectory(prefix="hookstream-demo-") as directory, listen("127.0.0.1", 0) as listener:
        url = f"sqlite:///{Path(directory) / 'hookstream.sqlite3'}"
        with embedded_roles(
            Settings.read(),
            database_url=url,
            secret_key=os.urandom(KEY_BYTES),
            listeners=Listeners(api=listener),
            stop=stop,
        ) as embedded:
            embedded.wait_ready()
            return _scenario(embedded, console, started)


def _scenario(embedded: Embedded, console: Console, started: float) -> Report:
    names = embedded.deps.catalogue.written_names
    if not names:
        raise CommandError(
            "every event of this catalogue is written by another service: the demo has none to publish;"
            " `hookstream events check --sample TOPIC` shows the records of a topic as events"
        )
    secrets: dict[str, str] = {}
    arrivals: list[Arrival] = []
    last_at = started
    with view_for(console, names, RESOURCES * EVENTS_OF_EACH) as view:

        def arrived(arrival: Arrival) -> None:
            nonlocal last_at
            last_at = time.monotonic()
            arrivals.append(arrival)
            view(arrival)

        with DemoReceiver(secrets, arrived) as receiver, ApiClient(embedded.api_url, _token(embedded)) as api:
            judge = Judge(_register(api, receiver.url, names, secrets))
            _wait(embedded.stop, lambda: _effective(api, judge), _EFFECTIVE_WITHIN_S)
            _publish(embedded, judge)
            _wait(embedded.stop, lambda: not judge.missing(list(arrivals)), _ARRIVED_WITHIN_S)
    return Report(
        events=len(names),
        deliveries=len(judge.bodies) - judge.missing(arrivals),
        duplicates=judge.duplicates(arrivals),
        problems=judge.problems(arrivals),
        latencies_ms=sorted(arrival.latency_ms for arrival in arrivals),
        seconds=last_at - started,
    )


def _token(embedded: Embedded) -> str:
    request = TokenRequest(role=Role.INTEGRATOR, client=CLIENT, name="demo", expires_at_ms=None)
    sessions = open_sessions(embedded.engine)
    return transact(
        sessions, lambda session: issue_token(session, request, actor="hookstream demo", now_ms=now_ms())
    ).token


def _register(api: ApiClient, receiver_url: str, names: Sequence[EventName], secrets: dict[str, str]) -> dict[str, int]:
    """Register a hook per event, as an integrator does, and give their ids."""
    ids = {}
    for name in names:
        hook = api.post("/hooks", {"hook": {"event": name, "target": receiver_url + path_of(name)}})["hook"]
        ids[str(name)] = int(hook["id"])
        secrets[path_of(name)] = hook["secret"]
    return ids


def _effective(api: ApiClient, judge: Judge) -> bool:
    """Whether the routers know every hook: they read them in the order of their creation."""
    last = max(judge.hook_ids.values())
    return bool(api.get(f"/hooks/{last}")["hook"]["effective"])


def _publish(embedded: Embedded, judge: Judge) -> None:
    """Publish as a service does, at a pace that the eye can follow."""
    with event_producer(embedded.deps, source="/hookstream/demo") as producer:
        producer.warm_up()
        publish_all(producer, embedded.deps.catalogue, judge, stop=embedded.stop)


def publish_all(sink: EventSink, catalogue: Catalogue, judge: Judge, *, stop: StopSignal) -> None:
    """Publish the plan; `judge` gets each event, with the time at which it occurred.

    Raises:
        CommandError, ProducerError: Kafka does not take events.
    """
    # librdkafka has its producer id when it has started, or half a second later, if no broker was connected by then.
    # Only an acknowledgement shows that the topic is ready: without this one, half of all demos of a single namespace
    # took that long.
    first = sink.produce(replace(event_without_hooks(catalogue), occurred_at_ms=now_ms()))
    try:
        first.result(_ARRIVED_WITHIN_S)
    except TimeoutError:
        message = f"Kafka did not acknowledge an event within {_ARRIVED_WITHIN_S:g} s"
        raise CommandError(message) from None
    for planned in events_to_send(catalogue):
        event = replace(planned, occurred_at_ms=now_ms())
        judge.sent(event)
        sink.produce(event)
        stop.wait(_PACE_S)


def _wait(stop: StopSignal, condition: Callable[[], bool], deadline_s: float) -> None:
    """Wait at most so long; what is missing then is the judge's to say."""
    deadline = Deadline.after(deadline_s)
    while not condition() and not deadline.over:
        if stop.wait(_LOOK_S):
            raise StoppedError("asked to stop before every delivery had arrived")


def _percentile(ordered: Sequence[float], fraction: float) -> float:
    return ordered[int((len(ordered) - 1) * fraction)] if ordered else 0.0


def print_report(report: Report, console: Console) -> None:
    """Print the report.

    Raises:
        CommandError: it is not a good one.
    """
    for line in report.lines():
        console.print(as_cell(line), soft_wrap=True)
    if report.problems:
        message = f"the demo failed: {len(report.problems)} promises were broken"
        raise CommandError(message)
