"""What the demo publishes, and when its clock begins."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from hookstream.processors.cli.console import CommandError
from hookstream.processors.cli.trial import demo_run
from hookstream.processors.cli.trial.demo_plan import CLIENT, Judge, events_to_send
from hookstream.processors.lifecycle import StopSignal
from hookstream.producers.receipt import Receipt
from hookstream.schemas.catalogue import Catalogue

if TYPE_CHECKING:
    from hookstream.schemas.codecs.events import WrittenEvent
from hookstream.schemas.event import Event

NAMES = Catalogue.shipped().event_names
JUDGE = {str(name): index for index, name in enumerate(NAMES)}


class FirstReceipt(Future[Receipt]):
    """Is asked for, and given, before anything else is produced."""

    def __init__(self, sink: Sink, *, comes: bool) -> None:
        super().__init__()
        self._sink = sink
        self._comes = comes

    def result(self, timeout: float | None = None) -> Receipt:
        assert timeout
        assert len(self._sink.events) == 1
        if not self._comes:
            raise TimeoutError
        self._sink.connected = True
        return Receipt("events.lead", 0, 0)


class Sink:
    """As slow with its first event as a client that has no producer id yet."""

    def __init__(self, *, comes: bool = True) -> None:
        self.events: list[Event] = []
        self.connected = False
        self._comes = comes

    def produce(
        self, event: Event, *, traceparent: bytes | None = None, written: WrittenEvent | None = None
    ) -> Future[Receipt]:
        assert traceparent is None
        assert written is None
        self.events.append(event)
        if len(self.events) == 1:
            return FirstReceipt(self, comes=self._comes)
        assert self.connected, "the time of this event has begun, and it waits for the connection"
        return Future()

    def flush(self, deadline_s: float) -> None:
        assert deadline_s > 0


def stopped() -> StopSignal:
    """No pause between two events."""
    stop = StopSignal()
    stop.ask()
    return stop


def test_no_event_of_the_plan_pays_for_the_connection() -> None:
    sink, judge = Sink(), Judge(JUDGE)
    demo_run.publish_all(sink, Catalogue.shipped(), judge, stop=stopped())
    first, *planned = sink.events
    assert first.client != CLIENT, "it has no hook, and nothing is expected of it"
    assert [event.name for event in planned] == [event.name for event in events_to_send(Catalogue.shipped())]
    assert len(judge.bodies) == len(planned)


def test_a_kafka_that_takes_no_event_is_said() -> None:
    with pytest.raises(CommandError, match="did not acknowledge an event within"):
        demo_run.publish_all(Sink(comes=False), Catalogue.shipped(), Judge(JUDGE), stop=stopped())
