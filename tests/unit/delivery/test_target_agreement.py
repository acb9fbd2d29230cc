"""The API and the worker read a target alike: what the one accepted, the other connects to."""

from __future__ import annotations

from urllib.parse import urlsplit

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from hookstream.processors.delivery.http.target import Target, parse_target
from hookstream.subscriptions.errors import InvalidTargetError
from hookstream.subscriptions.target_url import IpAddress, TargetPolicy, normalise_target

PORTS = {"http": 80, "https": 443}


class AnyAddress:
    """Permits every address: which ones are refused is another question."""

    def permits(self, ip: IpAddress, /) -> bool:  # noqa: ARG002  # as the Protocol has it
        """Yes."""
        return True


POLICY = TargetPolicy(addresses=AnyAddress())

_number = st.integers(0, 2**32 + 1).flatmap(lambda n: st.sampled_from([f"{n}", f"{n:#x}", f"0{n:o}", f"{n % 256}"]))
_label = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True),
    st.sampled_from(["example", "EXAMPLE", "bücher", "xn--bcher-kva", "ß", "①", "。", "%65xample", "0x", "localhost"]),
    st.text(min_size=1, max_size=3),
    _number,
)
_name = st.lists(_label, min_size=1, max_size=4).map(".".join)
_ipv6 = st.ip_addresses(v=6).flatmap(lambda ip: st.sampled_from([f"[{ip}]", f"[{ip.exploded.upper()}]", f"[{ip}%25a]"]))
_host = st.one_of(_name, _name.map(lambda name: f"{name}."), _ipv6, st.just("[::ffff:1.2.3.4]"), st.just("[::1.2.3.4]"))
_port = st.one_of(st.just(""), st.just(":"), st.integers(-1, 65537).map(lambda port: f":{port}"), st.just(":0443"))
_chars = st.one_of(
    st.characters(codec="utf-8"), st.sampled_from("/?&=%[]@:;'\"<>{}|^`~!$()*+,#\\ \t"), st.just("%2f"), st.just("%")
)
_rest = st.tuples(st.sampled_from(["", "/", "?", "//", "/a"]), st.lists(_chars, max_size=8)).map(
    lambda parts: parts[0] + "".join(parts[1])
)
_scheme = st.sampled_from(["http", "https", "HTTP", "Https"])
_written = st.builds("{}://{}{}{}".format, _scheme, _host, _port, _rest)


def accepted(written: str) -> str | None:
    """Give the one form of a URL, if the API accepts it."""
    try:
        return normalise_target(written, POLICY)
    except InvalidTargetError:
        return None


def location(target: Target) -> str:
    """Read path and query from the request line."""
    return target.head.split(b" ", 2)[1].decode()


@given(written=_written)
@example(written="http://0x7f.1")
@example(written="https://Bücher.Example.:0443?a=[1]&b=%5b")
@example(written="http://[::FFFF:1.2.3.4]:80//a?b'c")
@settings(max_examples=200, deadline=None)
def test_what_the_api_accepts_the_worker_connects_to(written: str) -> None:
    form = accepted(written)
    assume(form is not None)
    assert form is not None
    target, parts = parse_target(form), urlsplit(form)
    assert (target.secure, target.host, target.port) == (
        parts.scheme == "https",
        parts.hostname,
        parts.port or PORTS[parts.scheme],
    )
    assert location(target) == form.removeprefix(f"{parts.scheme}://{parts.netloc}")


@given(written=_written)
@example(written="http://0x7f.1")
@example(written="http://0177.0.1/")
@example(written="http://EXAMPLE.com.:0080/ä?ö")
@settings(max_examples=200, deadline=None)
def test_the_form_reads_as_what_was_written(written: str) -> None:
    """The form that the API keeps is read by the worker as it would have read what the integrator wrote."""
    form = accepted(written)
    assume(form is not None)
    assert form is not None
    as_written, as_kept = parse_target(written), parse_target(form)
    assert (as_written.origin, as_written.address) == (as_kept.origin, as_kept.address)
    assert as_written.host == as_kept.host


@given(written=_written)
@settings(max_examples=100, deadline=None)
def test_a_form_is_its_own_form(written: str) -> None:
    form = accepted(written)
    assume(form is not None)
    assert form is not None
    assert accepted(form) == form
