"""What a terminal would obey is shown instead."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookstream.processors.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://[fd00::5]:9/h ü 日本", "http://[fd00::5]:9/h ü 日本"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),  # the same in one byte of Latin-1, which some terminals obey
        ("paid\rfree", r"paid\rfree"),
        ("a\nhookstream: b", r"a\nhookstream: b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),  # shown from right to left
        ("\ud800", r"\ud800"),  # no encoding has it
        ("\x00\x7f", r"\x00\x7f"),
        ("\u2028", r"\u2028"),
    ],
)
def test_a_terminal_has_nothing_to_obey(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_what_is_kept_stays() -> None:
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_whatever_comes_is_printable_and_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()
