"""What `hookstream up` tells people to type works as it stands."""

from __future__ import annotations

import shlex
from dataclasses import replace

import orjson
import pytest

from hookstream.processors.cli.trial.up_example import Example, commands, example_of
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.event import EventName
from tests.support.repository import ROOT


def test_the_example_is_that_of_the_readme_where_the_catalogue_has_it() -> None:
    assert example_of(Catalogue.shipped()) == Example(EventName("lead.new"))


def test_an_event_whose_schema_has_data_is_published_with_data() -> None:
    example = example_of(Catalogue.from_directory(ROOT / "examples" / "orders"))
    assert example is not None
    assert example.event == "order.placed"
    typed = shlex.split(commands("tokens", example)[2])
    assert orjson.loads(typed[typed.index("--data") + 1]) == example.data


def test_a_catalogue_whose_events_others_write_has_no_example() -> None:
    assert example_of(Catalogue.from_directory(ROOT / "examples" / "foreign-topics")) is None


@pytest.mark.parametrize(("file", "typed"), [("tokens", ". ./tokens"), ("a b/tokens", ". 'a b/tokens'")])
def test_the_commands_read_the_file_wherever_it_is(file: str, typed: str) -> None:
    example = Example(EventName("lead.new"))
    assert commands(file, example) == [
        "hookstream listen --event lead.new", typed, "hookstream publish lead.new --client 434 --id 17",
    ]  # fmt: skip
    assert commands(file, replace(example, data={"note": "it's"}))[2].endswith("""'{"note":"it'"'"'s"}'""")
