"""A target is prepared once: the bytes that every request to it starts with, and where connections go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.delivery.http.target import host_shown, parse_target
from hookstream.subscriptions.errors import InvalidTargetError


@pytest.mark.parametrize(
    ("url", "origin", "start"),
    [
        ("http://example.com", "http://example.com:80", "POST / HTTP/1.1\r\nhost: example.com\r\n"),
        ("HTTPS://Example.COM.:443/a?b", "https://example.com:443", "POST /a?b HTTP/1.1\r\nhost: example.com\r\n"),
        ("http://example.com:443?x", "http://example.com:443", "POST /?x HTTP/1.1\r\nhost: example.com:443\r\n"),
        ("http://a_b/%2f/ü?ü={}", "http://a_b:80", "POST /%2f/%C3%BC?%C3%BC=%7B%7D HTTP/1.1\r\nhost: a_b\r\n"),
        ("http://bücher.de/", "http://xn--bcher-kva.de:80", "POST / HTTP/1.1\r\nhost: xn--bcher-kva.de\r\n"),
        ("http://[2600:0::1]:8080/", "http://[2600::1]:8080", "POST / HTTP/1.1\r\nhost: [2600::1]:8080\r\n"),
        ("http://0x7f.1/", "http://127.0.0.1:80", "POST / HTTP/1.1\r\nhost: 127.0.0.1\r\n"),
    ],
)
def test_a_url_becomes_where_to_connect_and_what_to_send(url: str, origin: str, start: str) -> None:
    target = parse_target(url)
    assert target.origin == origin
    assert target.url.secure == origin.startswith("https")
    assert target.head.decode() == start + "content-length: "


@given(st.text(max_size=80))
def test_no_text_puts_more_into_a_request_than_its_line_and_its_host(text: str) -> None:
    for url in (text, f"http://{text}", f"http://example.com/{text}", f"http://[{text}]/"):
        try:
            target = parse_target(url)
        except InvalidTargetError:
            continue
        assert target.head.isascii()
        assert target.head.count(b"\r\n") == 2
        assert target.head.split(b"\r\n")[0].count(b" ") == 2


@pytest.mark.parametrize(("url", "host"), [("https://a.example/x?y", "a.example"), ("http://[bad", ""), ("", "")])
def test_logs_show_the_host_alone(url: str, host: str) -> None:
    assert host_shown(url) == host
