"""Publishing a file: a line is checked, sent at its pace, and counted when Kafka has answered."""

from __future__ import annotations

import codecs
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

import orjson

from hookstream.processors.cli.console import CommandError
from hookstream.producers.errors import DeliveryFailedError, RegistryError
from hookstream.producers.receipt import EventSink, Receipt
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.events import check_event
from hookstream.schemas.errors import InvalidValueError, SchemaError
from hookstream.schemas.event import Concept, Event

Progress: TypeAlias = Callable[[int, int, int], None]
"""Called with the bytes read, the events accepted and the lines failed, so far."""

_FLUSH_S = 3600.0  # the producer gives up on a record long before
_PROGRESS_EVERY_S = 0.1
_EVENT_FIELDS = {"event", "client", "concept", "id", "occurred_at_ms", "data"}
_CONCEPT_FIELDS = {"id", "namespace", "sub_namespace"}


def event_of_fields(fields: object, catalogue: Catalogue, *, now_ms: int) -> Event:
    """The event that a line describes; every value is checked.

    Raises:
        UnknownEventError, InvalidValueError: with the field.
    """
    line = _object(fields, "a line", _EVENT_FIELDS, required={"event", "client", "concept"})
    concept = _object(line["concept"], "concept", _CONCEPT_FIELDS, required={"id"})
    if not isinstance(line["event"], str):
        raise InvalidValueError("event must be a string")
    name = catalogue.require_written(line["event"])
    namespace = name.partition(".")[0]
    known = {} if line.get("id") is None else {"id": _uuid(line["id"])}
    event = Event(
        name=name,
        client=line["client"],  # type: ignore[arg-type]  # `check_event` refuses what is no id
        concept=Concept(
            id=concept["id"],  # type: ignore[arg-type]  # the same
            namespace=namespace if concept.get("namespace") is None else str(concept["namespace"]),
            sub_namespace=concept.get("sub_namespace"),  # type: ignore[arg-type]  # the same
        ),
        occurred_at_ms=line.get("occurred_at_ms", now_ms),  # type: ignore[arg-type]  # the same
        data=line.get("data"),
        **known,
    )
    check_event(event, catalogue)
    return event


def _object(value: object, what: str, allowed: set[str], *, required: set[str]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidValueError(f"{what} must be a JSON object")
    for name in sorted(required - set(value)):
        raise InvalidValueError(f"{what} has no {name}")
    for name in sorted(set(value) - allowed):
        raise InvalidValueError(f"{what} has a field {name[:100]!r} that means nothing")
    return value


def _uuid(value: object) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise InvalidValueError("id must be a UUID") from None


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a file: events that Kafka acknowledged, and lines that failed, by number, with the reason."""

    accepted: int
    failures: list[tuple[int, str]]


class Pace:
    """So many a second, evenly; what was late is not caught up in a burst longer than a second."""

    def __init__(
        self,
        rate: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`rate` a second; None is as fast as it goes."""
        self._interval_s = 0.0 if rate is None else 1.0 / rate
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    def wait(self) -> None:
        """Return when the next one may go."""
        if not self._interval_s:
            return
        now = self._clock()
        if self._next > now:
            self._sleep(self._next - now)
        self._next = max(self._next, now - 1.0) + self._interval_s


class FilePublisher:
    """Sends lines as they come. Reports arrive in the producer's thread and are counted under a lock."""

    def __init__(
        self,
        sink: EventSink | None,
        catalogue: Catalogue,
        *,
        pace: Pace,
        progress: Progress,
        now_ms: Callable[[], int],
    ) -> None:
        """Without a sink everything is checked and nothing is sent."""
        self._sink = sink
        self._catalogue = catalogue
        self._pace = pace
        self._progress = progress
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._accepted = 0
        self._failures: list[tuple[int, str]] = []

    def run(self, lines: Iterable[bytes]) -> Published:
        """Publish every line and wait for every answer; empty lines are nothing.

        Raises:
            ProducerError: Kafka or the registry cannot take any event; what was accepted until then is.
        """
        read_bytes, tell_at = 0, 0.0
        try:
            for number, line in enumerate(lines, start=1):
                read_bytes += len(line)
                # Some editors begin a file with a mark.
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if text.strip():
                    self._publish(number, text)
                if time.monotonic() >= tell_at:
                    tell_at = time.monotonic() + _PROGRESS_EVERY_S
                    self._progress(read_bytes, self._accepted, len(self._failures))
        finally:
            if self._sink is not None:
                self._sink.flush(_FLUSH_S)
            self._progress(read_bytes, self._accepted, len(self._failures))
        return Published(self._accepted, sorted(self._failures))

    def _publish(self, number: int, line: bytes) -> None:
        try:
            event = event_of_fields(orjson.loads(line), self._catalogue, now_ms=self._now_ms())
        except orjson.JSONDecodeError as exc:
            self._fail(number, f"not JSON: {exc.msg} at column {exc.colno}")
        except SchemaError as exc:
            self._fail(number, str(exc))
        else:
            self._send(number, event)

    def _send(self, number: int, event: Event) -> None:
        if self._sink is None:
            self._accepted += 1
            return
        self._pace.wait()
        try:
            future = self._sink.produce(event)
        except RegistryError:
            raise
        except DeliveryFailedError as exc:
            self._fail(number, str(exc))
        else:
            future.add_done_callback(lambda done: self._take(number, done))

    def _take(self, number: int, done: Future[Receipt]) -> None:
        error = done.exception()
        if error is not None:
            self._fail(number, str(error))
            return
        with self._lock:
            self._accepted += 1

    def _fail(self, number: int, reason: str) -> None:
        with self._lock:
            self._failures.append((number, reason))


@contextmanager
def open_lines(file: Path) -> Iterator[tuple[Iterable[bytes], int | None]]:
    """Lines of a file and its size in bytes, or of standard input, whose size is unknown.

    Raises:
        CommandError: the file cannot be read.
    """
    if str(file) == "-":
        yield sys.stdin.buffer, None
        return
    try:
        opened = file.open("rb")
    except OSError as exc:
        message = f"cannot read {file}: {exc.strerror}"
        raise CommandError(message) from exc
    with opened:
        yield opened, file.stat().st_size


def progress_for(total_bytes: int | None, *, quiet: bool) -> AbstractContextManager[Progress]:
    """A bar on a terminal, nothing elsewhere: the totals at the end say it all."""
    if quiet or not sys.stderr.isatty():
        return nullcontext(_no_progress)
    return _bar(total_bytes)


def _no_progress(_bytes: int, _accepted: int, _failed: int) -> None:
    """Show nothing."""


@contextmanager
def _bar(total_bytes: int | None) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total_bytes)

        def progress(read_bytes: int, accepted: int, failed: int) -> None:
            bar.update(task, completed=read_bytes, description=f"accepted {accepted:,}, failed {failed:,}")

        yield progress
