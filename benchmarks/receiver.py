"""A receiver for measurements: counts what a sender of webhooks delivers, cheaply enough to share two cores with it.

    .venv/bin/python benchmarks/receiver.py --port 9900 [--cert cert.pem --key key.pem]

POST /t/TARGET  counts a delivery and answers 200. A duplicate is a `webhook-id` seen before at this target. Disorder is
                a first receipt whose `hookstream-sequence` offset is below a higher one of the same concept there.
                `hookstream-occurred-at` (Unix ms) gives the latency. Any other sender may put "t" (Unix ns),
                "k" (resource) and "s" (sequence from 1) into its JSON body instead.
GET  /stats     JSON: received, refused, distinct, duplicates, out_of_order, seconds and rate between first and last
                receipt, latency percentiles in ms. ?only=A,B counts those targets alone, ?exclude=A,B all the others.
GET  /count     JSON: received and distinct alone, of the same targets as /stats: what may be asked all the time, since
                /stats sorts every latency, which takes the time of some thousand requests.
GET  /refusals  JSON: when the requests of ?target=T that were not accepted came, as Unix seconds.
GET  /ends      JSON: when each target received its last delivery, as Unix seconds.
GET  /reset     clears the counts, not the faults. ?keep=1: what was received stays known, and is a duplicate where it
                comes again.
GET  /fault?target=T&status=503&retry_after=30&delay_ms=15000&every=100&percent=10
                answers so from now on; target * means every target without a fault of its own, `every` only concepts
                whose id is a multiple, `percent` only so many requests, by chance. A status below 300 counts as
                received; no status and no delay ends the fault.

Requests need a content-length, or come in chunks without trailers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import ssl
import time
from array import array
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import uvloop

ACCEPTED = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}'
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")
NUMBER = re.compile(rb" *([0-9]+)")
TEXT = re.compile(rb' *"([^"]*)"')
CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
FIRST_FAILURE = 300
READ_BUFFER = memoryview(bytearray(65_536))


@dataclass(frozen=True, slots=True)
class Fault:
    """How a target misbehaves."""

    status: int
    delay_s: float
    retry_after: str
    every: int
    percent: int


class Tally:
    """What one target has received."""

    __slots__ = (
        "before", "disorder", "duplicates", "first", "high", "last", "latencies_ms", "received", "refused", "seen",
    )  # fmt: skip

    def __init__(self, before: frozenset[int] = frozenset()) -> None:
        """Start empty; `before` are deliveries that came before counting began."""
        self.before = before
        self.received = 0
        self.duplicates = 0
        self.disorder = 0
        self.first = math.inf
        self.last = -math.inf
        self.seen: set[int] = set()
        self.high: dict[bytes, int] = {}
        self.latencies_ms = array("d")
        self.refused = array("d")

    def receive(self, head: bytes, body: bytes) -> None:
        """Count one delivery."""
        now = time.time()
        if not self.received:
            self.first = now
        self.last = now
        self.received += 1
        sequence = header(head, b"hookstream-sequence")
        if sequence:
            offset = int(sequence[sequence.rindex(b":") + 1 :]) + 1
            resource = b"%b|%d" % (text(body, b'"namespace":'), number(body, b'"id":'))
            identity = hash(header(head, b"webhook-id"))
            occurred_ms = float(header(head, b"hookstream-occurred-at") or 0)
        else:
            offset = number(body, b'"s":')
            resource = text(body, b'"k":')
            identity = hash((resource, offset))
            occurred_ms = number(body, b'"t":') / 1e6
        if offset:
            if identity in self.seen or identity in self.before:
                self.duplicates += 1
            else:
                self.seen.add(identity)
                if offset < self.high.get(resource, 0):
                    self.disorder += 1
                else:
                    self.high[resource] = offset
        if occurred_ms:
            self.latencies_ms.append(now * 1e3 - occurred_ms)


def report(tallies: list[Tally]) -> dict[str, float]:
    """Summarise some targets."""
    received = sum(tally.received for tally in tallies)
    seconds = max((t.last for t in tallies), default=0.0) - min((t.first for t in tallies), default=0.0)
    seconds = seconds if received else 0.0
    latencies = sorted(ms for tally in tallies for ms in tally.latencies_ms)
    return {
        **count(tallies),
        "refused": sum(len(tally.refused) for tally in tallies),
        "duplicates": sum(tally.duplicates for tally in tallies),
        "out_of_order": sum(tally.disorder for tally in tallies),
        "seconds": seconds,
        "rate": received / seconds if seconds > 0 else 0.0,
        "p50_ms": percentile(latencies, 0.5),
        "p95_ms": percentile(latencies, 0.95),
        "p99_ms": percentile(latencies, 0.99),
        "max_ms": percentile(latencies, 1),
    }


def count(tallies: list[Tally]) -> dict[str, int]:
    """How much has come to some targets."""
    return {
        "received": sum(tally.received for tally in tallies),
        "distinct": sum(len(tally.seen) for tally in tallies),
    }


class Receiver:
    """Counts and faults, shared by every connection."""

    def __init__(self) -> None:
        """Start without faults."""
        self.tallies: dict[bytes, Tally] = {}
        self.before: dict[bytes, frozenset[int]] = {}
        self.faults: dict[bytes, Fault] = {}
        self.random = random.Random(1)  # noqa: S311 - a repeatable fault

    def fault(self, target: bytes, body: bytes) -> Fault | None:
        """How a request is to be mistreated."""
        found = self.faults.get(target) or self.faults.get(b"*")
        if found is None or (found.every and number(body, b'"id":') % found.every):
            return None
        return None if found.percent and self.random.random() * 100 >= found.percent else found

    def answer(self, head: bytes, body: bytes) -> bytes:
        """Serve one request whose delay is over."""
        path = request_path(head)
        if path.startswith(b"/t/"):
            target = path[3:]
            tally = self.tallies.get(target)
            if tally is None:
                tally = self.tallies[target] = Tally(self.before.get(target, frozenset()))
            fault = self.fault(target, body) if self.faults else None
            if fault is None or fault.status < FIRST_FAILURE:
                tally.receive(head, body)
                return ACCEPTED
            tally.refused.append(time.time())
            retry_after = f"retry-after: {fault.retry_after}\r\n" if fault.retry_after else ""
            return f"HTTP/1.1 {fault.status} Fault\r\n{retry_after}content-length: 0\r\n\r\n".encode()
        return plain_answer(self.control(path.decode()))

    def control(self, location: str) -> str:
        """Serve what is no delivery."""
        parts = urlsplit(location)
        query = dict(parse_qsl(parts.query))
        if parts.path == "/stats":
            return json.dumps(report(self.chosen(query)))
        if parts.path == "/count":
            return json.dumps(count(self.chosen(query)))
        if parts.path == "/refusals":
            tally = self.tallies.get(query["target"].encode())
            return json.dumps(list(tally.refused) if tally else [])
        if parts.path == "/ends":
            return json.dumps({name.decode(): tally.last for name, tally in self.tallies.items() if tally.received})
        if parts.path == "/reset":
            known = {target: tally.before | tally.seen for target, tally in self.tallies.items()}
            self.before = self.before | known if "keep" in query else {}
            self.tallies = {}
        if parts.path == "/fault":
            fault = Fault(
                status=int(query.get("status", 0)),
                delay_s=int(query.get("delay_ms", 0)) / 1e3,
                retry_after=query.get("retry_after", ""),
                every=int(query.get("every", 0)),
                percent=int(query.get("percent", 0)),
            )
            self.faults[query["target"].encode()] = fault
            if not fault.status and not fault.delay_s:
                del self.faults[query["target"].encode()]
        return "ok"

    def chosen(self, query: dict[str, str]) -> list[Tally]:
        """The targets that a question is about."""
        only, exclude = (set(query.get(name, "").encode().split(b",")) for name in ("only", "exclude"))
        return [t for name, t in self.tallies.items() if name not in exclude and ("only" not in query or name in only)]


class Connection(asyncio.BufferedProtocol):
    """One sender's connection; requests are answered one after the other."""

    def __init__(self, receiver: Receiver) -> None:
        """Wait for the transport."""
        self.receiver = receiver
        self.pending = b""
        self.waiting: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]  # a stream's transport; uvloop's is no subclass

    def connection_lost(self, error: Exception | None) -> None:
        """Forget a delayed answer: its connection is closed."""
        del error
        if self.waiting is not None:
            self.waiting.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the buffer of all connections: with TLS, uvloop allocates 256 KiB per read for any other protocol."""
        del sizehint
        return READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.pending += bytes(READ_BUFFER[:nbytes])
        self.serve_pending()

    def serve_pending(self) -> None:
        """Answer every whole request, unless one is being delayed."""
        while self.pending and self.waiting is None:
            end = self.pending.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.pending[: end + 2]
            length = content_length(head)
            if not length and CHUNKED.search(head):
                whole = chunked_body(self.pending, end + 4)
                if whole is None:
                    return
                body, body_end = whole
            else:
                body_end = end + 4 + length
                if len(self.pending) < body_end:
                    return
                body = self.pending[end + 4 : body_end]
            self.pending = self.pending[body_end:]
            self.serve(head, body)

    def serve(self, head: bytes, body: bytes) -> None:
        """Answer now, or when the target's delay is over."""
        faults = self.receiver.faults
        fault = self.receiver.fault(request_path(head)[3:], body) if faults else None
        if fault is not None and fault.delay_s:
            loop = asyncio.get_running_loop()
            self.waiting = loop.call_later(fault.delay_s, self.serve_delayed, head, body)
        else:
            self.transport.write(self.receiver.answer(head, body))

    def serve_delayed(self, head: bytes, body: bytes) -> None:
        """Answer, then go on with what came meanwhile."""
        self.waiting = None
        self.transport.write(self.receiver.answer(head, body))
        self.serve_pending()


def request_path(head: bytes) -> bytes:
    """Return the path and query of the request line."""
    start = head.index(b" ") + 1
    return head[start : head.index(b" ", start)]


def content_length(head: bytes) -> int:
    """Return the length of the body; our own spelling is found without a pattern."""
    start = head.find(b"\r\ncontent-length: ")
    if start >= 0:
        return int(head[start + 18 : head.index(b"\r\n", start + 18)])
    match = LENGTH.search(head)
    return int(match[1]) if match else 0


def chunked_body(data: bytes, start: int) -> tuple[bytes, int] | None:
    """Return the body whose chunks begin at `start`, and where they end; None while it is not whole."""
    parts: list[bytes] = []
    while (line := data.find(b"\r\n", start)) >= 0:
        size = int(data[start:line].partition(b";")[0], 16)
        begins, start = line + 2, line + 2 + size + 2
        if start > len(data):
            return None
        if not size:
            return b"".join(parts), start
        parts.append(data[begins : begins + size])
    return None


def header(head: bytes, name: bytes) -> bytes:
    """Return a header's value, or nothing; the name as hookstream spells it."""
    start = head.find(b"\r\n" + name + b": ")
    if start < 0:
        return b""
    start += len(name) + 4
    return head[start : head.index(b"\r\n", start)]


def number(body: bytes, key: bytes) -> int:
    """Return the integer after a key of a JSON body, or 0."""
    start = body.find(key)
    match = NUMBER.match(body, start + len(key)) if start >= 0 else None
    return int(match[1]) if match else 0


def text(body: bytes, key: bytes) -> bytes:
    """Return the string after a key of a JSON body, or nothing."""
    start = body.find(key)
    match = TEXT.match(body, start + len(key)) if start >= 0 else None
    return match[1] if match else b""


def percentile(ordered: list[float], fraction: float) -> float:
    """Return a percentile of sorted values; 0 of none."""
    return ordered[int((len(ordered) - 1) * fraction)] if ordered else 0.0


def plain_answer(text_body: str) -> bytes:
    """Return a 200 with a text body."""
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(text_body)}\r\n\r\n{text_body}".encode()


async def serve(options: argparse.Namespace) -> None:
    """Listen until killed."""
    context = None
    if options.cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.cert, options.key)
    receiver = Receiver()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(receiver), options.host, options.port, ssl=context, backlog=4096
    )
    print(f"receiver on {options.host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    """Parse the command line and listen."""
    parser = argparse.ArgumentParser(description="counts webhook deliveries")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9900, help="0: any free port; it is printed")
    parser.add_argument("--cert", help="certificate chain (PEM); turns TLS on")
    parser.add_argument("--key", help="private key (PEM)")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
