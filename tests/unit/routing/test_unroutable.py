"""Dead letters of records that cannot be routed."""

from __future__ import annotations

import pytest

from hookstream.processors.routing.unroutable import client_of_event_key, dead_letter_of
from hookstream.schemas.delivery import DeadLetter, DeadLetterReason
from hookstream.schemas.sources.record import SourceRecord


def dead_letter(key: bytes | None, value: bytes | None = b"bytes") -> DeadLetter:
    record = SourceRecord("events.lead", 3, 8, key, value, None, 4)
    return dead_letter_of(record, client=None, reason=DeadLetterReason.UNDECODABLE, detail="why", now_ms=5)


def test_the_whole_record_is_kept_with_its_position_and_the_reason() -> None:
    found = dead_letter(b"434|7")
    assert (found.topic, found.partition, found.offset) == ("events.lead", 3, 8)
    assert (found.record_key, found.record_value) == (b"434|7", b"bytes")
    assert (found.reason, found.detail, found.died_at_ms) == (DeadLetterReason.UNDECODABLE, "why", 5)


@pytest.mark.parametrize(
    ("key", "client"),
    [
        (b"434|7", "434"),
        (b"434", "434"),
        (None, None),
        (b"", None),
        (b"|7", None),
        (b"-1|7", "-1"),
        ("ä x|7".encode(), "ä x"),
        (b"a|b|7", None),  # a client a, or a|b
        (b"\xff|7", None),
        (b"9223372036854775808|7", "9223372036854775808"),
        (b"9" * 255, "9" * 255),
        (b"9" * 256, None),
        (b"1\n|7", None),
    ],
)
def test_the_client_is_told_where_the_key_tells_it(key: bytes | None, client: str | None) -> None:
    assert client_of_event_key(key) == client


def test_a_dead_letter_without_payload_says_what_it_left_out() -> None:
    found = dead_letter(b"434|7").without_payload()
    assert found.record_key is None
    assert found.record_value is None
    assert found.detail == "why; 10 bytes left out"
    assert found.offset == 8
