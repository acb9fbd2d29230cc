"""Whatever keeps a record of the relays from being written has one name for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.queries.broker_clock import KafkaBrokerClock
from hookstream.processors.operations.relays.endpoint_settings_writer import EndpointSettingsWriter
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.schemas.control import EndpointSettings
from hookstream.schemas.event import ClientId
from hookstream.subscriptions.errors import BrokerClockError, NotPublishedError

if TYPE_CHECKING:
    from collections.abc import Callable

# A client that cannot even be opened: the key is none of librdkafka's.
KAFKA = KafkaConfig(bootstrap_servers="k:9092", options={"no.such.key": "1"})
SETTINGS = EndpointSettings(client=ClientId("434"), target_digest=b"d" * 16, revision=1)


def _row(write: Callable[[SubscriptionWriter], object]) -> object:
    return write(SubscriptionWriter(KAFKA, "subscriptions", encode=lambda _row: b""))


@pytest.mark.parametrize(
    "write",
    [
        lambda: _row(lambda writer: writer.publish_tombstones([b"434|lead.new"])),
        lambda: EndpointSettingsWriter(KAFKA, "control", encode=lambda _wanted: b"").publish([SETTINGS]),
    ],
    ids=["subscriptions", "control"],
)
def test_a_writer_that_cannot_be_opened_has_published_nothing(write: Callable[[], object]) -> None:
    with pytest.raises(NotPublishedError, match=r"cannot write to \w+: cannot open a Kafka producer"):
        write()


def test_a_clock_that_cannot_be_asked_says_so() -> None:
    with pytest.raises(BrokerClockError, match="cannot open a Kafka producer"):
        KafkaBrokerClock(KAFKA, "control", now_ms=lambda: 0).now_ms()


@pytest.mark.parametrize("stamp", [TIMESTAMP_NOT_AVAILABLE, TIMESTAMP_CREATE_TIME])
def test_a_time_that_is_not_the_broker_s_is_none(monkeypatch: pytest.MonkeyPatch, stamp: int) -> None:
    clock = KafkaBrokerClock(KafkaConfig(bootstrap_servers="k:9092"), "control", now_ms=lambda: 0)
    monkeypatch.setattr(clock, "_stamped", lambda: (TIMESTAMP_LOG_APPEND_TIME, 77))
    assert clock.now_ms() == 77
    monkeypatch.setattr(clock, "_stamped", lambda: (stamp, 77))
    with pytest.raises(BrokerClockError, match="LogAppendTime"):
        clock.now_ms()
