"""The event producer as the relay of a simulated outbox has it: the broker and the registry do what the world says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NoReturn

from hookstream.producers.errors import DeliveryFailedError, QueueFullError, RegistryUnavailableError
from hookstream.producers.receipt import Receipt
from hookstream.schemas.errors import InvalidValueError

if TYPE_CHECKING:
    from hookstream.schemas.codecs.events import WrittenEvent
    from hookstream.schemas.event import Event
    from tests.support.outbox_world import OutboxWorld, Process

_QUEUE_DEADLINE_S = 1.0
_REGISTRY_DEADLINE_S = 5.0
_SLOW_S = 20.0  # it asked for less, and did not get the processor


class Refusal(Enum):
    """Who refuses an event for good, and when."""

    BY_ITS_SCHEMA = auto()
    AT_ONCE = auto()
    BY_THE_BROKER = auto()


class Fate(Enum):
    """What the producer is told of a record, if it is told anything."""

    STORED = auto()
    FAILED = auto()
    SILENT = auto()
    FATAL = auto()
    REFUSED = auto()


_FATES = (Fate.STORED, Fate.FAILED, Fate.SILENT, Fate.FATAL)


@dataclass(eq=False)
class Record:
    """An event on its way."""

    event: Event
    traceparent: bytes | None
    written: WrittenEvent | None
    fate: Fate
    owner: Process


class Sink:
    """A relay's producer: a record is stored now, later or never, whatever it is told of it."""

    def __init__(self, world: OutboxWorld, owner: Process) -> None:
        self.world, self.owner = world, owner
        self.fatal = False
        """It never sends again."""

    def produce(  # the Protocol's own signature, but for what a future is
        self, event: Event, *, traceparent: bytes | None = None, written: WrittenEvent | None = None
    ) -> Any:
        """Take an event, or refuse it."""
        world = self.world
        world.handed(self.owner, event)
        world.interleave(self.owner)
        if self.fatal:
            self.fence()
        self._ask_registry(event.namespace, None if written is None else written.schema_text)
        refusal = world.refused.get(str(event.id))
        if refusal is Refusal.BY_ITS_SCHEMA:
            self.owner.turn.refused.add(str(event.id))
            raise InvalidValueError("its schema does not allow that")
        if refusal is Refusal.AT_ONCE:
            self.refuse(event)
        if world.fails(0.02):
            world.now += _QUEUE_DEADLINE_S
            raise QueueFullError("no room")
        record = Record(event, traceparent, written, self._fate(refusal), self.owner)
        if record.fate is Fate.FATAL and world.random.random() < 0.5:
            self.fatal = True  # what follows is refused before this one is waited for
        self._send(record)
        return Report(self, record)

    def flush(self, deadline_s: float) -> None:
        """The relay waits for each report."""

    def refuse(self, event: Event) -> NoReturn:
        """Refuse an event for good."""
        self.owner.turn.refused.add(str(event.id))
        raise DeliveryFailedError("too large", retriable=False, record_refused=True)

    def fence(self) -> NoReturn:
        """End."""
        self.fatal = True
        raise DeliveryFailedError("fenced", retriable=False, record_refused=False)

    def _ask_registry(self, namespace: str, text: str | None) -> None:
        world, asked = self.world, self.owner.turn.unanswered
        if (namespace, text) in asked:
            world.violated(f"the registry is asked again for {namespace} by the batch that it did not answer")
        if (namespace, text) in world.unanswered:
            world.now += _REGISTRY_DEADLINE_S
            asked.add((namespace, text))
            raise RegistryUnavailableError("no answer")

    def _fate(self, refusal: Refusal | None) -> Fate:
        if refusal is not None:
            return Fate.REFUSED
        if not self.world.fails(0.12):
            return Fate.STORED
        return self.world.random.choices(_FATES, (6, 8, 6, 2))[0]

    def _send(self, record: Record) -> None:
        if record.fate is Fate.REFUSED:
            return
        draw = self.world.random.random()
        if draw < 0.4:
            self.world.store(record)
        elif draw < 0.7 or record.fate is Fate.STORED:
            self.world.in_flight.append(record)


class Report:
    """In place of a future: what the producer is told of one record, some time after it was sent."""

    def __init__(self, sink: Sink, record: Record) -> None:
        self._sink, self._record = sink, record

    def result(self, timeout_s: float) -> Receipt:
        """Wait for the report."""
        sink, record = self._sink, self._record
        world = sink.world
        world.interleave(sink.owner)
        if record.fate is Fate.SILENT or world.fails(0.2):
            world.now += world.random.choice((timeout_s, _SLOW_S))
            raise TimeoutError
        world.now += 0.01
        if record.fate is Fate.REFUSED:
            sink.refuse(record.event)
        if record.fate is Fate.FATAL:
            sink.fence()
        if record.fate is Fate.FAILED:
            raise DeliveryFailedError("no acknowledgement in time", retriable=True, record_refused=False)
        if record in world.in_flight:
            world.in_flight.remove(record)
            world.store(record)
        world.acknowledged(sink.owner, record.event)
        return Receipt(f"events.{record.event.namespace}", 0, len(world.log))
