"""The relay of a producing service's outbox: what was committed is sent, at least once, in order per resource.

The steps of one batch, in an order that nothing may change:

1. Hold the lock that makes this the only relay of the database; losing it ends the connection that the rest uses.
2. Read the oldest rows.
3. Send them in rounds, of each resource no more than one event a round: the next leaves when the one before it is
   acknowledged. So an event that fails holds back those behind it, whatever the producer's time-outs are.
4. Delete what was acknowledged, and commit.

kill -9 between 3 and 4 sends a batch again, in the same order and with the same event ids, hence with the same
`webhook-id`s. A relay that was suspended, lost its lock and wakes up repeats what its successor sent, in order too:
the first appearances of a resource's events are in order.

An event that no repetition can send (not in the catalogue, too large) is parked with its reason: it and what follows
it of the same resource stay in the table, all others go on. Whoever becomes the relay tries parked rows again.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import structlog
from sqlalchemy import Connection, Engine, Select, delete, exists, select, update
from sqlalchemy.exc import SQLAlchemyError
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import ProcessorError
from hookstream.producers.errors import DeliveryFailedError, QueueFullError, RegistryError
from hookstream.producers.outbox import OUTBOX, OutboxRow, event_of, traceparent_of, written_of
from hookstream.producers.receipt import EventSink, Receipt
from hookstream.schemas.errors import SchemaError

from .outbox_lock import OutboxLock, lock_outbox

_STOP_CHECK_S = 0.1
_BACKOFF_MAX_S = 5.0

log = structlog.get_logger("hookstream.outbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one turn did. `deferred` rows are still pending and come again; a standby found another relay at work."""

    standby: bool = False
    sent: int = 0
    deferred: int = 0
    parked: int = 0


class _NoProgressError(ProcessorError):
    """Every row of a batch was deferred."""


class OutboxRelay:
    """Sends the outbox of one database through one sink. Use from one thread; run as many processes as you like."""

    def __init__(
        self,
        engine: Engine,
        sink: EventSink,
        *,
        batch_rows: int = 500,
        poll_interval_s: float = 0.1,
        report_deadline_s: float = 150.0,
    ) -> None:
        """Prepare; nothing is read yet.

        `batch_rows` is also how many events kill -9 can repeat. `poll_interval_s` is how long an empty table is left
        alone. `report_deadline_s` should exceed the sink's own time-out; a row without a report by then is sent again.
        """
        self._engine = engine
        self._sink = sink
        self._batch_rows = batch_rows
        self._poll_interval_s = poll_interval_s
        self._report_deadline_s = report_deadline_s
        self._lock: OutboxLock | None = None

    def run(self, stop: threading.Event) -> None:
        """Relay until `stop` is set; the database, the broker and the registry may come and go.

        Raises:
            ProducerError: the sink cannot send any more (a fatal error of its client, or it was closed).
        """
        retrying = Retrying(
            retry=retry_if_exception_type((SQLAlchemyError, _NoProgressError)),
            wait=wait_random_exponential(multiplier=self._poll_interval_s, max=_BACKOFF_MAX_S),
            sleep=sleep_using_event(stop),
            stop=stop_when_event_set(stop),
            before_sleep=_log_retry,
            retry_error_callback=lambda _: Batch(),
        )
        with self:
            while not stop.is_set():
                batch = retrying(self._progress, stop)
                if batch.sent < self._batch_rows:
                    stop.wait(self._poll_interval_s)

    def run_once(self, stop: threading.Event | None = None) -> Batch:
        """Send one batch of the oldest rows and delete what was acknowledged; waits for every report unless stopped.

        Raises:
            SQLAlchemyError: the database failed; the lock is given up, and what was sent may be sent again.
            ProducerError: the sink cannot send any more; what it did send is deleted.
        """
        try:
            connection = self._lead()
            if connection is None:
                return Batch(standby=True)
            with connection.begin():
                rows = connection.execute(_oldest_rows(self._batch_rows)).all()
            if not rows:
                return Batch()
            sending = _Sending(self._sink, Deadline.after(self._report_deadline_s), stop or threading.Event())
            try:
                sending.send(rows)
            finally:
                with connection.begin():
                    _settle(connection, sending)
        except SQLAlchemyError:
            self.close()
            raise
        deferred = len(rows) - len(sending.sent) - len(sending.parked)
        return Batch(sent=len(sending.sent), deferred=deferred, parked=len(sending.parked))

    def close(self) -> None:
        """Give up the lock, so that another relay takes over at once. The next `run_once` tries to get it back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        """Use as a context: closed at its end."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _progress(self, stop: threading.Event) -> Batch:
        batch = self.run_once(stop)
        if batch.deferred and not batch.sent and not stop.is_set():
            msg = f"none of {batch.deferred} events could be sent"
            raise _NoProgressError(msg)
        return batch

    def _lead(self) -> Connection | None:
        """Give the connection that holds the lock, or None while another relay has it."""
        if self._lock is None:
            lock = lock_outbox(self._engine)
            if lock is None:
                return None
            self._lock = lock
            _unpark(lock.connection)
        return self._lock.connection


@dataclass(slots=True)
class _Sending:
    """One batch on its way: rows by what became of them; what is in neither list is deferred."""

    sink: EventSink
    deadline: Deadline
    stop: threading.Event
    sent: list[int] = field(default_factory=list)
    parked: dict[int, str] = field(default_factory=dict)
    _refused_schemas: set[tuple[str, str | None]] = field(default_factory=set)

    def send(self, rows: Sequence[OutboxRow]) -> None:
        """Send in rounds; a resource leaves when one of its rows is not acknowledged.

        Raises:
            ProducerError: the sink cannot send any more.
        """
        waiting: dict[str, deque[OutboxRow]] = defaultdict(deque)
        for row in rows:
            waiting[row.resource].append(row)
        while waiting and not self._ends:
            on_way = list(self._produce(queue[0] for queue in waiting.values()))
            acknowledged = {row.resource for row, future in on_way if self._acknowledged(row, future)}
            for resource in [*waiting]:
                if resource in acknowledged:
                    waiting[resource].popleft()
                if resource not in acknowledged or not waiting[resource]:
                    del waiting[resource]

    def _produce(self, heads: Iterable[OutboxRow]) -> Iterable[tuple[OutboxRow, Future[Receipt]]]:
        for row in heads:
            namespace = row.event.partition(".")[0]
            schema = namespace, row.schema_text
            if schema in self._refused_schemas:
                continue
            try:
                yield row, self.sink.produce(event_of(row), traceparent=traceparent_of(row), written=written_of(row))
            except QueueFullError:
                return
            except RegistryError as exc:
                # The sink has waited for the registry once; it shall not do so for every row. What was enqueued under
                # another schema may go: of one that was deleted from the registry nothing ever does.
                self._refused_schemas.add(schema)
                log.warning("events of a namespace wait for the schema registry", namespace=namespace, reason=str(exc))
            except (SchemaError, ValueError) as exc:
                self._park(row, exc)
            except DeliveryFailedError as exc:
                self._failed(row, exc)

    def _acknowledged(self, row: OutboxRow, future: Future[Receipt]) -> bool:
        while True:
            ends = self._ends  # a report that is there counts all the same
            try:
                future.result(0.0 if ends else _STOP_CHECK_S)
            except TimeoutError:
                if ends:
                    return False
                continue
            except DeliveryFailedError as exc:
                self._failed(row, exc)
                return False
            self.sent.append(row.id)
            return True

    @property
    def _ends(self) -> bool:
        """Whether nothing more is sent, and no report is waited for."""
        return self.stop.is_set() or self.deadline.over

    def _failed(self, row: OutboxRow, exc: DeliveryFailedError) -> None:
        if exc.record_refused:
            self._park(row, exc)
        elif not exc.retriable:
            raise exc

    def _park(self, row: OutboxRow, exc: Exception) -> None:
        self.parked[row.id] = str(exc)
        log.error(
            "an event of the outbox cannot be sent; its resource waits",
            row=row.id,
            event_name=row.event,
            event_id=row.event_id,
            reason=str(exc),
        )


def _oldest_rows(limit: int) -> Select[Any]:
    """Select what may be sent: not parked, nor behind a parked row of the same resource."""
    ahead = OUTBOX.alias()
    same = ahead.c.resource == OUTBOX.c.resource
    blocked = exists().where(same, ahead.c.parked.is_not(None), ahead.c.id < OUTBOX.c.id)
    return select(OUTBOX).where(OUTBOX.c.parked.is_(None), ~blocked).order_by(OUTBOX.c.id).limit(limit)


def _unpark(connection: Connection) -> None:
    """Let parked rows be tried again. Where there are none nothing is written: on SQLite, writing waits for writers."""
    parked = OUTBOX.c.parked.is_not(None)
    with connection.begin():
        if connection.execute(select(exists().where(parked))).scalar():
            connection.execute(update(OUTBOX).where(parked).values(parked=None))


def _settle(connection: Connection, sending: _Sending) -> None:
    if sending.sent:
        connection.execute(delete(OUTBOX).where(OUTBOX.c.id.in_(sending.sent)))
    for row_id, reason in sending.parked.items():
        connection.execute(update(OUTBOX).where(OUTBOX.c.id == row_id).values(parked=reason))


def _log_retry(state: RetryCallState) -> None:
    exc = state.outcome.exception() if state.outcome else None
    reason = str(exc) if isinstance(exc, ProcessorError) else type(exc).__name__
    log.warning("the outbox relay waits", attempt=state.attempt_number, reason=reason)
