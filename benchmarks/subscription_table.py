"""Memory and speed of the subscription table.

Writes the hooks to the embedded registry's wire format, then decodes and applies every one as a reader does (no
broker: reading adds 1.5 µs a record). Times are of CPU. Each hook has its own target and secret, and each client has
one hook: nothing can be shared, the worst case.
"""

from __future__ import annotations

import gc
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.running import Size, arguments, main
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codecs.hooks import subscription_decoder, subscription_encoder
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, Revision

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

SCHEMA_ID = 7
SECRET_BYTES = 72  # version, key id, nonce, 24 bytes of secret, tag, and some air
CHUNK = 50_000
BAR_S = 15.0
BAR_BYTES = 300.0
LOOK_UPS = 100_000
SIZES = (Size("hooks", 1_000_000, 50_000, "hooks in the table"),)


def rss_bytes() -> int:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def hook(number: int, events: tuple[EventName, ...]) -> Hook:
    """A hook that shares nothing with another."""
    return Hook(
        id=HookId(200_000 + number),
        client=ClientId(str(1_000 + number)),
        event=events[number % len(events)],
        target=f"https://hooks.integrator-{number}.example.com/v1/inbound/{number:08x}",
        state=HookState.ENABLED,
        revision=Revision(1 + number % 1000),
        secrets=(os.urandom(SECRET_BYTES),),
    )


def filled(hooks: int) -> tuple[SubscriptionTable, float]:
    """A table, and the seconds that decoding and applying took."""
    encode = subscription_encoder(SCHEMA_ID)
    decode = subscription_decoder(lambda _: InternalSchema.SUBSCRIPTION.text)
    events = Catalogue.shipped().event_names
    table = SubscriptionTable()
    spent = 0.0
    for first in range(0, hooks, CHUNK):
        rows = [hook(number, events) for number in range(first, min(first + CHUNK, hooks))]
        records = [(row.key, encode(row)) for row in rows]
        del rows
        started = time.process_time()
        for offset, (key, value) in enumerate(records, first):
            table.apply(offset, key, decode(value))
        spent += time.process_time() - started
    return table, spent


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Fill a table, weigh it, and look things up."""
    events = Catalogue.shipped().event_names
    gc.collect()
    before = rss_bytes()
    table, spent = filled(options.hooks)
    gc.collect()
    bytes_each = (rss_bytes() - before) / options.hooks
    started = time.process_time()
    for number in range(LOOK_UPS):
        table.route(str(1_000 + number), events[number % len(events)])
    routed = time.process_time()
    for number in range(LOOK_UPS):
        table.get(str(1_000 + number), events[number % len(events)])
    got = time.process_time()
    return [
        Figure(name="a million read", value=spent / options.hooks * 1e6, unit="s", at_most=BAR_S),
        Figure(name="memory", value=bytes_each, unit="bytes/hook", at_most=BAR_BYTES),
        Figure(name="route", value=(routed - started) / LOOK_UPS * 1e6, unit="µs"),
        Figure(name="get", value=(got - routed) / LOOK_UPS * 1e6, unit="µs"),
    ], []


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("table", chosen, lambda: measure(chosen))
