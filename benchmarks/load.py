"""A load of its own process: writes events, deliveries or a peer's records to Kafka, at a rate or as fast as it can.

    python -m benchmarks.load '<JSON of a Plan>'

By convention client n has one hook, n, whose target is `/t/n`. Clients take turns; each goes through its resources in
turn. With a rate, one warm-up record per client is written and acknowledged first (a producer's first record takes half
a second), `warm` is printed, and the load begins on SIGUSR1. What it did is printed as the last line, in JSON.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.schemas.body import thin_body
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.deliveries import delivery_encoder
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.event import ClientId, Concept, Event, EventName
from hookstream.schemas.hook import HookId, Revision

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACE = "property"
EVENT = EventName("property.updated")
DELIVERIES, EVENTS, BODIES = "deliveries", "events", "bodies"
# From here on, company in a request is worth more than the milliseconds it takes.
_HIGH_RATE = 4_000
_LINGER_MS = 5.0
_QUEUE = 200_000
_AT_ONCE = 1_000
_NAP_S = 0.001
_FLUSH_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to write. `rate_per_s` 0: as fast as it goes, without a warm-up."""

    bootstrap_servers: str
    topic: str
    kind: str
    clients: tuple[int, ...]
    records: int
    resources: int = 500
    rate_per_s: float = 0.0
    schema_id: int = 0

    def json(self) -> str:
        """As the argument of this module."""
        return json.dumps(asdict(self))


def encoder(plan: Plan) -> Callable[[int, int, int], tuple[bytes, bytes]]:
    """A function from client, resource and a growing sequence to a record's key and value."""
    if plan.kind == EVENTS:
        encode_event = event_encoder(Catalogue.shipped(), NAMESPACE, plan.schema_id)

        def event(client: int, resource: int, _sequence: int) -> tuple[bytes, bytes]:
            found = Event(
                name=EVENT,
                client=client,
                concept=Concept(id=resource, namespace=NAMESPACE),
                occurred_at_ms=time.time_ns() // 1_000_000,
            )
            return found.key, encode_event(found)

        return event
    if plan.kind == DELIVERIES:
        encode_delivery = delivery_encoder(plan.schema_id)

        def delivery(client: int, resource: int, sequence: int) -> tuple[bytes, bytes]:
            now_ms = time.time_ns() // 1_000_000
            concept = Concept(id=resource, namespace=NAMESPACE)
            event = Event(name=EVENT, client=client, concept=concept, occurred_at_ms=now_ms)
            found = Delivery(
                id=DeliveryId(f"msg_{sequence:032x}"),
                event=EVENT,
                client=ClientId(str(client)),
                concept_id=str(resource),
                namespace=NAMESPACE,
                body=thin_body(event),
                occurred_at_ms=now_ms,
                hook_id=HookId(client),
                hook_revision=Revision(1),
                source_topic=f"events.{NAMESPACE}",
                source_partition=0,
                source_offset=sequence,
                arrived_ms=now_ms,
            )
            return found.key, encode_delivery(found)

        return delivery

    def body(client: int, resource: int, sequence: int) -> tuple[bytes, bytes]:
        key = b"%d|%d" % (client, resource)
        return key, b'{"event":"property.updated","client":%d,"concept":{"id":%d},"k":"%b","s":%d,"t":%d}' % (
            client,
            resource,
            key,
            sequence,
            time.time_ns(),
        )

    return body


class Writer:
    """Writes records in turn, and waits for their acknowledgement when asked."""

    def __init__(self, plan: Plan) -> None:
        """Nothing is connected yet."""
        linger_ms = 0.0 if 0 < plan.rate_per_s < _HIGH_RATE else _LINGER_MS
        kafka = KafkaConfig(bootstrap_servers=plan.bootstrap_servers)
        config = {**producer_config(kafka, linger_ms=linger_ms), "queue.buffering.max.messages": _QUEUE}
        self._topic = plan.topic
        self._producer = make_producer(config)
        self._encode = encoder(plan)
        # Sequences grow from one load to the next: microseconds are never used up as fast as they pass.
        self._sequence = time.time_ns() // 1000

    def send(self, client: int, resource: int) -> None:
        """Queue one record; waits where the queue is full."""
        self._sequence += 1
        key, value = self._encode(client, resource, self._sequence)
        while True:
            try:
                self._producer.produce(self._topic, value, key)
            except BufferError:
                self._producer.poll(0.05)
            else:
                return

    def poll(self) -> None:
        """Serve what was acknowledged."""
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has everything."""
        if left := self._producer.flush(_FLUSH_S):
            message = f"{left} records were not acknowledged within {_FLUSH_S:.0f} s"
            raise SystemExit(message)


def due(plan: Plan, sent: int, elapsed_s: float) -> int:
    """How many records should have been sent by now."""
    wanted = int(elapsed_s * plan.rate_per_s) + 1 if plan.rate_per_s else sent + _AT_ONCE
    return min(plan.records, wanted)


def run(plan: Plan) -> dict[str, float]:
    """Write everything and wait for every acknowledgement."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    writer = Writer(plan)
    clients, count = plan.clients, len(plan.clients)
    if plan.rate_per_s:
        for client in clients:
            writer.send(client, plan.resources)
        writer.flush()
        print("warm", flush=True)
        signal.sigwait({signal.SIGUSR1})
    cpu_s, began, sent = time.process_time(), time.perf_counter(), 0
    while sent < plan.records:
        for number in range(sent, due(plan, sent, time.perf_counter() - began)):
            writer.send(clients[number % count], number // count % plan.resources)
            sent = number + 1
        writer.poll()
        if plan.rate_per_s:
            time.sleep(_NAP_S)
    seconds = time.perf_counter() - began
    writer.flush()
    return {"sent": sent, "seconds": seconds, "rate": sent / seconds, "cpu_s": time.process_time() - cpu_s}


def main() -> None:
    """Run one plan."""
    values = json.loads(sys.argv[1])
    print(json.dumps(run(Plan(**{**values, "clients": tuple(values["clients"])}))), flush=True)


if __name__ == "__main__":
    main()
