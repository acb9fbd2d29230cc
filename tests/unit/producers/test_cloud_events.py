"""Headers by which any CloudEvents consumer knows a record."""

from __future__ import annotations

import dataclasses

import pytest

from hookstream.producers.cloud_events import headers
from tests.support.values import EVENT


def test_every_required_attribute_is_there() -> None:
    assert headers(EVENT, b"/crm") == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"0190b7a2-7c1e-7d4f-9d6e-5f3f1f2e4a5b"),
        ("ce_source", b"/crm"),
        ("ce_type", b"property.updated"),
        ("ce_time", b"2026-09-21T14:13:20.123Z"),
        ("content-type", b"application/avro"),
    ]


@pytest.mark.parametrize(
    ("ms", "time"),
    [
        (0, b"1970-01-01T00:00:00.000Z"),
        (999, b"1970-01-01T00:00:00.999Z"),
        (253_402_300_799_999, b"9999-12-31T23:59:59.999Z"),
    ],
)
def test_the_time_is_to_the_millisecond(ms: int, time: bytes) -> None:
    assert dict(headers(dataclasses.replace(EVENT, occurred_at_ms=ms), b"/crm"))["ce_time"] == time
