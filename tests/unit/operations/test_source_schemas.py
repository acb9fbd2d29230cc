"""The latest schemas of sources: what is known stays known, and what cannot be read ends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.operations.queries.source_schemas import SourceSchemas
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.errors import UndecodableError
from tests.support.repository import ROOT

if TYPE_CHECKING:
    import pytest

    from hookstream.schemas.sources.source import Source

SOURCES = Catalogue.from_directory(ROOT / "examples" / "foreign-topics").sources


def test_the_schemas_of_avro_sources_are_asked_for_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, asked = StopSignal(), []

    def latest(source: Source) -> str | None:
        asked.append(source.namespace)
        return "text"

    def waits(_: StopSignal, timeout_s: float) -> bool:
        assert timeout_s > 1
        stop.ask()
        return True

    monkeypatch.setattr(StopSignal, "wait", waits)
    schemas = SourceSchemas(SOURCES, latest)
    assert schemas() == {}
    schemas.run(stop)
    assert (asked, schemas()) == (["order"], {"order": "text"})


def test_a_schema_that_cannot_be_read_is_logged_once_and_the_one_before_stays() -> None:
    answers: list[str | Exception | None] = []

    def latest(_: Source) -> str | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    schemas = SourceSchemas(SOURCES, latest)
    answers += ["text", RegistryUnavailableError("no answer"), RegistryUnavailableError("no answer")]
    answers += [UndecodableError("too many references"), "new text", None]
    known = []
    with capture_logs() as lines:
        while answers:
            schemas.ask(SOURCES[0])
            known.append(schemas().get("order"))
    assert known == ["text", "text", "text", "text", "new text", None]
    assert [line["reason"] for line in lines] == ["no answer", "too many references"]


def test_a_deployment_without_such_sources_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(_: StopSignal, timeout_s: float) -> bool:
        raise AssertionError(timeout_s)

    monkeypatch.setattr(StopSignal, "wait", waits)
    SourceSchemas(Catalogue.shipped().sources, lambda _: "text").run(StopSignal())
