"""CloudEvents headers, so that any CloudEvents consumer of `events.*` knows what a record is before it decodes it.

Source: CloudEvents 1.0.2, Kafka protocol binding, section 3.2 (binary content mode).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeAlias

from hookstream.schemas.event import Event

Headers: TypeAlias = list[tuple[str, str | bytes | None]]

CONTENT_TYPE = b"application/avro"


def headers(event: Event, source: bytes) -> Headers:
    """Give the headers of one event; `source` names the producing service."""
    occurred_at = datetime.fromtimestamp(event.occurred_at_ms // 1000, UTC)
    time = f"{occurred_at:%Y-%m-%dT%H:%M:%S}.{event.occurred_at_ms % 1000:03d}Z"
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(event.id).encode()),
        ("ce_source", source),
        ("ce_type", event.name.encode()),
        ("ce_time", time.encode()),
        ("content-type", CONTENT_TYPE),
    ]
