"""What a configuration refuses, hides and hands to librdkafka."""

from __future__ import annotations

import pytest

from hookstream.producers.config import SAFETY, ProducerConfig
from hookstream.producers.errors import ProducerConfigError
from hookstream.producers.event_producer import EventProducer
from hookstream.producers.registry import SchemaRegistry


def config(**more: object) -> ProducerConfig:
    return ProducerConfig(bootstrap_servers="127.0.0.1:1", schema_registry_url="mock://config", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", SAFETY)
def test_an_option_that_order_rests_on_is_refused(key: str) -> None:
    with pytest.raises(ProducerConfigError, match=key):
        config(kafka_options={key: "1"})


def test_a_caller_that_waits_for_its_receipt_does_not_wait_for_company() -> None:
    assert config().librdkafka()["linger.ms"] == 0


def test_other_options_reach_the_client() -> None:
    built = config(kafka_options={"security.protocol": "SSL", "linger.ms": 7}).librdkafka()
    assert built["security.protocol"] == "SSL"
    assert built["linger.ms"] == 7
    assert built["acks"] == "all"
    assert built["enable.idempotence"] is True
    assert built["partitioner"] == "murmur2_random"


def test_an_option_that_librdkafka_does_not_know_is_refused_when_the_client_is_made() -> None:
    with pytest.raises(ProducerConfigError, match=r"no\.such\.key"):
        EventProducer(config(kafka_options={"no.such.key": "1"}))


def test_secrets_are_not_shown() -> None:
    shown = repr(
        ProducerConfig(
            bootstrap_servers="127.0.0.1:1",
            schema_registry_url="http://user:hush@registry",
            kafka_options={"sasl.password": "hush"},
            registry_options={"basic.auth.user.info": "user:hush"},
        )
    )
    assert "hush" not in shown


@pytest.mark.parametrize(("url", "options"), [("user:hush@nowhere", {}), ("http://127.0.0.1:1", {"hush": "1"})])
def test_a_registry_that_cannot_be_one_is_refused_without_showing_its_url(url: str, options: dict[str, str]) -> None:
    with pytest.raises(ProducerConfigError) as caught:
        SchemaRegistry(url, options)
    assert "hush" not in str(caught.value)
