"""What a run writes down, one JSON line each: what was asked and acknowledged, what endpoints saw, what was broken.

Times (`t`) are seconds of one monotonic clock since the start of the run. A line is never changed afterwards.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FLUSH_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Run:
    """The run itself; `wall_s` is the Unix time at `t`."""

    t: float
    seed: int
    minutes: float
    commit: str
    wall_s: float


@dataclass(frozen=True, slots=True)
class HookMade:
    """A hook, effective at every router from now on. `rate` is deliveries a second, None without a limit."""

    t: float
    hook: int
    client: int
    event: str
    path: str
    endpoint: str
    secret: str
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """An event is handed to a producer or an outbox; `number` counts the events of its resource for its hook."""

    t: float
    delivery: str
    hook: int
    concept: int
    number: int
    by: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The event is accepted: by Kafka at that position, or (offset -1) by the commit of the outbox's transaction."""

    t: float
    delivery: str
    topic: str = ""
    partition: int = -1
    offset: int = -1


@dataclass(frozen=True, slots=True)
class Unknown:
    """No acknowledgement came: the event may be in the log or not."""

    t: float
    delivery: str
    why: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request as an endpoint saw it; `request` counts them. `replay` is the job's name, empty for a live delivery."""

    t: float
    request: int
    path: str
    delivery: str
    hook: int
    attempt: int
    sequence: str
    replay: str
    signed_at_s: int
    signatures: str
    body: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The endpoint's answer; `status` 0: none, the connection ended. `refused`: with `webhook-delivery: abort`."""

    t: float
    request: int
    status: int
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """What an operator asked for, from `asked` to `t`. `on` is an endpoint, hook or delivery; `value` depends.

    `what`: pause, resume, disable, enable, rate (value: per second), rotate (value: the new secret), skip, retry,
    replay, resend. `ok` false: refused, or no answer; then it may have been done or not.
    """

    t: float
    asked: float
    what: str
    on: str
    ok: bool
    value: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something is broken on purpose; `on` is a role's, broker's or network's name."""

    t: float
    fault: int
    kind: str
    on: str


@dataclass(frozen=True, slots=True)
class Healed:
    """The fault is over, and what it struck says that it is ready."""

    t: float
    fault: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The committed offset of a group, whenever it is another."""

    t: float
    group: str
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """A record of the topic of dead letters, read at the end."""

    t: float
    delivery: str
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    """What the API says at the end of a delivery that was not seen to arrive."""

    t: float
    delivery: str
    state: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A role ended that was not asked to, or (code -1) was not ready long after its fault was over."""

    t: float
    role: str
    code: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Stalled:
    """The harness itself stood still for so long before `t`: its times are that much in doubt."""

    t: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The run came to its end: everything was healed, and there was time to deliver."""

    t: float


Entry: TypeAlias = (
    Run
    | HookMade
    | Asked
    | Acknowledged
    | Unknown
    | Request
    | Answered
    | Action
    | Fault
    | Healed
    | Commit
    | DeadLettered
    | State
    | Ended
    | Stalled
    | Finished
)
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in Entry.__args__}
_NAMES = {kind: [field.name for field in fields(kind)] for kind in _KINDS.values()}


def to_line(entry: Entry) -> str:
    """One line of a history."""
    kind = type(entry)
    values = {name: getattr(entry, name) for name in _NAMES[kind]}
    return json.dumps({"entry": kind.__name__, **values}, separators=(",", ":"))


def from_line(line: str) -> Entry:
    """Read a line.

    Raises:
        ValueError, KeyError, TypeError: no line of a history.
    """
    values = json.loads(line)
    entry: Entry = _KINDS[values.pop("entry")](**values)
    return entry


class HistoryFile:
    """Writes a compressed history; may be used from any thread. What is older than some seconds survives a kill."""

    def __init__(self, path: Path) -> None:
        """Begin a new file, and the run's clock."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()
        self._file = gzip.open(path, "wt", encoding="utf-8", compresslevel=6)  # noqa: SIM115 - closed by `close`
        self._lock = threading.Lock()
        self._flushed = self._began

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return round(time.monotonic() - self._began, 4)

    def add(self, entry: Entry) -> None:
        """Write an entry."""
        line = to_line(entry)
        with self._lock:
            self._file.write(line + "\n")
            if time.monotonic() - self._flushed > _FLUSH_EVERY_S:
                self._file.flush()
                self._flushed = time.monotonic()

    def close(self) -> None:
        """End the file."""
        with self._lock:
            self._file.close()


def read_history(path: Path) -> Iterator[Entry]:
    """Give the entries of a file; the end that a killed run has cut off is left out."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from _whole_lines(file)


def _whole_lines(file: Iterable[str]) -> Iterator[Entry]:
    try:
        for line in file:
            if line.endswith("\n"):
                yield from_line(line)
    except (EOFError, zlib.error):
        return
