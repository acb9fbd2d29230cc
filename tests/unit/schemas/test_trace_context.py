"""The header that carries a trace, by the examples of its specification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.schemas.trace_context import CLOUD_EVENTS_HEADER, HEADER, TraceContext, decode, find

# W3C Trace Context, section 3.2.4.
EXAMPLE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOT_SAMPLED = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def test_the_examples_of_the_specification_are_read() -> None:
    context = decode(EXAMPLE)
    assert context == TraceContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, sampled=True)
    assert decode(NOT_SAMPLED) == context._replace(sampled=False)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read(trace_id: int, span_id: int, sampled: bool) -> None:
    context = TraceContext(trace_id, span_id, sampled)
    assert decode(context.encode()) == context
    assert find([(HEADER, context.encode())]) == context.encode()


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"00-trace",
        EXAMPLE.upper(),
        EXAMPLE.replace(b"00-4", b"ff-4"),
        EXAMPLE.replace(b"-", b"_"),
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01",
        b"+0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        EXAMPLE + b"\n",
    ],
)
def test_a_broken_one_is_none(broken: bytes) -> None:
    assert decode(broken) is None


def test_the_header_of_kafka_clients_goes_before_that_of_cloud_events() -> None:
    assert find([(CLOUD_EVENTS_HEADER, NOT_SAMPLED), (HEADER, EXAMPLE)]) == EXAMPLE
    assert find([("other", EXAMPLE), (CLOUD_EVENTS_HEADER, EXAMPLE)]) == EXAMPLE
    assert find({HEADER: EXAMPLE}) == EXAMPLE


@pytest.mark.parametrize("headers", [None, [], [(HEADER, None)], [(HEADER, b"0" * 56)], [("x", EXAMPLE)]])
def test_what_is_missing_or_of_another_length_is_not_looked_at(headers: list[tuple[str, str | bytes | None]]) -> None:
    assert find(headers) is None
