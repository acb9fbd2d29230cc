"""Sixty clients with 23 hooks each, whose endpoints all hang: what a healthy client feels, beside a quiet run before.

The deliveries of those that hang come at a rate that has more in flight than a worker has places for before the first
time-out. In a second run each of these clients also moves one of its hooks to a new address every second. The healthy
client's load begins with theirs, so the first fifteen seconds, in which it is unknown who hangs, count.
"""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, allowed_p99_ms
from benchmarks.load import DELIVERIES, NAMESPACE
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import healthy_run, wait_received, warm_load
from benchmarks.stack import READY_WITHIN_S, Stack, broker
from hookstream.processors.kafka import make_producer, producer_config
from hookstream.schemas.codecs.deliveries import delivery_encoder
from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, Revision

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.stack import Received
    from hookstream.schemas.hook import Hook

HEALTHY = 1
HANGING = range(1_000, 1_060)
HOOKS = 23
BAR_FACTOR, BAR_SLACK_MS = 1.5, 20.0
SIZES = (
    Size("rate", 100.0, 50.0, "deliveries a second to the healthy client"),
    Size("healthy-seconds", 30.0, 6.0, "how long it is alone"),
    Size("seconds", 60.0, 10.0, "how long these clients are there, in each of two runs"),
    Size("hanging-rate", 500.0, 500.0, "deliveries a second to them"),
)


class HangingClients:
    """Everything that the clients whose endpoints hang do, in a thread of its own."""

    def __init__(self, stack: Stack, *, retargets: bool, rate_per_s: float) -> None:
        """Publish the hooks; nothing is written yet."""
        server = stack.processes.python("-m", "benchmarks.hanging", name="hanging")
        server.wait_until(lambda: "hanging on" in server.log_text(), READY_WITHIN_S, what="listening")
        self._url = server.log_text().split()[-1]
        self._stack = stack
        self._retargets = retargets
        self._rate_per_s = rate_per_s
        self._revisions = dict.fromkeys(itertools.product(HANGING, range(HOOKS)), 1)
        self._encode = delivery_encoder(stack.schema_id(stack.topics.deliveries))
        self._producer = make_producer(producer_config(stack.kafka, linger_ms=5.0))
        self._written = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        stack.publish_rows(self._row(client, hook) for client, hook in self._revisions)

    def __enter__(self) -> None:
        """Begin."""
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _row(self, client: int, hook: int) -> Hook:
        revision = self._revisions[client, hook]
        return self._stack.row(
            client,
            hook=client * 100 + hook,
            event=EventName(f"{NAMESPACE}.e{hook}"),
            target=f"{self._url}/{client}/{hook}/{revision}",
            revision=revision,
        )

    def _run(self) -> None:
        began, turns = time.monotonic(), itertools.cycle(self._revisions)
        paced = moved = 0
        while not self._stop.wait(0.01):
            elapsed_s = time.monotonic() - began
            while paced < elapsed_s * self._rate_per_s:
                client, hook = next(turns)
                self._write(client, hook, self._written)
                paced += 1
            self._producer.poll(0)
            if self._retargets and moved < elapsed_s:
                self._retarget(moved % HOOKS)
                moved += 1

    def _retarget(self, hook: int) -> None:
        """Every client whose endpoints hang moves one of its hooks."""
        for client in HANGING:
            self._revisions[client, hook] += 1
        self._stack.publish_rows(self._row(client, hook) for client in HANGING)

    def _write(self, client: int, hook: int, resource: int) -> None:
        self._written += 1
        now_ms = time.time_ns() // 1_000_000
        event = EventName(f"{NAMESPACE}.e{hook}")
        delivery = Delivery(
            id=DeliveryId(f"hanging_{self._written:032x}"),
            event=event,
            client=ClientId(str(client)),
            concept_id=str(resource),
            namespace=NAMESPACE,
            body=b'{"event":"%b","client":%d,"concept":{"id":%d,"namespace":"%b","sub_namespace":null}}'
            % (event.encode(), client, resource, NAMESPACE.encode()),
            occurred_at_ms=now_ms,
            hook_id=HookId(client * 100 + hook),
            hook_revision=Revision(1),
            source_topic=f"events.{NAMESPACE}",
            source_partition=0,
            source_offset=self._written,
            arrived_ms=now_ms,
        )
        self._producer.produce(self._stack.topics.deliveries, self._encode(delivery), delivery.key)


def scene(servers: str, options: argparse.Namespace, *, retargets: bool) -> tuple[Received, Received, int]:
    """A quiet run and one beside those that hang; what the healthy client received in each, and what it did not."""
    with Stack(servers) as stack:
        stack.publish_hooks((HEALTHY,))
        hanging = HangingClients(stack, retargets=retargets, rate_per_s=options.hanging_rate)
        stack.role("deliver").wait_ready()
        quiet = healthy_run(
            stack, DELIVERIES, (HEALTHY,), rate_per_s=options.rate, seconds=options.healthy_seconds, of=(HEALTHY,)
        )
        load = warm_load(stack, DELIVERIES, (HEALTHY,), rate_per_s=options.rate, seconds=options.seconds)
        with hanging:
            load.go()
            load.wait(options.seconds + 60)
            wait_received(stack, (HEALTHY,), load.plan.records, 20.0)
            beside = stack.receiver.stats(only=(HEALTHY,))
        return quiet, beside, load.plan.records - beside.distinct


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """With hooks that stay, and with hooks that move."""
    figures = []
    with broker() as servers:
        for retargets in (False, True):
            quiet, beside, missing = scene(servers, options, retargets=retargets)
            name = "moving " if retargets else ""
            allowed = allowed_p99_ms(quiet.p99_ms, factor=BAR_FACTOR, slack_ms=BAR_SLACK_MS)
            figures += [
                Figure(name=f"{name}quiet p99", value=quiet.p99_ms, unit="ms"),
                Figure(name=f"{name}p99", value=beside.p99_ms, unit="ms", at_most=allowed),
                Figure(name=f"{name}ratio", value=beside.p99_ms / quiet.p99_ms),
                Figure(name=f"{name}p50", value=beside.p50_ms, unit="ms"),
                Figure(name=f"{name}max", value=beside.max_ms, unit="ms"),
                Figure(name=f"{name}not delivered", value=missing, at_most=0),
            ]
    return figures, ()


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("fairness", chosen, lambda: measure(chosen))
