"""What a record of a topic of another service costs: read, mapped and rendered, in one thread, without a broker.

The Avro record has 20 fields and 1 KB as JSON: decimals, timestamps, a date, unions, a map and four lines of an order.
The JSON record is its body. The producing and acknowledging of a delivery comes on top.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Figure
from benchmarks.running import Size, arguments, main
from hookstream.schemas.sources.mapping import SourceMapping
from hookstream.schemas.sources.record import MappedEvent, SourceRecord
from hookstream.schemas.sources.sources_file import read_sources
from hookstream.schemas.wire import record_writer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

SIZES = (Size("records", 50_000, 5_000, "records for each figure"),)
ROUNDS = 3
# Of the 80 µs that a router may take for such a record, deliveries and reports take the rest.
BAR_US = 40.0
AT_MS = 1_795_852_800_123
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}


def logical(kind: str, name: str) -> dict[str, str]:
    """A primitive type with a logical one."""
    return {"type": kind, "logicalType": name}


LINE = [("sku", "string", "sku-0001"), ("quantity", "int", 3), ("price", MONEY, b"\x03\xe7")]
MERCHANT = [("id", "long", 434), ("name", "string", "Merchant of things")]


def record(name: str, fields: Sequence[tuple[str, Any, Any]]) -> dict[str, Any]:
    """A record's schema."""
    return {"type": "record", "name": name, "fields": [{"name": each, "type": kind} for each, kind, _ in fields]}


def values(fields: Sequence[tuple[str, Any, Any]]) -> dict[str, Any]:
    """A record's values, as they are on the wire."""
    return {name: value for name, _, value in fields}


ORDER: Sequence[tuple[str, Any, Any]] = [
    ("type", {"type": "enum", "name": "Kind", "symbols": ["PLACED", "PAID"]}, "PLACED"),
    ("order_id", "string", "ord-0001234567"),
    ("merchant", record("Merchant", MERCHANT), values(MERCHANT)),
    ("total", MONEY, b"\x03\x0d\x3e"),
    ("tax", MONEY, b"\x07\xc6"),
    ("shipping", ["null", MONEY | {"scale": 4}], b"\x00\xbf\x68"),
    ("created_at", logical("long", "timestamp-millis"), AT_MS),
    ("updated_at", logical("long", "timestamp-micros"), AT_MS * 1000),
    ("paid_at", ["null", logical("long", "timestamp-millis")], AT_MS),
    ("deliver_on", logical("int", "date"), 20_785),
    ("currency", "string", "EUR"),
    ("channel", ["null", "string"], None),
    ("email", "string", "customer@example.com"),
    ("note", "string", "please " * 50),
    ("weight", "double", 12.5),
    ("gift", "boolean", True),
    ("count", "int", 3),
    ("version", "long", 7),
    ("labels", {"type": "map", "values": "string"}, {"campaign": "autumn", "shop": "north"}),
    ("lines", {"type": "array", "items": record("Line", LINE)}, [values(LINE)] * 4),
]
SOURCE = """
[order]
topic = "shop.orders"
value = "{value}"
event = "field:type"
client = "field:merchant.id"
resource = "field:order_id"
occurred_at = "field:created_at"
body = "{body}"
[order.events]
PLACED = "placed"
"""


def us_each(mapping: SourceMapping, value: bytes, records: int, *, render: bool) -> float:
    """Microseconds of CPU for each record, of the best of some rounds."""
    position = SourceRecord("shop.orders", 0, 17, b"ord-0001234567", value, [("trace", b"x")], AT_MS)
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.thread_time()
        for _ in range(records):
            event = mapping.map(position)
            if render:
                event.body_json()  # type: ignore[union-attr]  # it is an event, as is checked before
        best = min(best, (time.thread_time() - started) / records * 1e6)
    return best


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Map the record in each way."""
    schema = json.dumps(record("Order", ORDER))
    avro = record_writer(schema, 7)(values(ORDER))
    figures: list[Figure] = []
    text = b""
    for value in ("avro", "json"):
        for body, render in (("thin", False), ("data", True), ("record", True)):
            mapping = SourceMapping(
                read_sources(SOURCE.format(value=value, body=body).encode()).sources[0], lambda _: schema
            )
            content = avro if value == "avro" else text
            event = mapping.map(SourceRecord("shop.orders", 0, 17, None, content, None, AT_MS))
            if not isinstance(event, MappedEvent):
                raise SystemExit(f"{value} is no event: {event}")
            text = event.record_json() or text
            name = f"{value}, {body}" if render else f"{value}, unwanted"
            cost = us_each(mapping, content, options.records, render=render)
            figures.append(Figure(name=name, value=cost, unit="µs", at_most=BAR_US))
    return figures, [f"Avro {len(avro)} bytes, JSON {len(text)} bytes"]


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("source_mapping", chosen, lambda: measure(chosen))
