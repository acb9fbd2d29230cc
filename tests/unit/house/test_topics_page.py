"""docs/topics.md names every field and value of the records that others may read, and every topic."""

from __future__ import annotations

import json
import re

import pytest

from hookstream.schemas.attempt import GAP_HEADER, AttemptResult
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.topics import TopicNames
from tests.support.repository import ROOT

PAGE = (ROOT / "docs/topics.md").read_text()


def named(text: str) -> set[str]:
    """What stands in backticks."""
    return set(re.findall(r"`([^`]+)`", text))


@pytest.mark.parametrize(
    ("heading", "schema", "values"),
    [
        ("attempts", InternalSchema.ATTEMPT, {*AttemptResult, GAP_HEADER}),
        ("deliveries.dead", InternalSchema.DEAD_LETTER, set(DeadLetterReason)),
    ],
)
def test_every_field_and_value_is_named(heading: str, schema: InternalSchema, values: set[str]) -> None:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    fields = {field["name"] for field in json.loads(schema.text)["fields"]}
    assert (fields | {str(value) for value in values}) - named(section) == set()


def test_every_topic_is_named() -> None:
    assert {*TopicNames().internal, "events.<namespace>", "events.hookstream"} - named(PAGE) == set()
