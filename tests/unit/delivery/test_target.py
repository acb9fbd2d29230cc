"""A target's host has one reading: odd spellings are brought to it, and what has none is refused."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.delivery.http.errors import TargetCredentialsError, TargetError
from hookstream.processors.delivery.http.target import parse_target


@pytest.mark.parametrize(
    ("url", "origin", "start"),
    [
        ("http://example.com", "http://example.com:80", "POST / HTTP/1.1\r\nhost: example.com\r\n"),
        ("HTTPS://Example.COM.:443/a?b#d", "https://example.com:443", "POST /a?b HTTP/1.1\r\nhost: example.com\r\n"),
        ("http://example.com:443?x", "http://example.com:443", "POST /?x HTTP/1.1\r\nhost: example.com:443\r\n"),
        ("http://example.com:/", "http://example.com:80", "POST / HTTP/1.1\r\nhost: example.com\r\n"),
        ("http://a_b/%2f/ü?ü={}", "http://a_b:80", "POST /%2f/%C3%BC?%C3%BC=%7B%7D HTTP/1.1\r\nhost: a_b\r\n"),
        ("http://bücher.de/", "http://xn--bcher-kva.de:80", "POST / HTTP/1.1\r\nhost: xn--bcher-kva.de\r\n"),
        ("http://[2600:0::1]:8080/", "http://[2600::1]:8080", "POST / HTTP/1.1\r\nhost: [2600::1]:8080\r\n"),
    ],
)  # fmt: skip
def test_a_url_becomes_where_to_connect_and_what_to_send(url: str, origin: str, start: str) -> None:
    target = parse_target(url)
    assert target.origin == origin
    assert target.secure == origin.startswith("https")
    assert target.head.decode() == start + "content-length: "


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0X7F.0.0.1", "0177.0.0.1", "0x7f.1",
        "017700000001", "127%2e0%2E0.1", "%31%32%37.0.0.1", "\uff11\uff12\uff17.0.0.1", "127。0。0。1", "①②⑦.0.0.1",
    ],
)  # fmt: skip
def test_every_spelling_of_an_ipv4_address_is_that_address(host: str) -> None:
    target = parse_target(f"http://{host}/")
    assert target.address == IPv4Address("127.0.0.1")
    assert target.host == "127.0.0.1"


@given(st.integers(0, 2**32 - 1))
def test_any_ipv4_address_survives_its_spellings(number: int) -> None:
    address = IPv4Address(number)
    high, low = number >> 24, number & 0xFFFFFF
    for host in (str(address), str(number), hex(number), f"0{number:o}", f"{high:#x}.{low}", f"0{high:o}.{low:#x}"):
        assert parse_target(f"http://{host}/").address == address


@given(st.integers(0, 2**128 - 1))
def test_any_ipv6_address_survives_its_spellings(number: int) -> None:
    address = IPv6Address(number)
    for literal in (str(address), address.exploded, str(address).upper()):
        assert parse_target(f"http://[{literal}]/").address == address


@pytest.mark.parametrize(
    "url", ["http://u@h/", "http://u:p@h/", "http://@h/", "https://a@b@h/", "http://good.example@127.0.0.1/"]
)
def test_credentials_are_refused(url: str) -> None:
    with pytest.raises(TargetCredentialsError):
        parse_target(url)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "//example.com", "ftp://example.com/", "file:///etc/passwd", "javascript://x", "http:/x",
        "http:x", "http:///x", "http://?x", "http://:80/", "http://./", "http://a..b/", "http://.a/", "http://a../",
        "http://1.2.3.4.5/", "http://256.1.1.1/", "http://1.1.1.256/", "http://4294967296/", "http://08.1.1.1/",
        "http://a.0xg/x\n", "http://foo.1/", "http://1.foo.2/", "http://0x100.1.1.1/",
        "http://h:0/", "http://h:65536/", "http://h:-1/", "http://h:+1/", "http://h:1_0/", "http://h:٣/", "http://h:80:80/",
        "http://[::1/", "http://[::1]x/", "http://[::g]/", "http://[127.0.0.1]/", "http://[fe80::1%25eth0]/", "http://[fe80::1%1]/",
        "http://::1/", "http://a b/", " http://a/", "http://a/ ", "http://a/\r\nx: y", "http://a\t/", "http://a\\b/",
        "http://a/\\b", "http://a%00b/", "http://a%0d%0ab/", "http://a%20b/", "http://a%2fb/", "http://a%40b/", "http://a%3a80/",
        "http://%/", "http://%zz/", "http://%ff/", "http://a,b/", "http://a*b/", "http://☃.example/", "http://-\u0301.example/",
        "http://" + "a" * 64 + ".example/", "http://" + "a." * 127 + "a/", "http://a/" + "x" * 2048, "http://a/\ud800",
    ],
)  # fmt: skip
def test_what_has_no_one_reading_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_target(url)
    assert len(url) < 4 or url not in str(caught.value)


@given(st.text(max_size=80))
def test_any_text_is_a_target_or_an_error(text: str) -> None:
    for url in (text, f"http://{text}", f"http://example.com/{text}", f"http://[{text}]/"):
        try:
            target = parse_target(url)
        except TargetError:
            continue
        assert target.head.isascii()
        assert target.head.count(b"\r\n") == 2
        assert target.head.split(b"\r\n")[0].count(b" ") == 2


def test_a_target_shows_neither_path_nor_query() -> None:
    assert repr(parse_target("https://example.com/path?token=hidden")) == "Target(https://example.com:443)"


def test_the_authority_names_host_and_port() -> None:
    assert parse_target("https://example.com/").authority == "example.com:443"
    assert parse_target("http://[2600::1]/").authority == "[2600::1]:80"
