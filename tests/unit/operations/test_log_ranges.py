"""Every reader of ranges of logs gets the same three answers: read to the end, unread for want of time, or lost."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import Consumer, Message

from hookstream.processors.deadline import Deadline
from hookstream.processors.delivery.checkpoints import state_store
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations import log_ranges
from hookstream.processors.operations.log_ranges import LogScanner, OffsetRange, RangeReader, Scanned
from hookstream.processors.operations.queries import backlog
from hookstream.processors.operations.queries.backlog import KafkaBacklogs, LookLimits
from hookstream.processors.operations.queries.dead_letter_log import KafkaDeadLetters
from hookstream.processors.operations.queries.delivery_search import KafkaDeliveryLog
from hookstream.processors.operations.replays import reader
from hookstream.processors.operations.replays.reader import WindowReader
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder, dead_letter_encoder
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.dead_letters import DeadLetterPlace, DeadLetterQuery
from hookstream.subscriptions.deliveries import WantedDelivery
from hookstream.subscriptions.replays import Stretch, Window
from tests.support.logs import Logs
from tests.support.scripted_consumer import ScriptedConsumer, record
from tests.support.values import DEAD_LETTER, DELIVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KAFKA = KafkaConfig(bootstrap_servers="kafka:9092")
TOPICS = TopicNames()
LIVE = (TOPICS.deliveries, 0)
DEAD = (TOPICS.dead_letters, 0)
SENT = replace(DELIVERY, replay=None, live_end=0, replayed_at_ms=0)


def named(number: int) -> DeliveryId:
    return DeliveryId(f"msg_{number:032x}")


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Logs:
    """Ten deliveries, and ten dead letters."""
    made = Logs()
    for module in (backlog, log_ranges, reader, state_store):
        monkeypatch.setattr(module, "make_consumer", made.made)
    monkeypatch.setattr(backlog, "cluster_id", lambda *_: "cluster")
    monkeypatch.setattr(backlog, "topic_ids", lambda _kafka, names: dict.fromkeys(names, "id"))
    encode, encode_dead = delivery_encoder(1), dead_letter_encoder(2)
    made.write(LIVE[0], *(encode(replace(SENT, id=named(number))) for number in range(10)))
    made.write(DEAD[0], *(encode_dead(replace(DEAD_LETTER, delivery_id=named(50 + number))) for number in range(10)))
    return made


def delete(logs: Logs, place: tuple[str, int], low: int) -> Callable[[], None]:
    return lambda: logs.lows.__setitem__(place, low)


# --- the scanner ------------------------------------------------------------------------------------------------------


def scanned(
    logs: Logs, wanted: Mapping[tuple[str, int], OffsetRange], enough_at: int = 99
) -> tuple[Scanned, list[int]]:
    """What became of ranges, and the offsets that were taken."""
    taken: list[int] = []

    def take(_place: tuple[str, int], message: Message) -> bool:
        if (message.offset() or 0) >= enough_at:
            return False
        taken.append(message.offset() or 0)
        return True

    return LogScanner(KAFKA).scan(wanted, take, deadline=Deadline.after(5.0, logs)), taken


def test_a_range_is_read_to_its_end_and_no_further(logs: Logs) -> None:
    found, taken = scanned(logs, {LIVE: OffsetRange(2, 6), DEAD: OffsetRange(4, 4)})
    assert (found.reached, found.unread, found.lost) == ({LIVE: 6, DEAD: 4}, {}, [])
    assert taken == [2, 3, 4, 5]


def test_the_record_behind_the_end_is_not_of_the_range_where_the_last_offset_holds_none() -> None:
    """Compaction and aborted transactions leave such offsets."""
    consumer = ScriptedConsumer(deque([[record(b"", topic=LIVE[0], offset=offset) for offset in (2, 4, 6)]]))
    ranges = RangeReader({LIVE: OffsetRange(2, 6)}, doing="reading")
    ranges.attach(cast("Consumer", consumer))
    assert [message.offset() for _, message in ranges.read(0.0)] == [2, 4]
    assert (ranges.done, ranges.result().unread) == (True, {})


def test_what_was_deleted_is_lost_and_what_is_behind_it_is_read(logs: Logs) -> None:
    logs.before_reading = delete(logs, LIVE, 7)
    found, taken = scanned(logs, {LIVE: OffsetRange(2, 10)})
    assert (found.reached, found.unread, found.lost) == ({LIVE: 10}, {}, [(LIVE, OffsetRange(2, 7))])
    assert taken == [7, 8, 9]


def test_a_range_that_was_deleted_whole_is_over(logs: Logs) -> None:
    logs.before_reading = delete(logs, LIVE, 9)
    found, taken = scanned(logs, {LIVE: OffsetRange(2, 5)})
    assert (found.reached, found.unread, found.lost, taken) == ({LIVE: 5}, {}, [(LIVE, OffsetRange(2, 5))], [])


def test_a_log_that_was_cut_or_made_again_loses_the_rest_of_its_range(logs: Logs) -> None:
    logs.before_reading = logs.records.clear
    found, _ = scanned(logs, {LIVE: OffsetRange(2, 5)})
    assert (found.unread, found.lost) == ({}, [(LIVE, OffsetRange(2, 5))])


def test_an_end_of_the_log_below_the_range_s_is_waited_at_until_the_deadline(logs: Logs) -> None:
    logs.hidden[LIVE] = 4
    found, taken = scanned(logs, {LIVE: OffsetRange(2, 10), DEAD: OffsetRange(0, 1)})
    assert (found.reached, found.unread) == ({LIVE: 4, DEAD: 1}, {LIVE: OffsetRange(4, 10)})
    assert sorted(taken) == [0, 2, 3]
    assert logs.now_s == pytest.approx(1005.0)


def test_the_record_at_which_its_reader_had_enough_is_unread(logs: Logs) -> None:
    found, taken = scanned(logs, {LIVE: OffsetRange(2, 10)}, enough_at=5)
    assert (found.reached, found.unread, taken) == ({LIVE: 5}, {LIVE: OffsetRange(5, 10)}, [2, 3, 4])


# --- its users --------------------------------------------------------------------------------------------------------


def search(logs: Logs, number: int) -> tuple[bool, bool]:
    """Whether a delivery is found, and whether the search was complete."""
    log = KafkaDeliveryLog(
        KAFKA,
        TOPICS,
        decode=delivery_decoder(lambda _: InternalSchema.DELIVERY.text),
        decode_dead_letter=dead_letter_decoder(lambda _: InternalSchema.DEAD_LETTER.text),
        monotonic_s=logs,
    )
    found = log.find(WantedDelivery(id=named(number), client=None))
    return found.delivery is not None or found.dead_letter is not None, found.complete


def pending(logs: Logs) -> tuple[int, bool]:
    """How many deliveries are pending, and whether the number is exact."""
    decode = delivery_decoder(lambda _: InternalSchema.DELIVERY.text)
    backlogs = KafkaBacklogs(KAFKA, TOPICS, decode=decode, limits=LookLimits(sample_records=1), monotonic_s=logs)
    (hook,) = backlogs.read(None, lambda _clients: {}).hooks.values()
    return hook.pending, hook.exact


def dead_letters(logs: Logs) -> KafkaDeadLetters:
    unused: Any = None
    made = KafkaDeadLetters(
        KAFKA,
        TOPICS,
        catalogue=Catalogue.shipped(),
        schemas=lambda _: InternalSchema.DEAD_LETTER.text,
        writer=unused,
        events=unused,
    )
    made._monotonic_s = logs
    return made


def listed(logs: Logs) -> tuple[list[int], DeadLetterPlace | None]:
    """The offsets of one page of dead letters, and where the next page goes on."""
    page = dead_letters(logs).find(DeadLetterQuery())
    return [each.place.offset for each in page.dead_letters], page.after


def test_all_is_read_where_nothing_is_missing(logs: Logs) -> None:
    assert search(logs, 9) == search(logs, 59) == (True, True)
    assert search(logs, 77) == (False, True)
    assert pending(logs) == (10, True)
    assert listed(logs) == (list(range(10)), None)


def test_behind_deleted_records_a_delivery_is_found_counted_and_listed(logs: Logs) -> None:
    for place, number in ((LIVE, 9), (DEAD, 59)):
        logs.lows.clear()
        logs.before_reading = delete(logs, place, 7)
        assert search(logs, number) == (True, True)
    logs.lows.clear()
    logs.before_reading = delete(logs, LIVE, 7)
    assert pending(logs) == (3, True)
    logs.before_reading = delete(logs, DEAD, 7)
    assert listed(logs) == ([7, 8, 9], None)


def test_where_time_ends_first_each_says_that_there_is_more(logs: Logs) -> None:
    logs.hidden = {LIVE: 4, DEAD: 4}
    assert search(logs, 9) == (False, False), "an end of the log below the bound is no proof of absence"
    assert pending(logs)[1] is False
    assert listed(logs) == ([0, 1, 2, 3], DeadLetterPlace(0, 3))


def test_dead_letters_are_got_behind_deleted_ones(logs: Logs) -> None:
    places = [DeadLetterPlace(0, offset) for offset in (1, 8, 9, 4000)]
    logs.before_reading = delete(logs, DEAD, 9)
    assert set(dead_letters(logs).get(places)) == {DeadLetterPlace(0, 9)}


def window(end: int = 10) -> WindowReader:
    stretch = Stretch(topic=LIVE[0], partition=0, start=2, end=end)
    made = WindowReader(KAFKA, Window(stretches=[stretch]), group="replay-1")
    made.open(go_on=False)
    return made


def test_a_window_counts_what_was_deleted_and_reads_the_rest(logs: Logs) -> None:
    logs.before_reading = delete(logs, LIVE, 7)
    reading = window()
    first, rest = reading.read(), reading.read()
    assert [record.offset for record in (*first[0], *rest[0])] == [7, 8, 9]
    assert (reading.done, reading.expired, reading.scanned, reading.position(LIVE)) == (True, 5, 8, 10)


def test_a_window_of_a_log_that_was_made_again_ends(logs: Logs) -> None:
    logs.before_reading = logs.records.clear
    reading = window()
    assert reading.read() == ([], {LIVE})
    assert (reading.done, reading.expired) == (True, 8)


def test_a_window_goes_on_where_it_was_after_a_rest(logs: Logs) -> None:
    logs.hidden[LIVE] = 5
    reading = window()
    assert [record.offset for record in reading.read()[0]] == [2, 3, 4]
    assert not reading.done
    reading.rest()
    logs.hidden.clear()
    assert [record.offset for record in reading.read()[0]] == [5, 6, 7, 8, 9]
    assert (reading.done, reading.expired, logs.assigned[-1]) == (True, 0, {LIVE: 5})
