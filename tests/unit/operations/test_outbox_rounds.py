"""How long the relay of an outbox waits, and for what: neither for ever, nor for every row, nor without its lock."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest
from sqlalchemy.exc import OperationalError

from hookstream.processors.deadline import Deadline
from hookstream.processors.operations.relays import outbox as module
from hookstream.processors.operations.relays.outbox import OutboxRelay, _Sending
from hookstream.producers.errors import RegistryUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hookstream.producers.outbox import OutboxRow
    from hookstream.producers.receipt import Receipt

LOOKS = 5


def rows(*resources: str) -> Sequence[OutboxRow]:
    return cast(
        "Sequence[OutboxRow]",
        [
            SimpleNamespace(id=number, resource=resource, event="lead.new", event_id="1", schema_text=None)
            for number, resource in enumerate(resources)
        ],
    )


@dataclass
class Sink:
    """Gives no report; the registry may not answer it."""

    error: Exception | None = None
    asked: int = 0

    def produce(self, _event: object, **_: object) -> Future[Receipt]:
        """Take an event."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Future()


@dataclass
class Clock:
    """A second passes at each look, and a hundred looks are too many for anything that ends."""

    now: float = 0.0

    def __call__(self) -> float:
        """Read it."""
        self.now += 1.0
        assert self.now < 100.0, "it waits without end"
        return self.now


class Stop(threading.Event):
    """Is set at the fifth look, or never."""

    def __init__(self, *, ever: bool) -> None:
        super().__init__()
        self.looks = 0
        self._ever = ever

    def is_set(self) -> bool:
        """Look."""
        self.looks += 1
        assert self.looks < 100, "it waits without end"
        return self._ever and self.looks > LOOKS


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STOP_CHECK_S", 0.0)
    for name in ("event_of", "traceparent_of", "written_of"):
        monkeypatch.setattr(module, name, lambda _row: None)


@pytest.mark.parametrize(("within_s", "stops"), [(LOOKS, False), (10_000.0, True)])
def test_a_report_that_does_not_come_is_waited_for_until_the_deadline_or_the_stop(within_s: float, stops: bool) -> None:
    clock = Clock()
    sending = _Sending(cast("Any", Sink()), Deadline.after(within_s, clock), Stop(ever=stops))
    sending.send(rows("a", "b"))
    assert (sending.sent, sending.parked) == ([], {})


class PartlySilent(Sink):
    """Acknowledges what it takes at once, but for the first."""

    def produce(self, _event: object, **_: object) -> Future[Receipt]:
        """Take an event."""
        report = super().produce(_event)
        if self.asked > 1:
            report.set_result(cast("Any", None))
        return report


def test_a_report_that_is_there_counts_when_the_time_is_over_and_nothing_more_is_sent() -> None:
    sink = PartlySilent()
    sending = _Sending(cast("Any", sink), Deadline.after(LOOKS, Clock()), threading.Event())
    sending.send(rows("silent", "a", "b", "a"))
    assert (sending.sent, sink.asked) == ([1, 2], 3)


def test_a_registry_that_does_not_answer_is_asked_once_a_batch_for_a_schema() -> None:
    sink = Sink(RegistryUnavailableError("no answer"))
    sending = _Sending(cast("Any", sink), Deadline.after(50.0, Clock()), threading.Event())
    sending.send(rows("a", "b", "c", "a"))
    assert (sink.asked, sending.sent, sending.parked) == (1, [], {})


@dataclass
class Lock:
    """A lock whose connection breaks."""

    released: int = 0
    connection: Any = field(init=False)

    def __post_init__(self) -> None:
        self.connection = self

    def begin(self) -> NoReturn:
        """Fail."""
        raise OperationalError("SELECT", {}, Exception("the connection is lost"))

    def release(self) -> None:
        """Note it."""
        self.released += 1


def test_a_relay_whose_connection_broke_gets_its_lock_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL has freed the lock with the connection, and another relay may have it."""
    locks: list[Lock] = []

    def lock(_engine: object) -> Lock:
        locks.append(Lock())
        return locks[-1]

    monkeypatch.setattr(module, "lock_outbox", lock)
    monkeypatch.setattr(module, "_unpark", lambda _connection: None)
    relay = OutboxRelay(cast("Any", None), cast("Any", Sink()))
    for _ in range(2):
        with pytest.raises(OperationalError):
            relay.run_once()
    assert [each.released for each in locks] == [1, 1]
