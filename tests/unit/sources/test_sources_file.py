"""`sources.toml`: what it means, and that everything wrong with it is told at once."""

from __future__ import annotations

import pytest

from hookstream.schemas.sources.selectors import Constant, Field, Header, Key
from hookstream.schemas.sources.source import BodyKind, Preset, Source, Unmapped, ValueFormat
from hookstream.schemas.sources.sources_file import read_sources

ORDER = """
[order]
topic = "shop.orders.v1"
value = "json"
event = "header:ce_type"
id = "header:ce_id"
client = "field:merchant.id"
resource = "field:order_id"
sub_namespace = "constant:web"
occurred_at = "field:created_at"
body = "data"
fields = ["order_id", "total"]
unmapped = "dead-letter"

[order.events]
"com.example.order.placed.v1" = "placed"
"com.example.order.placed.v2" = "placed"
"com.example.order.shipped.v1" = "shipped"
"""
SHORT = """
[order]
event = "constant:created"
client = "key"
"""


def faults(text: str, *described: str) -> list[str]:
    return list(read_sources(text.encode(), described=described).faults)


def test_every_key_of_a_table_is_read() -> None:
    (source,) = read_sources(ORDER.encode()).sources
    assert source == Source(
        namespace="order",
        topic="shop.orders.v1",
        value=ValueFormat.JSON,
        preset=None,
        event=Header("ce_type"),
        symbols={
            "com.example.order.placed.v1": "placed",
            "com.example.order.placed.v2": "placed",
            "com.example.order.shipped.v1": "shipped",
        },
        unmapped=Unmapped.DEAD_LETTER,
        id=Header("ce_id"),
        client=Field(("merchant", "id")),
        resource=Field(("order_id",)),
        sub_namespace=Constant("web"),
        occurred_at=Field(("created_at",)),
        body=BodyKind.DATA,
        fields=("order_id", "total"),
    )
    assert source.event_names == ("order.placed", "order.shipped")


def test_what_is_not_said_has_a_default() -> None:
    (source,) = read_sources(SHORT.encode()).sources
    assert (source.topic, source.value, source.resource) == (None, ValueFormat.AVRO, Key())
    assert (source.id, source.occurred_at, source.sub_namespace, source.fields) == (None, None, None, None)
    assert (source.body, source.unmapped) == (BodyKind.THIN, Unmapped.IGNORE)
    assert source.event_names == ("order.created",)


def test_symbols_are_what_the_topic_says() -> None:
    text = '[order]\nevent = "field:type"\nclient = "key"\nsymbols = ["placed", "shipped"]'
    assert read_sources(text.encode()).sources[0].symbols == {"placed": "placed", "shipped": "shipped"}


def test_presets_say_what_the_table_does_not() -> None:
    text = """
    [order]
    preset = "cloudevents"
    client = "header:ce_tenant"
    symbols = ["placed"]
    [parcel]
    preset = "debezium-outbox"
    topic = "outbox.event.parcel"
    event = "header:type"
    client = "header:tenant"
    symbols = ["sent"]
    """
    events, outbox = read_sources(text.encode()).sources
    assert (events.preset, events.value, events.body) == (Preset.CLOUDEVENTS, ValueFormat.JSON, BodyKind.THIN)
    assert (events.event, events.id) == (Header("ce_type"), Header("ce_id"))
    assert (events.resource, events.occurred_at) == (Header("ce_subject"), Header("ce_time"))
    assert (outbox.event, outbox.id, outbox.resource) == (Header("type"), Header("id"), Key())
    assert outbox.body is BodyKind.DATA


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = """
    colour = "red"
    [order]
    topik = "x"
    topic = "a b"
    value = "avor"
    clint = "key"
    event = "header:"
    resource = "field:a..b"
    body = "thin"
    fields = ["a.b"]
    unmapped = "drop"
    symbols = ["9x", "ok"]
    [order.events]
    "x" = "y"
    [user]
    event = "header:t"
    client = "key"
    symbols = ["new"]
    """
    assert faults(text, "user") == [
        f"sources.toml: {fault}"
        for fault in (
            "[colour]: is no table",
            "[colour]: event is missing: header:NAME, field:a.b, key or constant:…",
            "[colour]: needs either symbols or [colour.events]: which events there are",
            "[colour]: client is missing: header:NAME, field:a.b, key or constant:…",
            "[order]: there is no key topik; did you mean topic?",
            "[order]: there is no key clint; did you mean client?",
            "[order]: event: needs header:NAME, field:a.b, key or constant:…",
            "[order]: topic: needs the name of a topic: 1 to 249 letters, digits, ., _ and -",
            "[order]: value: needs avro or json; did you mean avro?",
            "[order]: needs either symbols or [order.events]: which events there are",
            "[order]: unmapped: needs ignore or dead-letter",
            "[order]: client is missing: header:NAME, field:a.b, key or constant:…",
            "[order]: resource: needs header:NAME, field:a.b, key or constant:…",
            '[order]: fields: only with body = "data"',
            "[order]: fields: a.b is a path; only fields of the value itself can be chosen",
            "[user]: there is user.avsc too; a namespace is described by one of the two",
        )
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[order", "Expected"),
        ("\xff", "sources.toml: "),
        ('["a.b"]\n', "a namespace is letters"),
        (SHORT + 'symbols = ["a"]', "event is a constant"),
        (SHORT + 'unmapped = "ignore"', "event is a constant"),
        (SHORT + '[order.events]\n"a" = "b"', "event is a constant"),
        (SHORT.replace("constant:created", "constant:9"), "'9' is no symbol"),
        (SHORT.replace('"constant:created"', "7"), "event: needs header:NAME"),
        (SHORT + 'id = "constant:1"', "one event of all"),
        (SHORT + 'occurred_at = "constant:1"', "a constant is no time"),
        (SHORT + 'resource = "constant:a\\nb"', "without control characters"),
        (SHORT + f'topic = "{"t" * 221}"', "set id"),
        (SHORT + 'occurred_at = "field:a-b"', "no name of an Avro field"),
        (SHORT + "fields = []\nbody = 'data'", "needs a list of names"),
        (SHORT + '[other]\ntopic = "events.order"\nevent = "constant:a"\nclient = "key"', "read the same topic"),
        (SHORT + '[other]\ntopic = "events.order"\nevent = "feld:a"\nclient = "key"', "read the same topic"),
        ('[order]\nevent = "key"\nclient = "key"\nsymbols = "a"', "needs a list of names"),
        ('[order]\nevent = "key"\nclient = "key"\nevents = {}', "needs a table of"),
        ('[order]\nevent = "key"\nclient = "key"\n[order.events]\n"a" = 1', "needs a table of"),
        (
            '[order]\npreset = "debezium"\nclient = "key"\nsymbols = ["a"]\nevent = "key"',
            "did you mean debezium-outbox",
        ),
        ("x" * 1_048_577, "bytes; it may have"),
        (SHORT + f"topic = {'1' * 5000}", "digits"),
    ],
)
def test_each_fault_is_a_sentence(text: str, fault: str) -> None:
    assert fault in "; ".join(faults(text))


def test_a_byte_order_mark_is_no_part_of_the_file() -> None:
    assert read_sources(b"\xef\xbb\xbf" + SHORT.encode()) == read_sources(SHORT.encode())


def test_a_file_of_nothing_has_no_sources() -> None:
    assert read_sources(b"") == ((), ())
