"""Which URLs can be targets, and their one form."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.subscriptions.errors import InvalidTargetError
from hookstream.subscriptions.target_policy import TargetPolicy, normalise_target
from hookstream.subscriptions.target_url import IpAddress, parse_target_url


class Public:
    """Permits global addresses alone."""

    def permits(self, ip: IpAddress, /) -> bool:
        """Whether it is global."""
        return ip.is_global


class Everything:
    """Permits every address."""

    def permits(self, ip: IpAddress, /) -> bool:  # noqa: ARG002  # as the Protocol has it
        """Yes."""
        return True


POLICY = TargetPolicy(addresses=Public())
OPEN = TargetPolicy(addresses=Everything())


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("http://custom-platform.com/create-lead.php", "http://custom-platform.com/create-lead.php"),
        ("HTTPS://Example.COM", "https://example.com/"),
        ("https://example.com?a=b&c=%2F", "https://example.com/?a=b&c=%2F"),
        ("http://example.com:80/x", "http://example.com/x"),
        ("https://example.com:443/x", "https://example.com/x"),
        ("https://example.com:0080/x", "https://example.com:80/x"),
        ("https://example.com:/x", "https://example.com/x"),
        ("https://example.com./x", "https://example.com/x"),
        ("https://ex_ample.com/", "https://ex_ample.com/"),
        ("https://bücher.example/ä?ü=ß", "https://xn--bcher-kva.example/%C3%A4?%C3%BC=%C3%9F"),
        ("https://XN--BCHER-KVA.example/", "https://xn--bcher-kva.example/"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
        ("http://134744072/", "http://8.8.8.8/"),
        ("http://0x08.010.8.8/", "http://8.8.8.8/"),
        ("http://8.8.2056/", "http://8.8.8.8/"),
        ("http://[2606:4700:0::1111]:8080/", "http://[2606:4700::1111]:8080/"),
        ("http://example.com/a%20b/{c}", "http://example.com/a%20b/%7Bc%7D"),
    ],
)
def test_a_target_has_one_form(text: str, normalised: str) -> None:
    assert normalise_target(text, POLICY) == normalised


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/x",
        "/x",
        "ftp://example.com/",
        "javascript:alert(1)",
        "http:example.com",
        "http:///x",
        "http://.",
        "http://:80/",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com#x",
        "http://example.com/#",
        " http://example.com/",
        "http://example.com/ x",
        "http://exa\tmple.com/",
        "http://example.com/\r\nHost: other",
        "http://example.com/\x00",
        "http://example.com/\x7f",
        "http://example.com/\u2028",
        "http://example.com/\ud800",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:8o/",
        "http://example.com:80:80/",
        "http://a..example.com/",
        "http://-example.com/",
        "http://example-.com/",
        "http://%65xample.com/",
        "http://exam<ple.com/",
        "http://" + "a" * 64 + ".com/",
        "http://" + "a." * 127 + "com/",
        "http://xn--zzzzzzz99.com/",
        "http://256.1.1.1/",
        "http://1.2.3.4.5/",
        "http://4294967296/",
        "http://foo.09/",
        "http://[::1",
        "http://::1/",
        "http://[::g]/",
        "http://[fe80::1%25eth0]/",
        "http://[v1.x]/",
    ],
)
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(InvalidTargetError):
        normalise_target(text, OPEN)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "127.0.0.1.",
        "１２７.0.0.1",  # noqa: RUF001  # full-width digits
        "127。0。0。1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "LOCALHOST.",
        "x.localhost",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00::1]",
    ],
)
def test_a_special_address_is_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(InvalidTargetError, match="private, special"):
        normalise_target(f"http://{host}/", POLICY)
    assert normalise_target(f"http://{host}/", OPEN)


def test_the_guard_sees_the_address_that_is_kept() -> None:
    seen: list[IpAddress] = []

    class Recording:
        def permits(self, ip: IpAddress, /) -> bool:
            seen.append(ip)
            return True

    assert normalise_target("http://0xa9fea9fe/", TargetPolicy(addresses=Recording())) == "http://169.254.169.254/"
    assert seen == [ipaddress.ip_address("169.254.169.254")]


def test_https_can_be_required() -> None:
    strict = TargetPolicy(addresses=Public(), require_https=True)
    assert normalise_target("https://example.com/", strict)
    with pytest.raises(InvalidTargetError, match="https"):
        normalise_target("http://example.com/", strict)


def test_ports_can_be_limited() -> None:
    strict = TargetPolicy(addresses=Public(), ports=frozenset({443, 8443}))
    for allowed in ("https://example.com/", "https://example.com:8443/", "http://example.com:443/"):
        assert normalise_target(allowed, strict)
    for refused in ("http://example.com/", "https://example.com:22/", "https://example.com:8444/"):
        with pytest.raises(InvalidTargetError, match="443, 8443"):
            normalise_target(refused, strict)


@pytest.mark.parametrize("host", ["127%2e0.0.1", "%31%32%37.0.0.1", "a%00b", "a%2fb", "a%40b", "%ff", "a,b", "a*b"])
def test_an_escaped_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidTargetError):
        parse_target_url(f"http://{host}/")


@given(st.integers(0, 2**32 - 1))
def test_any_ipv4_address_survives_its_spellings(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    high, low = number >> 24, number & 0xFFFFFF
    for host in (str(address), str(number), hex(number), f"0{number:o}", f"{high:#x}.{low}", f"0{high:o}.{low:#x}"):
        assert parse_target_url(f"http://{host}/").address == address


@given(st.integers(0, 2**128 - 1))
def test_any_ipv6_address_survives_its_spellings(number: int) -> None:
    address = ipaddress.IPv6Address(number)
    for literal in (str(address), address.exploded, str(address).upper()):
        assert parse_target_url(f"http://[{literal}]/").address == address


def test_a_url_shows_neither_path_nor_query() -> None:
    assert repr(parse_target_url("https://example.com/path?token=hidden")) == "TargetUrl(https://example.com:443)"


def test_the_authority_names_host_and_port() -> None:
    assert parse_target_url("https://example.com/").authority == "example.com:443"
    assert parse_target_url("http://[2600::1]/").authority == "[2600::1]:80"


def test_the_limit_of_length_counts_what_is_kept() -> None:
    stem = "http://example.com/"
    assert normalise_target(stem + "a" * (2048 - len(stem)), POLICY)
    with pytest.raises(InvalidTargetError, match="2048"):
        normalise_target(stem + "a" * (2049 - len(stem)), POLICY)
    with pytest.raises(InvalidTargetError, match="2048"):
        normalise_target(stem + "ä" * 1000, POLICY)


def test_the_error_does_not_repeat_the_url() -> None:
    with pytest.raises(InvalidTargetError) as caught:
        normalise_target("http://example.com/?key=hunter2#x", POLICY)
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60) | st.from_regex(r"https?://[\x20-\x7e]{0,40}", fullmatch=True))
def test_whatever_is_sent_is_refused_or_has_a_plain_form_that_stays(text: str) -> None:
    for candidate in (text, f"http://{text}", f"http://example.com/{text}"):
        try:
            target = normalise_target(candidate, OPEN)
        except InvalidTargetError:
            continue
        assert normalise_target(target, OPEN) == target
        assert parse_target_url(target) == parse_target_url(candidate)
        assert re.fullmatch(r"https?://[\x21-\x7e]+", target)
        parts = urlsplit(target)
        assert parts.hostname
        assert parts.username is None
        assert parts.path.startswith("/")
