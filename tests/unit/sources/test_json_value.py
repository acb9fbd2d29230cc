"""JSON of others: what is not clear is refused, and what is read is written again to the digit."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.rendering.json_tree import dump
from hookstream.schemas.sources.json_value import json_text, read_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(JSON)
def test_what_is_read_is_written_again_as_it_was(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert json.loads(dump(read_json(text), "data")) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [b"12.30", b"1e400", b"-0", b"0.1000", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808",
     b"-9223372036854775809", b"9007199254740993", b"1" * 5_000, b"1E5", b"-0.0"],
)  # fmt: skip
def test_a_number_keeps_its_digits(text: bytes) -> None:
    assert dump(read_json(b'{"n": [' + text + b"]}"), "data") == b'{"n":[' + text + b"]}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "no JSON at character 0"),
        (b"{", "no JSON"),
        (b'{"a": 1} x', "no JSON at character 9: Extra data"),
        (b'{"a": 1, "b": 2, "a": 1}', r"a key stands twice in one object \(a\)"),
        (b'{"x": [{"a@b": 1, "a@b": 1}]}', r"a key stands twice in one object \(\[…\]\)"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"[01]", "no JSON"),
        (b"[.5]", "no JSON"),
        (b"{'a': 1}", "no JSON"),
        (b'["\xff"]', "not UTF-8"),
        (b'["\xed\xa0\x80"]', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'["a\nb"]', "no JSON"),
        (b"[" * 101 + b"]" * 101, "nested more than 100 deep"),
        (b"[" * 1_000_000, "nested more than 100 deep"),
        (b'{"a":' * 200_000, "nested more than 100 deep"),
    ],
)
def test_what_is_no_clear_json_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(UndecodableError, match=says):
        read_json(text)


def test_depth_is_counted_and_not_brackets() -> None:
    assert read_json(b"[" * 100 + b"]" * 100)
    assert len(read_json(b"[" + b"[]," * 500 + b"{}]")) == 501


def test_a_half_of_a_surrogate_pair_is_read_and_is_the_writer_s_error() -> None:
    assert read_json(b'"\\ud800"') == "\ud800"


def test_header_and_byte_order_mark_are_no_part_of_the_text() -> None:
    text = orjson.dumps({"a": 1})
    for before in (b"", b"\xef\xbb\xbf", b"\0\0\0\0\7", b"\0\0\0\0\7\xef\xbb\xbf"):
        assert json_text(before + text) == text
    assert json_text(b"\0") == b""
