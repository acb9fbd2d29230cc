"""A load of its own process that publishes events through a server's HTTP API: at a rate, or as fast as it answers.

    python -m benchmarks.http_load '<JSON of a Plan>'

Connections are kept alive; each has one request under way, and the next only when that one was accepted. All events of
one resource go over the same connection, so the order in which they were accepted is known. A request that fails is
sent again until it is accepted, as a careful producer does: on a new connection, with the same ids where the plan gives
them. With a rate, an event's time is when it was due, not when its turn came. It begins at once; what it did is printed
as the last line, in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import uvloop

from benchmarks.load import EVENT, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOOKSTREAM, WEBHOOKX = "hookstream", "webhookx"
_AGAIN_AFTER_S = 0.05
_FIRST_OTHER = 300
_IDS = uuid.UUID("5b0a3f9e-7c53-4c0e-9d0e-5d7c2a5f0f11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to publish, and where. `rate_per_s` 0: as fast as it goes. `batch`: events a request, at most.

    `first` is the number of the first event: numbers give each resource's events their order, over several loads too.
    """

    port: int
    kind: str
    clients: tuple[int, ...]
    events: int
    path: str = "/"
    token: str = ""
    resources: int = 500
    connections: int = 16
    batch: int = 1
    rate_per_s: float = 0.0
    ids: bool = False
    first: int = 0

    def json(self) -> str:
        """As the argument of this module."""
        return json.dumps(asdict(self))


def event_type(client: int) -> str:
    """What a client's endpoint is subscribed to where a server knows event types only, and no clients."""
    return f"{EVENT}.{client}"


def place(plan: Plan, number: int) -> tuple[int, int]:
    """Client and resource of an event: clients take turns, each goes through its resources in turn."""
    turn, client = divmod(number, len(plan.clients))
    return plan.clients[client], turn % plan.resources


def connection_of(plan: Plan, number: int) -> int:
    """The connection of an event: that of its client and resource."""
    return number % (len(plan.clients) * plan.resources) % plan.connections


def portions(plan: Plan, connection: int) -> Iterator[list[int]]:
    """The numbers of the events of each request of a connection, in order."""
    found: list[int] = []
    for number in range(plan.first, plan.first + plan.events):
        if connection_of(plan, number) == connection:
            found.append(number)
            if len(found) == plan.batch:
                yield found
                found = []
    if found:
        yield found


def body_of(plan: Plan) -> Callable[[list[int], list[float]], bytes]:
    """A function from events' numbers and times (Unix seconds) to a request's body."""

    def one(number: int, occurred_s: float) -> dict[str, object]:
        client, resource = place(plan, number)
        concept = {"id": resource}
        known = str(uuid.uuid5(_IDS, str(number))) if plan.ids else None
        if plan.kind == HOOKSTREAM:
            event = {"event": EVENT, "client": client, "concept": concept, "occurred_at_ms": int(occurred_s * 1000)}
            return event if known is None else {**event, "id": known}
        data = {
            "event": EVENT,
            "client": client,
            "concept": {"id": resource, "namespace": NAMESPACE},
            "k": f"{client}|{resource}",
            "s": number + 1,
            "t": int(occurred_s * 1e9),
        }
        event = {"event_type": event_type(client), "data": data}
        return event if known is None else {**event, "unique_id": known}

    def body(numbers: list[int], occurred_s: list[float]) -> bytes:
        events = [one(*each) for each in zip(numbers, occurred_s, strict=True)]
        return json.dumps(events[0] if plan.batch == 1 else events, separators=(",", ":")).encode()

    return body


class Publisher:
    """One connection and its requests."""

    def __init__(self, plan: Plan) -> None:
        """Nothing is connected yet."""
        self.repeated = 0
        self._plan = plan
        self._body = body_of(plan)
        token = f"authorization: Bearer {plan.token}\r\n" if plan.token else ""
        self._head = f"POST {plan.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{token}"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, connection: int, began_s: float) -> None:
        """Publish everything of this connection; `began_s`: when number `first` was due, Unix seconds."""
        plan = self._plan
        for numbers in portions(plan, connection):
            if plan.rate_per_s:
                due_s = [began_s + (number - plan.first) / plan.rate_per_s for number in numbers]
                await asyncio.sleep(max(0.0, due_s[-1] - time.time()))
            else:
                due_s = [time.time()] * len(numbers)
            body = self._body(numbers, due_s)
            request = f"{self._head}content-length: {len(body)}\r\n\r\n".encode() + body
            while not await self._accepted(request):
                self.repeated += 1
                await asyncio.sleep(_AGAIN_AFTER_S)
        if self._streams is not None:
            self._streams[1].close()

    async def _accepted(self, request: bytes) -> bool:
        """Whether it was answered with a 2xx; the connection is given up where it was not answered."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._plan.port)
            reader, writer = self._streams
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
        except (OSError, asyncio.IncompleteReadError):
            if self._streams is not None:
                self._streams[1].close()
            self._streams = None
            return False
        return int(head.split(b" ", 2)[1]) < _FIRST_OTHER


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def run(plan: Plan) -> dict[str, float]:
    """Publish everything and wait until all of it is accepted."""
    publishers = [Publisher(plan) for _ in range(plan.connections)]
    cpu_s, began, began_s = time.process_time(), time.perf_counter(), time.time()
    await asyncio.gather(*(each.run(number, began_s) for number, each in enumerate(publishers)))
    seconds = time.perf_counter() - began
    return {
        "sent": plan.events,
        "seconds": seconds,
        "rate": plan.events / seconds,
        "repeated": sum(each.repeated for each in publishers),
        "cpu_s": time.process_time() - cpu_s,
    }


def main() -> None:
    """Run one plan."""
    values = json.loads(sys.argv[1])
    plan = Plan(**{**values, "clients": tuple(values["clients"])})
    print(json.dumps(uvloop.run(run(plan))), flush=True)


if __name__ == "__main__":
    main()
