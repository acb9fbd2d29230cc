"""The code of docs/producers.md and of the tutorials runs, and the package exports what those documents import."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text

from hookstream import producers
from hookstream.processors.cli import main as cli
from hookstream.producers import Event, ProducerConfig, event_producer
from hookstream.producers.errors import ProducerConfigError
from hookstream.producers.outbox import OUTBOX, event_of
from hookstream.producers.testing import FakeEventProducer
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.errors import InvalidValueError
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = ("producers.md", "tutorials/first-producer.md", "tutorials/own-domain.md")
DOCUMENT = "".join((ROOT / "docs" / page).read_text() for page in PAGES)
ENVIRONMENT = {"HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092", "HOOKSTREAM_SCHEMA_REGISTRY_URL": "http://registry"}


def code(name: str) -> str:
    """The block of the documents whose first line is `# name`."""
    found = re.search(rf"```python\n# {name}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found, name
    return found[1]


def run(name: str) -> dict[str, Any]:
    """What a block defines."""
    defined: dict[str, Any] = {"__name__": name}
    exec(compile(code(name), name, "exec"), defined)  # noqa: S102 - our own document
    return defined


def test_the_direct_producer_of_the_document_says_what_was_accepted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Fake(FakeEventProducer):
        def __init__(self, config: ProducerConfig) -> None:
            super().__init__()
            assert config.bootstrap_servers == "kafka:9092"

    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(event_producer, "EventProducer", Fake)
    run("direct")["main"]()
    assert re.fullmatch(r"accepted: events\.lead, partition \d+, offset 0\n", capsys.readouterr().out)


@pytest.mark.parametrize(("name", "accepted"), [("announce", 3), ("own", 1)])
def test_the_producers_of_the_tutorials_are_accepted(
    name: str, accepted: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Fake(FakeEventProducer):
        def __init__(self, config: ProducerConfig, catalogue: Catalogue | None = None) -> None:
            super().__init__(catalogue=catalogue)
            assert config.bootstrap_servers == "kafka:9092"

    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(event_producer, "EventProducer", Fake)
    monkeypatch.chdir(tmp_path)
    assert cli.run(["events", "new", "order", "placed", "--ids", "string", "--data", "--dir", "catalogue"]) == 0
    capsys.readouterr()
    run(name)
    assert len(capsys.readouterr().out.splitlines()) == accepted


def test_the_outbox_of_the_document_writes_into_the_callers_transaction(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'service.sqlite3'}")
    defined = run("outbox")
    defined["prepare"](engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE leads (id INTEGER)"))
    defined["new_lead"](engine, 434, 17)
    with engine.connect() as connection:
        (row,) = connection.execute(OUTBOX.select()).all()
    assert (event_of(row).name, event_of(row).concept.id) == ("lead.new", 17)
    engine.dispose()


def test_the_coroutine_of_the_document_gives_the_receipt() -> None:
    receipt = asyncio.run(run("asyncio")["publish"](FakeEventProducer(), 17))
    assert receipt.topic == "events.lead"


@pytest.mark.parametrize("name", ["test_a_lead_is_announced", "test_a_refusal_is_seen"])
def test_the_tests_of_the_document_pass_with_the_fixture_of_the_plugin(
    name: str, fake_event_producer: FakeEventProducer
) -> None:
    run("tests")[name](fake_event_producer)


def test_every_export_is_there_and_no_other_is() -> None:
    for name in producers.__all__:
        assert getattr(producers, name).__name__ == name
    assert sorted(producers.__all__) == producers.__all__
    with pytest.raises(AttributeError, match="Nothing"):
        producers.Nothing  # noqa: B018 - what a wrong import does


def test_an_event_of_a_moment_has_its_milliseconds() -> None:
    moment = datetime(2026, 11, 28, 8, 0, 0, 123_900, tzinfo=UTC)
    event = Event.of("lead.new", client=434, id=17, occurred_at=moment, sub_namespace="villa")
    assert event.occurred_at_ms == 1_795_852_800_123
    assert (event.concept.namespace, event.concept.sub_namespace) == ("lead", "villa")
    assert Event.of("lead.new", client=1, id=2).id != Event.of("lead.new", client=1, id=2).id


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="no zone"):
        Event.of("lead.new", client=434, id=17, occurred_at=datetime(2026, 11, 28))  # noqa: DTZ001 - the mistake


def test_the_environment_is_read_under_the_names_of_the_settings() -> None:
    options = {"HOOKSTREAM_KAFKA_OPTIONS": '{"security.protocol": "ssl"}', "HOOKSTREAM_TOPIC_PREFIX": "shop."}
    config = ProducerConfig.from_env({**ENVIRONMENT, **options})
    assert config.schema_registry_url == "http://registry"
    assert config.librdkafka()["security.protocol"] == "ssl"
    assert config.topics.events("lead") == "shop.events.lead"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "KAFKA_BOOTSTRAP_SERVERS, HOOKSTREAM_SCHEMA_REGISTRY_URL"),
        ({**ENVIRONMENT, "HOOKSTREAM_KAFKA_OPTIONS": "hunter2"}, "no JSON object"),
        ({**ENVIRONMENT, "HOOKSTREAM_KAFKA_OPTIONS": '{"a": []}'}, "no JSON object"),
        ({**ENVIRONMENT, "HOOKSTREAM_KAFKA_OPTIONS": '{"acks": "1"}'}, "acks is fixed"),
    ],
)
def test_an_environment_that_will_not_do_is_refused(environment: dict[str, str], says: str) -> None:
    with pytest.raises(ProducerConfigError, match=says) as caught:
        ProducerConfig.from_env(environment)
    assert "hunter2" not in str(caught.value)
