"""Topics that others read: whoever has the newest schema reads every record, since the first release with it."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.topics import TopicNames
from tests.support.repository import ROOT

Json: TypeAlias = Any
# Every version that a release has registered, the oldest first. A change of a schema adds one here, and removes none.
VERSIONS: dict[str, list[Json]] = json.loads((ROOT / "tests/vectors/public_schemas.json").read_text())


def present(topic: str) -> Json:
    return json.loads(Catalogue.shipped().subjects(TopicNames())[subject(topic)])


def reads(reader: Json, writer: Json) -> bool:
    """Whether records that were written with one schema are read with another, as a registry judges it."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # the library has no types there
    found = checker.get_compatibility(parse(json.dumps(reader)), parse(json.dumps(writer)))
    return bool(found.compatibility is SchemaCompatibilityType.compatible)


def without(schema: Json, name: str) -> Json:
    return {**schema, "fields": [field for field in schema["fields"] if field["name"] != name]}


def test_every_topic_that_the_documentation_lets_others_read_is_looked_at() -> None:
    page = (ROOT / "docs/topics.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("| `") and line.split("|")[2].strip() == "read"]
    assert {line.split("`")[1] for line in lines} == set(VERSIONS)


@pytest.mark.parametrize("topic", VERSIONS)
def test_the_newest_schema_reads_what_every_earlier_one_wrote(topic: str) -> None:
    assert present(topic) == VERSIONS[topic][-1], "a schema that changed is added to the vectors, as the newest"
    for newer, reader in enumerate(VERSIONS[topic]):
        for writer in VERSIONS[topic][:newer]:
            assert reads(reader, writer)


@pytest.mark.parametrize("topic", VERSIONS)
def test_a_change_that_breaks_readers_would_be_seen(topic: str) -> None:
    newest = VERSIONS[topic][-1]
    name = next(field["name"] for field in newest["fields"] if "default" not in field)
    assert reads(newest, newest)
    assert not reads(newest, without(newest, name)), "a field that is added without a default"
    assert reads(without(newest, name), newest), "a field that is taken away"
