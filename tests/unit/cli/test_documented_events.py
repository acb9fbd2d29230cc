"""The commands, tables and schemas of docs/events.md, docs/sources.md and a tutorial do what those documents say."""

from __future__ import annotations

import io
import json
import re
import shlex
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import fastavro
import pytest

from hookstream.processors.cli import main as cli
from hookstream.processors.cli.commands.events_sample import sampled, topic_reader
from hookstream.producers.testing import FakeEventProducer
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.event_types import event_types
from hookstream.schemas.sources.record import SourceRecord
from hookstream.schemas.sources.source import ValueFormat
from hookstream.schemas.sources.sources_file import read_sources
from hookstream.schemas.topics import TopicNames
from tests.support.repository import ROOT
from tests.support.values import Schemas

DOCUMENTS = {
    name: (ROOT / name).read_text()
    for name in ("docs/events.md", "docs/sources.md", "docs/tutorials/own-domain.md", "examples/orders/README.md")
}
# These need Kafka, or run for long: tests/integration has them.
NEED_MORE = ("demo", "topics", "--sample", "publish", "router", "deliver", "api", "up")


def blocks(document: str, language: str) -> list[str]:
    """The blocks of code of a document."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENTS[document], re.MULTILINE | re.DOTALL)


def commands(document: str) -> list[list[str]]:
    """The commands of `hookstream events` in a document, as arguments."""
    lines = [line for block in blocks(document, "sh") for line in block.splitlines()]
    found = [shlex.split(line, comments=True) for line in lines if line.startswith("hookstream events ")]
    return [words[1:] for words in found if not set(words) & set(NEED_MORE)]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL", "SCHEMA_DIR", "TOPIC_PREFIX"):
        monkeypatch.delenv(f"HOOKSTREAM_{name}", raising=False)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("document", "count"),
    [
        ("docs/events.md", 2),
        ("docs/sources.md", 1),
        ("docs/tutorials/own-domain.md", 2),
        ("examples/orders/README.md", 1),
    ],
)
def test_the_commands_of_a_document_succeed(document: str, count: int) -> None:
    found = commands(document)
    assert len(found) == count
    for arguments in found:
        assert cli.run(arguments) == 0, arguments


def test_the_event_of_a_document_is_taken_from_the_shell_and_from_python(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOOKSTREAM_SCHEMA_DIR", "examples/orders")
    (shell,) = (block for block in blocks("docs/events.md", "sh") if block.startswith("hookstream publish"))
    assert cli.run(shlex.split(shell)[1:]) == 0
    assert capsys.readouterr().out == "order.placed of client acme is valid; nothing was sent\n"
    (code,) = blocks("docs/events.md", "python")
    producer = FakeEventProducer(catalogue=Catalogue.from_directory("examples/orders"))
    exec(code, {"producer": producer})  # noqa: S102 - ours
    (event,) = producer.events
    assert event.name == "order.placed"


def test_what_a_document_says_of_symbols_is_what_integrators_read() -> None:
    assert cli.run(commands("docs/events.md")[0]) == 0
    file = Path("catalogue/order.avsc")
    envelope = json.loads(file.read_text())
    (shown,) = blocks("docs/events.md", "json")
    envelope["fields"][1]["type"] = json.loads(shown)
    file.write_text(json.dumps(envelope))
    told = {
        event.name: (event.description, event.since)
        for event in event_types(Catalogue.from_directory("catalogue"), {})
        if event.namespace == "order"
    }
    assert told == {
        "order.placed": ("A customer has placed the order.", "2026-11-28"),
        "order.paid": ("The order is paid in full.", None),
        "order.shipped": ("Something happened to one order of one client.", None),
    }


@pytest.mark.parametrize("text", blocks("docs/sources.md", "toml"))
def test_a_table_of_a_document_is_one_that_is_read(text: str) -> None:
    assert read_sources(text.encode()).faults == ()


# Of the recipe for Avro: what its records are written with.
ORDER = {
    "type": "record", "name": "Order", "fields": [
        {"name": "type", "type": "string"},
        {"name": "order_id", "type": "string"},
        {"name": "merchant", "type": {
            "type": "record", "name": "Merchant", "fields": [{"name": "id", "type": "long"}]}},
        {"name": "created_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "margin", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    ],
}  # fmt: skip
AT_MS = 1_795_852_800_000
RECIPES = re.findall(r"^```toml\n([^`]*)^```\n\n```\n([^`]*)^```$", DOCUMENTS["docs/sources.md"], re.MULTILINE)


def avro(shown: str) -> bytes:
    """The value of the recipe for Avro, as a Java service writes it."""
    value = json.loads(shown)
    at = datetime.fromisoformat(value["created_at"])
    amounts = {name: Decimal(value[name]) for name in ("total", "margin")}
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(ORDER), {**value, **amounts, "created_at": at})
    return b"\0\0\0\0\7" + buffer.getvalue()


@pytest.mark.parametrize(("table", "shown"), RECIPES, ids=[table.split("]")[0][1:] for table, _ in RECIPES])
def test_a_recipe_makes_of_its_record_what_the_document_shows(table: str, shown: str) -> None:
    lines = shown.splitlines()
    place, key = lines[0].split("  key ")
    topic, partition, offset = place.split(":")
    said = [line.split(maxsplit=1) for line in lines[1:]]
    value = next(text for kind, text in said if kind == "value")
    catalogue = Catalogue.from_files({"sources.toml": table.encode()})
    (source,) = catalogue.sources
    record = SourceRecord(
        topic,
        int(partition),
        int(offset),
        None if key == "-" else key.encode(),
        avro(value) if source.value is ValueFormat.AVRO else value.encode(),
        [(name, text.encode()) for kind, header in said if kind == "header" for name, text in [header.split("=")]],
        AT_MS,
    )
    reader = topic_reader(topic, catalogue, TopicNames(), Schemas({7: json.dumps(ORDER)}))
    assert list(sampled(record, reader).lines()) == lines


def test_there_is_a_recipe_for_each_kind_of_topic() -> None:
    assert len(RECIPES) == DOCUMENTS["docs/sources.md"].count("\n### ") == 4
