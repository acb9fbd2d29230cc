"""The order in which real parts are looked for, and what happens where there is none."""

from __future__ import annotations

import pytest

from tests import conftest
from tests.support import machine
from tests.support.machine import ORDER, Part, Source, choose, own


@pytest.mark.parametrize(
    ("part", "there", "chosen"),
    [
        (Part.KAFKA, {Source.GIVEN, Source.DOCKER, Source.JAVA}, Source.GIVEN),
        (Part.KAFKA, {Source.DOCKER, Source.JAVA}, Source.DOCKER),
        (Part.KAFKA, {Source.JAVA}, Source.JAVA),
        (Part.KAFKA, set(), None),
        (Part.REGISTRY, {Source.DOCKER, Source.JAVA}, Source.DOCKER),
        (Part.POSTGRES, {Source.GIVEN, Source.WHEEL}, Source.GIVEN),
        (Part.POSTGRES, {Source.DOCKER, Source.MACHINE}, Source.DOCKER),
        (Part.POSTGRES, {Source.MACHINE, Source.WHEEL}, Source.MACHINE),
        (Part.POSTGRES, {Source.WHEEL}, Source.WHEEL),
    ],
)
def test_the_first_source_that_is_there_is_chosen(part: Part, there: set[Source], chosen: Source | None) -> None:
    assert choose(ORDER[part], there.__contains__) is chosen


def test_a_given_part_is_chosen_without_probing_the_machine() -> None:
    probed: list[Source] = []

    def available(source: Source) -> bool:
        probed.append(source)
        return True

    choose(ORDER[Part.KAFKA], available)
    assert probed == [Source.GIVEN]


@pytest.mark.parametrize("part", Part)
def test_a_part_that_a_test_hurts_is_always_started_by_it(part: Part) -> None:
    assert Source.GIVEN not in own(ORDER[part])
    assert len(own(ORDER[part])) == len(ORDER[part]) - 1


def test_a_variable_of_the_environment_gives_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOKSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert not machine.available(Part.KAFKA, Source.GIVEN)
    monkeypatch.setenv("HOOKSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
    assert machine.available(Part.KAFKA, Source.GIVEN)
    assert machine.given(Part.KAFKA) == "broker:9092"


@pytest.fixture
def empty_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every source away."""
    monkeypatch.setattr(machine, "available", lambda _part, _source: False)


@pytest.mark.usefixtures("empty_machine")
def test_without_any_source_a_test_is_skipped_at_home_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no Apache Kafka to be had here.*HOOKSTREAM_TEST_KAFKA"):
        conftest.source_of(Part.KAFKA)


@pytest.mark.usefixtures("empty_machine")
def test_without_any_source_a_test_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no PostgreSQL to be had here"):
        conftest.source_of(Part.POSTGRES)
