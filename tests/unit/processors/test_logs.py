"""What a line of log looks like, and what it never holds."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog

from hookstream.processors import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    out = io.StringIO()
    logs.configure(level="info", form="json", stream=out)
    yield out
    structlog.reset_defaults()
    root.handlers[:], level = before
    root.setLevel(level)


def last(stream: io.StringIO) -> dict[str, object]:
    line: dict[str, object] = orjson.loads(stream.getvalue().splitlines()[-1])
    return line


def test_a_line_is_one_json_object(stream: io.StringIO) -> None:
    structlog.get_logger().warning("delivery failed", hook=7, status=503)
    line = last(stream)
    assert line["event"] == "delivery failed"
    assert (line["level"], line["hook"], line["status"]) == ("warning", 7, 503)
    assert str(line["timestamp"]).endswith("Z")


def test_below_the_level_nothing_is_written(stream: io.StringIO) -> None:
    structlog.get_logger().debug("hidden")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"secret": "SENTINEL"},
        {"api_token": "SENTINEL"},
        {"Authorization": "SENTINEL"},
        {"payload": "SENTINEL"},
        {"webhook-signature": "SENTINEL"},
        {"record_value": "SENTINEL"},
        {"sasl.password": "SENTINEL"},
        {"answer": b"SENTINEL"},
        {"url": "https://h.example/path?token=SENTINEL"},
        {"url": "https://h.example/path#SENTINEL"},
        {"url": "https://user:SENTINEL@h.example/path"},
        {"reason": "cannot reach postgresql+psycopg://u:SENTINEL@db/x: refused"},
        {"reason": "refused whsec_SENTINEL"},
        {"reason": "sent Authorization: Bearer SENTINEL"},
        {"nested": {"headers": {"cookie": "SENTINEL"}}},
        {"many": ["https://h.example/?SENTINEL"]},
    ],
)
def test_a_secret_never_reaches_the_log(stream: io.StringIO, fields: dict[str, object]) -> None:
    structlog.get_logger().error("something", **fields)
    assert "SENTINEL" not in stream.getvalue()


def test_a_url_keeps_what_an_operator_needs(stream: io.StringIO) -> None:
    structlog.get_logger().error("failed", target="https://u:p@h.example:8443/a/b?x=1#f")
    assert last(stream)["target"] == "https://h.example:8443/a/b"


def test_a_traceback_is_in_the_line_and_redacted(stream: io.StringIO) -> None:
    def fail() -> None:
        raise ValueError("refused https://h.example/?SENTINEL")

    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "ValueError" in str(last(stream)["exception"])
    assert "SENTINEL" not in stream.getvalue()


def test_libraries_write_the_same_lines_from_warnings_on(stream: io.StringIO) -> None:
    logging.getLogger("some.library").info("hidden")
    logging.getLogger("some.library").warning("seen at http://u:SENTINEL@h/")
    assert len(stream.getvalue().splitlines()) == 1
    assert last(stream)["event"] == "seen at http://h/"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_terminal_that_shows_the_log_has_nothing_to_obey(stream: io.StringIO, form: str) -> None:
    logs.configure(form=form, stream=stream)

    def fail() -> None:
        raise ValueError("\x1b[2J\x9b2J")

    structlog.get_logger().info("\x1b]0;a\x07", reason="\x9b2J\u202e", many=["\x1b[2J"], split="a\nb")
    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("failed")
    written = stream.getvalue()
    assert [char for char in written if not char.isprintable() and char != "\n"] == []
    assert "2J" in written
    assert "a\nb" not in written


def test_a_person_gets_text(stream: io.StringIO) -> None:
    logs.configure(form="console", stream=stream)
    structlog.get_logger().info("hello", hook=7)
    assert "hello" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
