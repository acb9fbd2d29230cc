"""What can be an id, and its two forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.producers.murmur2 import partition_of
from hookstream.schemas import ids
from hookstream.schemas.control import endpoint_id, parse_endpoint_id, target_digest
from hookstream.schemas.event import ClientId, Concept, Event, EventName, client_of_key
from hookstream.schemas.hook import subscription_record_key
from hookstream.schemas.ids import IdKind, integer_of, is_id

DIGEST = target_digest("https://e.example/")
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255)


@pytest.mark.parametrize("text", ["1", "acme", "Ä|b/c d", "-", "x" * 255, "😀" * 255, " ", "0"])
def test_what_is_an_id(text: str) -> None:
    assert is_id(text)
    assert client_of_key(text.encode()) == text


@pytest.mark.parametrize("text", ["", "x" * 256, "a\0", "a\nb", "\x1f", "\x7f", "\x85", "\ud800", "a\r"])
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text)
    assert client_of_key(text.encode(errors="surrogatepass")) is None


@given(st.text(st.characters(codec=None) | st.sampled_from("a\0\x1f \x7e\x7f\x85"), max_size=300))
def test_the_quick_look_at_an_id_says_what_the_expression_says(text: str) -> None:
    assert is_id(text) == (ids._ID.fullmatch(text) is not None)


@pytest.mark.parametrize("text", ["007", "+7", "-1", "1.0", "", "x", str(2**63), "٣"])
def test_what_is_not_written_as_an_integer_is_none(text: str) -> None:
    assert integer_of(text) is None
    assert IdKind.INTEGER.shown(text) == text


def test_each_kind_shows_takes_and_reads_its_own() -> None:
    assert (IdKind.INTEGER.shown("434"), IdKind.STRING.shown("434")) == (434, "434")
    assert (IdKind.INTEGER.read("434"), IdKind.STRING.read(434)) == (434, "434")
    assert (IdKind.INTEGER.read("acme"), IdKind.STRING.read(-1)) == ("acme", -1)
    assert IdKind.INTEGER.takes(2**63 - 1)
    assert not any(IdKind.INTEGER.takes(value) for value in (2**63, -1, True, 1.0, "1", None))
    assert IdKind.STRING.takes("acme")
    assert not any(IdKind.STRING.takes(value) for value in ("", "a\0", 1, None, b"acme"))


@given(texts)
def test_the_name_of_an_endpoint_stands_in_a_url_as_it_is_and_tells_its_client(text: str) -> None:
    name = endpoint_id(ClientId(text), DIGEST)
    assert all(character.isalnum() or character in "._~-" for character in name)
    assert name.isascii()
    assert parse_endpoint_id(name) == (text, DIGEST)


def test_the_name_of_an_integer_clients_endpoint_is_what_it_was() -> None:
    assert endpoint_id(ClientId("434"), DIGEST) == f"434-{DIGEST.hex()}"


def event(client: int | str, concept: int | str) -> Event:
    return Event(
        name=EventName("lead.new"), client=client, concept=Concept(id=concept, namespace="lead"), occurred_at_ms=0
    )


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_an_integer_and_its_text_have_the_same_keys(client: int, concept: int) -> None:
    assert event(client, concept).key == event(str(client), str(concept)).key == b"%d|%d" % (client, concept)
    assert subscription_record_key(event(client, concept).client_id, "lead.new") == b"%d|lead.new" % client


@pytest.mark.parametrize(
    ("key", "of_12", "of_48"),
    [
        (event(434, 17).key, 10, 22),
        (event(9999, 888999).key, 1, 37),
        (event(0, 0).key, 8, 44),
        (event(2**63 - 1, 1).key, 5, 17),
        (event(434, 17).client_id.encode(), 11, 11),
        (subscription_record_key("434", "lead.new"), 0, 36),
    ],
)
def test_keys_of_integers_keep_the_partitions_that_they_had(key: bytes, of_12: int, of_48: int) -> None:
    assert (partition_of(key, 12), partition_of(key, 48)) == (of_12, of_48)
