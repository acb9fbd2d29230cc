"""Endpoints that are well, flaky, down, slow or busy, and write down what they see."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.nemesis.history import Answered, Request
from tests.support.targets import HANG, OK, Reply, Seen, Targets

if TYPE_CHECKING:
    from tests.nemesis.book import Book
    from tests.nemesis.history import HistoryFile

_DOWN = Reply(503)
_ABORT = Reply(422, {"webhook-delivery": "abort"})


@dataclass(frozen=True, slots=True)
class Kind:
    """How an endpoint behaves. `down_every_s`: it is down, or hangs, for the last third of each such time."""

    name: str
    fails: float = 0.0
    refuses: float = 0.0
    busy: float = 0.0
    after_s: float = 0.0
    down_every_s: float = 0.0
    down: Reply = _DOWN
    proxied: bool = False
    rate: float | None = None
    outbox: bool = False


WELL = Kind("well")
BY_OUTBOX = Kind("outbox", outbox=True)
KINDS = (
    *(WELL,) * 5,
    *(BY_OUTBOX,) * 4,
    Kind("flaky", fails=0.1),
    Kind("flakier", fails=0.3, outbox=True),
    Kind("down", down_every_s=90.0),
    Kind("hangs", down_every_s=120.0, down=HANG),
    Kind("slow", after_s=0.3),
    Kind("far", proxied=True),
    Kind("farther", proxied=True, after_s=0.05),
    Kind("refuses", refuses=0.05),
    Kind("busy", busy=0.02),
    Kind("limited", rate=4.0),
    Kind("limited-far", rate=6.0),
)


class Endpoints(Targets):
    """All endpoints of a run; a path `<kind's index>/<client>` each."""

    def __init__(self, history: HistoryFile, book: Book, seed: int) -> None:
        """Listen while entered."""
        super().__init__(answer=self._reply)
        self.healed = False
        self._history = history
        self._book = book
        self._random = Random(f"endpoints {seed}")  # noqa: S311 - no secret
        self._numbers = itertools.count(1)
        self._under_way: dict[int, int] = {}

    def arrived(self, seen: Seen) -> None:
        """Write down a request."""
        number = self._under_way[id(seen)] = next(self._numbers)
        headers = seen.headers
        self._history.add(
            Request(
                t=self._history.now,
                request=number,
                path=seen.path,
                delivery=seen.id,
                hook=int(headers.get("hookstream-hook", -1)),
                attempt=seen.attempt,
                sequence=headers.get("hookstream-sequence", ""),
                replay=headers.get("hookstream-replay", ""),
                signed_at_s=int(headers.get("webhook-timestamp", 0)),
                signatures=headers.get("webhook-signature", ""),
                body=seen.body.decode(errors="replace"),
            )
        )

    def ended(self, seen: Seen) -> None:
        """Write down its answer, before it is sent: what the worker does next has to stand behind it."""
        number = self._under_way.pop(id(seen), None)
        if number is not None:
            status = seen.status or 0
            self._history.add(Answered(self._history.now, number, status, refused=status == _ABORT.status))
            if 200 <= status < 300:
                self._book.arrived(seen.id, seen.headers.get("hookstream-replay", ""))

    def _reply(self, seen: Seen) -> Reply:
        kind = KINDS[int(seen.path.split("/")[1])]
        if self.healed:
            return OK
        now, draw = self._history.now, self._random.random()
        if kind.down_every_s and now % kind.down_every_s > kind.down_every_s * 2 / 3:
            return kind.down
        if draw < kind.fails:
            return Reply(500)
        if draw < kind.refuses:
            return _ABORT
        if draw < kind.busy:
            return Reply(429, {"retry-after": "3"})
        return Reply(204, after_s=kind.after_s)


def path_of(index: int, client: int) -> str:
    """The path of an endpoint, without its first slash."""
    return f"{index}/{client}"
