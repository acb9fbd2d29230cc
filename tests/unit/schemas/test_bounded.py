"""Numbers that others wrote: read where they are ones, and refused in the way of each reader where they are not."""

from __future__ import annotations

import dataclasses

import pytest

from hookstream.processors.delivery.checkpoints.commit_metadata import decode_metadata
from hookstream.processors.delivery.checkpoints.state_codec import StateKey
from hookstream.processors.delivery.checkpoints.varints import VarintReader
from hookstream.processors.delivery.engine.partition_state import PartitionState, StoredCursor
from hookstream.processors.delivery.partitions.dead_letters import undecodable_dead_letter
from hookstream.processors.errors import StoredFormatError
from hookstream.processors.operations.queries.backlog_records import CommitView
from hookstream.processors.operations.replays.reader import read_note
from hookstream.processors.routing.commit_note import CommitNote
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.attempt import GAP_HEADER, Attempt, gap_of
from hookstream.schemas.bounded import MAX_LONG, checked_long, long_of
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.attempts import attempt_decoder, attempt_encoder
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder, dead_letter_encoder
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.codecs.endpoint_settings import endpoint_settings_decoder, endpoint_settings_encoder
from hookstream.schemas.codecs.hooks import notice_decoder, notice_encoder, subscription_decoder, subscription_encoder
from hookstream.schemas.control import parse_endpoint_id
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.event import ClientId, EventName, client_of_key
from hookstream.schemas.hook import Hook
from hookstream.subscriptions.publication import parse_subscription_record_key
from tests.support import values
from tests.support.values import Schemas

LONG = "9" * 5000  # `int` raises beyond 4,300 digits
NONE = ["", "-1", "+1", " 1", "1 ", "1_0", "1.0", "0x1", "٣", "²", LONG, str(MAX_LONG + 1), "\0", "\ud800"]


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_number_is_none(text: str) -> None:
    assert long_of(text) is None
    assert long_of(text.encode(errors="surrogatepass")) is None


@pytest.mark.parametrize("number", [0, 7, 2**31, MAX_LONG])
def test_a_number_is_read(number: int) -> None:
    assert long_of(str(number)) == long_of(b"%d" % number) == checked_long(number) == number
    assert long_of(str(number), at_most=number - 1) is None
    assert long_of(None) is None


@pytest.mark.parametrize("value", [True, 1.0, "1", None, -1, MAX_LONG + 1, [1]])
def test_what_is_no_integer_of_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="integer"):
        checked_long(value)


@pytest.mark.parametrize("text", [*NONE, f"{LONG}|x"])
def test_no_reader_of_keys_raises(text: str) -> None:
    key = text.encode(errors="surrogatepass")
    owner = client_of_key(key)
    assert parse_subscription_record_key(key + b"|lead.new") == (None if owner is None else (owner, "lead.new"))
    assert StateKey.decode(b"deliveries|%b|0011223344556677|0" % key) is None
    assert StateKey.decode(b"deliveries|0|0011223344556677|%b" % key) is None
    assert (parse_endpoint_id(f"{text}-0011223344556677") or ("",))[0] in ("", text)
    SubscriptionTable().apply(0, key + b"|lead.new", None)
    dead_letter = undecodable_dead_letter(key, b"", topic="t", partition=0, offset=0, detail="", died_at_ms=0)
    assert dead_letter.client == owner


@pytest.mark.parametrize("number", ["1e308", "1e999", "-1", '"9"', "true", "null", str(2**64), "[]", "1.5"])
def test_a_note_with_odd_numbers_is_no_note(number: str) -> None:
    assert CommitNote.decode(f'{{"v":1,"o":{number}}}') is None
    assert CommitNote.decode(f'{{"v":1,"o":1,"r":[{number},1]}}') is None or number == "null"
    assert CommitNote.decode(f'{{"v":1,"o":1,"x":[[{number},1]]}}') is None
    assert read_note(5, f'{{"v":1,"sent":{number},"above":[]}}') is None
    assert read_note(5, f'{{"v":1,"sent":1,"above":[{number}]}}') is None


@pytest.mark.parametrize("version", [LONG, "٣", "99", "-1"])
def test_metadata_of_an_odd_version_is_refused_in_a_short_sentence(version: str) -> None:
    with pytest.raises(StoredFormatError) as caught:
        decode_metadata(f"{version}.AAAA")
    assert len(str(caught.value)) < 100


def test_a_stored_integer_fits_into_an_offset() -> None:
    assert VarintReader(b"\xff" * 8 + b"\x7f").varint() == MAX_LONG
    with pytest.raises(ValueError, match="63 bits"):
        VarintReader(b"\xff" * 9 + b"\x01").varint()


@pytest.mark.parametrize("resource", ["lead:", f"lead:{LONG}", "lead", "lead:x", "::-:", "lead:٣"])
def test_a_cursor_of_an_odd_resource_owes_no_record(resource: str) -> None:
    cursor = StoredCursor(
        hook_id=7, client="1", event="lead.new", resource=resource, next_offset=0, settled=(), oldest_ms=0
    )
    view = CommitView(10, b"", PartitionState(cursors=(cursor,)))
    assert not view.is_pending(7, hash("3"), 5)


def test_a_cursor_of_a_resource_owes_its_records() -> None:
    cursors = [
        StoredCursor(hook_id=7, client="1", event="lead.new", resource=name, next_offset=0, settled=(), oldest_ms=0)
        for name in ("lead:3", "lead:-4")
    ]
    view = CommitView(10, b"", PartitionState(cursors=tuple(cursors)))
    assert [view.is_pending(7, hash(concept), 5) for concept in ("3", "-4", "4")] == [True, True, False]


# --- rows and deliveries that no process of ours writes ---------------------------------------------------------------

ROW = subscription_decoder(Schemas({1: InternalSchema.SUBSCRIPTION.text}))
DELIVERY = delivery_decoder(Schemas({1: InternalSchema.DELIVERY.text}))


@pytest.mark.parametrize(
    "change",
    [{"id": -1}, {"client": ""}, {"revision": -1}, {"target": "x" * 70_000}, {"target": "é" * 40_000},
     {"secrets": (b"x" * 70_000,)}],
    ids=["id", "client", "revision", "target", "target in bytes", "secret"],
)  # fmt: skip
def test_a_row_that_the_table_cannot_hold_is_undecodable(change: dict[str, object]) -> None:
    data = subscription_encoder(1)(dataclasses.replace(values.HOOK, **change))  # type: ignore[arg-type]
    with pytest.raises(UndecodableError):
        ROW(data)


@pytest.mark.parametrize(
    "change",
    [
        {"client": "a\n"},
        {"concept_id": ""},
        {"client": "x" * 256},
        {"hook_id": -1},
        {"hook_revision": -5},
        {"id": "msg_1\r\nx-injected: 1"},
        {"id": ""},
        {"id": "m" * 251},
    ],
)
def test_a_delivery_that_no_router_writes_is_undecodable(change: dict[str, object]) -> None:
    data = delivery_encoder(1)(dataclasses.replace(values.DELIVERY, **change))  # type: ignore[arg-type]
    with pytest.raises(UndecodableError, match="no router"):
        DELIVERY(data)


DEAD_LETTER = dead_letter_decoder(Schemas({1: InternalSchema.DEAD_LETTER.text}))


@pytest.mark.parametrize(
    "change",
    [{"client": ""}, {"client": "a\n"}]
    + [{name: -1} for name in ("hook_id", "partition", "offset", "died_at_ms", "last_status")]
    + [{"died_at_ms": 253_402_300_800_000}, {"last_status": 1000}, {"topic": "a\0"}, {"topic": "t" * 501}]
    + [{"delivery_id": "msg_\0"}, {"delivery_id": "m" * 501}],
    ids=lambda change: "-".join(f"{name}-{str(value)[:8]!a}" for name, value in change.items()),
)
def test_a_dead_letter_that_no_role_writes_is_undecodable(change: dict[str, object]) -> None:
    data = dead_letter_encoder(1)(dataclasses.replace(values.DEAD_LETTER, **change))  # type: ignore[arg-type]
    with pytest.raises(UndecodableError, match="no role"):
        DEAD_LETTER(data)


def test_the_texts_of_a_dead_letter_are_cut_to_what_a_worker_keeps() -> None:
    long = dataclasses.replace(values.DEAD_LETTER, detail="d" * 9000, last_answer=b"a" * 1_000_000)
    found = DEAD_LETTER(dead_letter_encoder(1)(long))
    assert (len(found.detail), len(found.last_answer)) == (4096, 4096)
    assert found == dataclasses.replace(long, detail="d" * 4096, last_answer=b"a" * 4096)


# --- what a database would refuse again and again ---------------------------------------------------------------------

ATTEMPT = attempt_decoder(Schemas({1: InternalSchema.ATTEMPT.text}))
SETTINGS = endpoint_settings_decoder(Schemas({1: InternalSchema.CONTROL.text}))
NOTICE = notice_decoder(Schemas({1: InternalSchema.NOTICE.text}))


@pytest.mark.parametrize(
    "change",
    [{name: text} for name in ("delivery_id", "event", "namespace", "replay") for text in ("a\0b", "é" * 251)]
    + [{name: number} for name in ("number", "partition", "status") for number in (-1, 2**31 - 1)]
    + [{name: -1} for name in ("hook_id", "hook_revision", "offset", "started_at_ms")]
    + [{name: text} for name in ("client", "concept_id") for text in ("", "a\0", "é" * 256)]
    + [{"started_at_ms": 253_402_300_800_000}, {"duration_ms": float("nan")}, {"duration_ms": float("inf")}],
    ids=lambda change: "-".join(f"{name}-{str(value)[:8]!a}" for name, value in change.items()),
)
def test_an_attempt_that_no_worker_writes_is_undecodable(change: dict[str, object]) -> None:
    """One that the database refuses would hold everything behind it for ever."""
    data = attempt_encoder(1)(dataclasses.replace(values.ATTEMPT, **change))  # type: ignore[arg-type]
    if 2**31 - 1 in change.values():
        assert isinstance(ATTEMPT(data), Attempt), "what an int holds is written"
        return
    with pytest.raises(UndecodableError, match="no worker"):
        ATTEMPT(data)


@pytest.mark.parametrize(
    "change", [{"event": "lead.\0"}, {"event": "x" * 501}, {"client": "\x7f"}, {"hook_id": -1}, {"revision": -1}]
)
def test_a_notice_that_no_worker_writes_is_undecodable(change: dict[str, object]) -> None:
    data = notice_encoder(1)(dataclasses.replace(values.NOTICE, **change))  # type: ignore[arg-type]
    with pytest.raises(UndecodableError, match="no worker"):
        NOTICE(data)


ONE = values.SETTINGS.skipped[0]
SKIPS = [dataclasses.replace(ONE, delivery_id="\0"), dataclasses.replace(ONE, reason="\0")]


@pytest.mark.parametrize(
    "change",
    [{name: text} for name in ("asked_by", "drained_by") for text in ("a\0", "x" * 251)]
    + [{"reason": "\0"}, {"drain_reason": "\0"}, {"client": ""}, {"revision": -1}, {"revision": MAX_LONG}]
    + [{"target_digest": digest} for digest in (b"", b"short", b"nine byte")]
    + [{"skipped": (skip,)} for skip in SKIPS],
)
def test_endpoint_settings_that_no_operator_can_have_are_undecodable(change: dict[str, object]) -> None:
    """A relay takes over what a restored database lacks, and would be refused it again and again."""
    data = endpoint_settings_encoder(1)(dataclasses.replace(values.SETTINGS, **change))  # type: ignore[arg-type]
    with pytest.raises(UndecodableError, match="no operator"):
        SETTINGS(data)


@pytest.mark.parametrize("header", [b"9223372036854775807:1", b"1000000001:1", b"1:253402300800000"])
def test_a_gap_that_no_worker_tells_is_none(header: bytes) -> None:
    """The sum of two such would be no number of the database."""
    assert gap_of(b"7", {GAP_HEADER: header}) is None
    assert gap_of(b"7", {GAP_HEADER: b"1000000000:253402300799999"}) is not None


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (0.0, 0.001),
        (-5.0, 0.001),
        (1e-300, 0.001),
        (float("nan"), 0.001),
        (float("inf"), 1e5),
        (2.5, 2.5),
        (None, None),
    ],
)
def test_a_rate_that_the_api_refuses_is_the_nearest_that_it_takes(written: float | None, read: float | None) -> None:
    """The engine divides by it. A row that cannot be read would hold every client's events, not one hook's."""
    data = subscription_encoder(1)(dataclasses.replace(values.HOOK, rate_limit_per_s=written))
    row = ROW(data)
    assert isinstance(row, Hook)
    assert row.rate_limit_per_s == read


def test_rows_of_many_events_are_kept_apart_whatever_their_clients_end_with() -> None:
    table = SubscriptionTable()
    rows = [
        dataclasses.replace(values.HOOK, client=ClientId("1"), event=EventName(f"lead.e{n}")) for n in range(70_000)
    ]
    rows += [dataclasses.replace(values.HOOK, client=ClientId(client)) for client in ("1|1", "1|", "|1")]
    for number, row in enumerate(rows):
        table.apply(number, row.key, row)
    assert len(table) == len(rows)
    assert all(table.get(row.client, row.event) == row for row in (*rows[:20], *rows[-20:]))


def test_a_tombstone_and_a_question_about_an_event_that_no_row_has_are_not_remembered() -> None:
    table = SubscriptionTable()
    for number in range(100):
        table.apply(number, b"1|lead.e%d" % number, None)
        assert table.get("1", f"lead.e{number}") is None
    assert not table._event_codes
