"""The parts of a worker that need no broker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hookstream.processors.delivery.checkpoints.commit_metadata import (
    CommitMetadata,
    encode_metadata,
    log_digest,
    table_digest,
)
from hookstream.processors.delivery.checkpoints.partition_start import (
    FoundCommit,
    LogIdentity,
    StartAt,
    decide_start,
    needs_state_search,
)
from hookstream.processors.delivery.checkpoints.varints import VarintReader, append_text, append_varint
from hookstream.processors.delivery.group.inbox import (
    MAX_WAITING_BYTES,
    MAX_WAITING_RECORDS,
    PAUSE_AFTER_S,
    Inbox,
    Inboxes,
)
from hookstream.processors.delivery.partitions.dead_letters import dead_letter_of, undecodable_dead_letter
from hookstream.processors.delivery.partitions.known_schemas import KnownSchemas, SchemaNotFetchedError
from hookstream.processors.delivery.worker.watchdog import Watchdog
from hookstream.processors.errors import StartRefusedError
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.errors import UndecodableError
from tests.support.values import DELIVERY

IDENTITY = LogIdentity(log_digest("cluster", "topic"), table_digest("table"))
METADATA = CommitMetadata(log_digest=IDENTITY.log_digest, table_digest=IDENTITY.table_digest, table_offset=3)


def found(offset: int | None, metadata: CommitMetadata | str | None = None) -> FoundCommit:
    text = encode_metadata(metadata) if isinstance(metadata, CommitMetadata) else metadata
    return FoundCommit("deliveries", 3, offset, text)


def start(commit: FoundCommit, *, low: int = 0, high: int = 100, state_exists: bool = False) -> StartAt:
    return decide_start(commit, watermarks=(low, high), identity=IDENTITY, state_exists=state_exists)


class TestWhereAPartitionStarts:
    def test_nothing_committed_and_nothing_owed_is_the_first_record(self) -> None:
        assert start(found(None), low=7) == StartAt(7, None)

    def test_our_commit_is_followed(self) -> None:
        assert start(found(42, METADATA)) == StartAt(42, 42, METADATA)

    def test_an_offset_set_by_hand_is_followed_while_nothing_is_owed(self) -> None:
        assert start(found(42)) == StartAt(42, 42)

    def test_what_retention_took_is_counted(self) -> None:
        assert start(found(42, METADATA), low=50) == StartAt(50, 42, METADATA, expired=8)

    @pytest.mark.parametrize(
        ("commit", "state_exists", "says"),
        [
            (found(None), True, "has no offset"),
            (found(42), True, "set by hand"),
            (found(42, replace(METADATA, log_digest=log_digest("other", "topic"))), False, "another cluster"),
            (found(42, replace(METADATA, log_digest=log_digest("cluster", "again"))), False, "earlier topic"),
            (found(42, "7.AAAA"), False, "version 7"),
            (found(42, "hello"), False, "not written by hookstream"),
            (found(101, METADATA), False, "its log ends at 100"),
        ],
    )
    def test_contradictions_are_refused_in_one_line_with_the_command(
        self, commit: FoundCommit, state_exists: bool, says: str
    ) -> None:
        with pytest.raises(StartRefusedError, match=says) as refused:
            start(commit, state_exists=state_exists)

        assert "deliveries:3" in str(refused.value)
        assert "hookstream recover --keep-owed" in str(refused.value)
        assert "--forget" in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_the_state_topic_is_searched_only_where_no_commit_of_ours_answers(self) -> None:
        assert needs_state_search(found(None))
        assert needs_state_search(found(5))
        assert needs_state_search(found(5, "\0"))
        assert not needs_state_search(found(5, METADATA))


class TestBackPressure:
    def inboxes(self, **waiting: int) -> Inboxes:
        made = Inboxes()
        for topic, count in waiting.items():
            made[topic, 0] = Inbox()
            made[topic, 0].given = count
        return made

    def test_few_records_may_wait(self) -> None:
        assert not self.inboxes(a=MAX_WAITING_RECORDS - 1).full(0.0)

    def test_many_records_or_bytes_stop_reading(self) -> None:
        assert self.inboxes(a=MAX_WAITING_RECORDS // 2, b=MAX_WAITING_RECORDS // 2).full(0.0)
        inboxes = self.inboxes(a=1)
        inboxes["a", 0].given_bytes = MAX_WAITING_BYTES
        assert inboxes.full(0.0)

    def test_what_the_loop_took_waits_no_more(self) -> None:
        inboxes = self.inboxes(a=MAX_WAITING_RECORDS)
        inboxes["a", 0].taken = 1
        assert not inboxes.full(0.0)

    def test_a_short_stop_pauses_nothing(self) -> None:
        inboxes = self.inboxes(a=MAX_WAITING_RECORDS)
        assert inboxes.full(10.0)
        assert inboxes.to_pause(10.0 + PAUSE_AFTER_S / 2) is None

    def test_a_long_stop_pauses_who_holds_most_and_lets_the_others_through(self) -> None:
        inboxes = self.inboxes(a=MAX_WAITING_RECORDS, b=5)
        assert inboxes.full(10.0)
        assert inboxes.to_pause(10.0 + PAUSE_AFTER_S) == {("a", 0)}

    def test_a_stop_that_ended_is_forgotten(self) -> None:
        inboxes = self.inboxes(a=MAX_WAITING_RECORDS)
        assert inboxes.full(10.0)
        inboxes["a", 0].taken = 5
        assert not inboxes.full(11.0)
        inboxes["a", 0].taken = 0
        assert inboxes.full(12.0)
        assert inboxes.to_pause(12.0) is None

    def test_who_was_paused_is_resumed_when_nearly_empty(self) -> None:
        inboxes = self.inboxes(a=MAX_WAITING_RECORDS, b=5)
        inboxes.paused = {("a", 0)}
        assert inboxes.to_resume() == set()
        inboxes["a", 0].taken = MAX_WAITING_RECORDS - 10
        assert inboxes.to_resume() == {("a", 0)}

    def test_bytes_that_wait_keep_a_partition_paused(self) -> None:
        inboxes = self.inboxes(a=1, b=5)
        inboxes["a", 0].given_bytes = MAX_WAITING_BYTES
        assert inboxes.full(10.0)
        assert inboxes.to_pause(10.0 + PAUSE_AFTER_S) == {("a", 0)}
        inboxes.paused = {("a", 0)}
        assert inboxes.to_resume() == set()
        inboxes["a", 0].taken_bytes = MAX_WAITING_BYTES
        assert inboxes.to_resume() == {("a", 0)}

    def test_what_waits_in_a_paused_partition_stops_no_other(self) -> None:
        inboxes = self.inboxes(a=MAX_WAITING_RECORDS, b=MAX_WAITING_RECORDS - 1)
        inboxes["a", 0].given_bytes = MAX_WAITING_BYTES
        inboxes.paused = {("a", 0)}
        assert not inboxes.full(10.0)
        inboxes["b", 0].given += 1
        assert inboxes.full(10.0)

    def test_what_waits_in_paused_partitions_is_bounded(self) -> None:
        inboxes = self.inboxes(a=MAX_WAITING_RECORDS, b=MAX_WAITING_RECORDS)
        inboxes.paused = {("a", 0), ("b", 0)}
        assert inboxes.full(10.0)
        inboxes = self.inboxes(a=1, b=1)
        inboxes["a", 0].given_bytes = inboxes["b", 0].given_bytes = MAX_WAITING_BYTES
        inboxes.paused = {("a", 0), ("b", 0)}
        assert inboxes.full(10.0)

    def test_one_of_very_many_partitions_that_holds_nothing_is_never_paused(self) -> None:
        inboxes = self.inboxes(**{f"t{number}": 1 for number in range(MAX_WAITING_RECORDS)}, empty=0)
        assert inboxes.full(10.0)
        assert ("empty", 0) not in (inboxes.to_pause(10.0 + PAUSE_AFTER_S) or {("empty", 0)})

    def test_a_partition_that_is_gone_is_paused_no_more(self) -> None:
        inboxes = self.inboxes(a=MAX_WAITING_RECORDS)
        inboxes.paused = {("a", 0)}
        assert inboxes.drop(("a", 0))
        assert not inboxes.drop(("a", 0))
        assert not inboxes.paused


class TestWatchdog:
    def watch(self, beats: dict[str, float]) -> Watchdog:
        return Watchdog(lambda: beats, hangs_after_s=3.0, look_every_s=1.0)

    def test_who_beats_lives(self) -> None:
        beats = {"loop": 0.0}
        dog = self.watch(beats)
        for second in range(20):
            beats["loop"] = float(second)
            assert dog.look() is None

    def test_who_stands_still_for_long_is_named(self) -> None:
        beats = {"loop": 0.0, "poll": 0.0}
        dog = self.watch(beats)
        found = []
        for second in range(4):
            beats["poll"] = float(second)
            found.append(dog.look())
        assert found == [None, None, None, "loop"]

    def test_a_process_that_was_stopped_for_an_hour_is_not_hanging(self) -> None:
        beats = {"loop": 0.0}
        dog = self.watch(beats)
        assert dog.look() is None
        assert dog.look() is None, "an hour later: one look is one look"
        beats["loop"] = 3600.0
        assert dog.look() is None


class TestKnownSchemas:
    def test_a_schema_is_asked_for_outside_and_then_known(self) -> None:
        asked: list[int] = []

        def ask(schema_id: int) -> str:
            asked.append(schema_id)
            return f"text {schema_id}"

        schemas = KnownSchemas(ask)
        with pytest.raises(SchemaNotFetchedError) as missing:
            schemas(7)
        assert missing.value.schema_id == 7
        schemas.fetch(7)
        assert [schemas(7), schemas(7)] == ["text 7", "text 7"]
        assert asked == [7]

    def test_an_id_that_the_registry_has_not_is_undecodable_and_asked_again_later(self) -> None:
        now = [0.0]

        def ask(_: int) -> str:
            raise UndecodableError("none of that id")

        schemas = KnownSchemas(ask, now=lambda: now[0])
        value = b"\x00\x00\x00\x00\x07body"
        assert not schemas.lacks(value)
        schemas.fetch(7)
        with pytest.raises(UndecodableError):
            schemas(7)
        assert schemas.lacks(value)
        assert not schemas.lacks(b"\x00\x00\x00\x00\x08body")
        now[0] = 60.0
        with pytest.raises(SchemaNotFetchedError):
            schemas(7)

    def test_what_records_need_is_found_by_their_headers(self) -> None:
        schemas = KnownSchemas(str)
        schemas.fetch(1)
        values = [
            b"\x00\x00\x00\x00\x01a",
            b"\x00\x00\x00\x00\x02b",
            b"\x00\x00\x00\x00\x02c",
            b"\x01\x00\x00\x00\x03",
            b"x",
            b"",
        ]
        assert schemas.missing(values) == {2}


class TestDeadLetters:
    def test_a_delivery_s_dead_letter_has_everything_and_4_kib_of_the_answer(self) -> None:
        dead_letter = dead_letter_of(
            DELIVERY,
            b"value",
            topic="deliveries",
            partition=3,
            offset=9,
            reason=DeadLetterReason.SCHEDULE,
            died_at_ms=5,
            last_status=500,
            last_answer=b"x" * 5000,
        )
        assert (dead_letter.delivery_id, dead_letter.hook_id, dead_letter.client) == (
            DELIVERY.id,
            DELIVERY.hook_id,
            DELIVERY.client,
        )
        assert (dead_letter.record_key, dead_letter.record_value) == (DELIVERY.key, b"value")
        assert len(dead_letter.last_answer) == 4096

    @pytest.mark.parametrize(
        ("key", "client"),
        [(b"9999", "9999"), (None, None), (b"", None), (b"a|b", "a|b"), (b"9" * 256, None), (b"\xff", None)],
    )
    def test_the_key_tells_whose_an_undecodable_record_was_if_it_can(
        self, key: bytes | None, client: str | None
    ) -> None:
        dead_letter = undecodable_dead_letter(
            key, b"?", topic="deliveries", partition=0, offset=1, detail="no", died_at_ms=5
        )
        assert dead_letter.client == client
        assert dead_letter.record_value == b"?"

    def test_a_dead_letter_that_is_too_large_keeps_the_position(self) -> None:
        dead_letter = undecodable_dead_letter(
            b"1", b"?" * 99, topic="deliveries", partition=0, offset=1, detail="no", died_at_ms=5
        )
        small = dead_letter.without_payload()
        assert (small.record_key, small.record_value) == (None, None)
        assert small.detail == "no; 100 bytes left out"
        assert (small.topic, small.partition, small.offset) == ("deliveries", 0, 1)


def test_varints_are_as_long_as_they_need_to_be() -> None:
    for value, size in ((0, 1), (127, 1), (128, 2), (2**14 - 1, 2), (2**14, 3), (2**63 - 1, 9)):
        out = bytearray()
        append_varint(out, value)
        assert len(out) == size
        reader = VarintReader(bytes(out))
        assert reader.varint() == value
        assert reader.at_end
    out = bytearray()
    append_text(out, "ä")
    assert VarintReader(bytes(out)).text() == "ä"
    with pytest.raises(ValueError, match="negative"):
        append_varint(out, -1)
    for bad in (b"", b"\x80", b"\xff" * 20):
        with pytest.raises(ValueError, match="no end"):
            VarintReader(bad).varint()
    with pytest.raises(ValueError, match="too soon"):
        VarintReader(b"\x05ab").text()
