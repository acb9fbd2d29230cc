"""Lines of a file, their pace, and what is counted."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookstream.processors.cli.commands.publish_file import FilePublisher, Pace, Published, event_of_fields
from hookstream.producers.errors import DeliveryFailedError, RegistryUnavailableError
from hookstream.producers.receipt import Receipt
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.errors import InvalidValueError, UnknownEventError

if TYPE_CHECKING:
    from hookstream.schemas.codecs.events import WrittenEvent
from hookstream.schemas.event import Event

CATALOGUE = Catalogue.shipped()
LINE: dict[str, Any] = {"event": "lead.new", "client": 434, "concept": {"id": 17, "sub_namespace": "x"}}


def test_a_line_is_an_event() -> None:
    event = event_of_fields(
        LINE | {"id": "0190b7a2-7c1e-7d4f-9d6e-5f3f1f2e4a5b", "occurred_at_ms": 5}, CATALOGUE, now_ms=9
    )
    assert (event.name, event.client, event.occurred_at_ms) == ("lead.new", 434, 5)
    assert (event.concept.id, event.concept.namespace, event.concept.sub_namespace) == (17, "lead", "x")
    assert str(event.id) == "0190b7a2-7c1e-7d4f-9d6e-5f3f1f2e4a5b"
    assert event_of_fields(LINE, CATALOGUE, now_ms=9).occurred_at_ms == 9


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"event": 3}, "event must be a string"),
        ({"client": "434"}, "client must be an integer"),
        ({"client": True}, "client must be an integer"),
        ({"concept": 17}, "concept must be a JSON object"),
        ({"concept": {}}, "concept has no id"),
        ({"concept": {"id": 1.5}}, "concept.id must be an integer"),
        ({"concept": {"id": 1, "kind": "x"}}, "'kind'"),
        ({"concept": {"id": 1, "namespace": "user"}}, "about a lead"),
        ({"concept": {"id": 1, "sub_namespace": 7}}, "sub_namespace must be a string"),
        ({"id": "x"}, "id must be a UUID"),
        ({"occurred_at_ms": "now"}, "occurred_at_ms must be an integer"),
        ({"colour": "red"}, "'colour'"),
    ],
)
def test_a_wrong_line_says_which_field(change: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidValueError, match=says):
        event_of_fields(LINE | change, CATALOGUE, now_ms=9)


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_whatever_is_no_event_is_refused(line: object) -> None:
    with pytest.raises((InvalidValueError, UnknownEventError)):
        event_of_fields(line, CATALOGUE, now_ms=9)


class Sink:
    """Takes events; those about concept 1 fail, and where the registry is down nothing is taken."""

    def __init__(self, *, away: bool = False) -> None:
        self.events: list[Event] = []
        self.flushed = False
        self._away = away

    def produce(
        self, event: Event, *, traceparent: bytes | None = None, written: WrittenEvent | None = None
    ) -> Future[Receipt]:
        assert traceparent is None  # a file says nothing of traces
        assert written is None
        if self._away:
            raise RegistryUnavailableError("away")
        future: Future[Receipt] = Future()
        self.events.append(event)
        if event.concept.id == 1:
            future.set_exception(DeliveryFailedError("refused", retriable=False, record_refused=True))
        else:
            future.set_result(Receipt("events.lead", 0, len(self.events)))
        return future

    def flush(self, deadline_s: float) -> None:
        assert deadline_s > 0
        self.flushed = True


def publish(lines: list[bytes], sink: Sink | None) -> tuple[Published, list[tuple[int, int, int]]]:
    """Publish lines at full speed; give the result and the progress that was told."""
    told: list[tuple[int, int, int]] = []
    publisher = FilePublisher(
        sink, CATALOGUE, pace=Pace(None), progress=lambda *numbers: told.append(numbers), now_ms=lambda: 9
    )
    return publisher.run(lines), told


def line(concept: int) -> bytes:
    """A good line."""
    return b'{"event": "lead.new", "client": 434, "concept": {"id": %d}}\n' % concept


def test_what_kafka_refuses_fails_beside_what_is_wrong_and_the_rest_is_sent_in_order() -> None:
    sink = Sink()
    published, told = publish([line(5), b"\n", line(1), b"[1]\n", line(6), b"{"], sink)
    assert [event.concept.id for event in sink.events] == [5, 1, 6]
    assert sink.flushed
    assert published.accepted == 2
    assert [number for number, _ in published.failures] == [3, 4, 6]
    assert told[-1][1:] == (2, 3)


def test_a_mark_at_the_start_of_a_file_is_no_part_of_its_first_line() -> None:
    sink = Sink()
    published, _ = publish([b"\xef\xbb\xbf" + line(5), b"\xef\xbb\xbf" + line(6)], sink)
    assert [event.concept.id for event in sink.events] == [5]
    assert [number for number, _ in published.failures] == [2]


def test_without_a_sink_everything_is_checked_and_nothing_is_sent() -> None:
    published, _ = publish([line(1), b"nonsense"], None)
    assert published.accepted == 1
    assert [number for number, _ in published.failures] == [2]


def test_a_registry_that_is_unavailable_ends_the_run() -> None:
    sink = Sink(away=True)
    with pytest.raises(RegistryUnavailableError):
        publish([line(5)], sink)
    assert sink.flushed


class Clock:
    """Time that goes on only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_pace_is_even() -> None:
    clock = Clock()
    pace = Pace(4, clock=clock, sleep=clock.sleep)
    times = []
    for _ in range(5):
        pace.wait()
        times.append(clock.now)
    assert times == [100, 100.25, 100.5, 100.75, 101]


def test_a_pause_is_not_caught_up_in_a_long_burst() -> None:
    clock = Clock()
    pace = Pace(10, clock=clock, sleep=clock.sleep)
    pace.wait()
    clock.now += 60
    at_once = 0
    resumed = clock.now
    while clock.now == resumed:
        pace.wait()
        at_once += clock.now == resumed
    assert 10 <= at_once <= 12
