"""Every role knows how long its parts have been silent, whatever else it does or waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from hookstream.processors import logs
from hookstream.processors.cli.roles import commands, process
from hookstream.processors.last_answers import Component, LastAnswers
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import LAST_ANSWERS, Metrics
from hookstream.processors.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass
class Clock:
    """Time that a test moves on."""

    now: float = 100.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


@dataclass
class Asked:
    """A part that answers, or does not."""

    away: bool = False
    calls: list[None] = field(default_factory=list)

    def __call__(self) -> None:
        """Answer."""
        self.calls.append(None)
        if self.away:
            raise OSError("password")


def test_a_part_is_silent_from_ten_seconds_on_and_readiness_says_so_until_it_answers() -> None:
    clock, kafka, health = Clock(), Asked(), Health()
    answers = LastAnswers({Component.KAFKA: kafka}, clock=clock)
    health.watch(answers.silent)
    answers.ask(Component.KAFKA)
    kafka.away = True
    clock.now += 10
    answers.ask(Component.KAFKA)
    assert health.reasons == {}
    clock.now += 1
    assert health.reasons == {"kafka": "has not answered for 11 s"}  # also while a question hangs
    kafka.away = False
    answers.ask(Component.KAFKA)
    assert health.reasons == {}


def test_what_a_role_says_of_a_part_by_itself_is_more_than_its_silence() -> None:
    clock, health = Clock(), Health("kafka")
    health.watch(LastAnswers({Component.KAFKA: Asked(), Component.REGISTRY: Asked()}, clock=clock).silent)
    health.down("kafka", "does not acknowledge records")
    clock.now += 30
    assert health.reasons == {
        "kafka": "does not acknowledge records",
        "schema registry": "has not answered for 30 s",
    }


def test_a_part_that_never_answered_is_as_old_as_the_process() -> None:
    clock = Clock()
    answers = LastAnswers({Component.DATABASE: Asked(away=True)}, clock=clock)
    clock.now += 25
    answers.ask(Component.DATABASE)
    assert answers.ages_s() == {Component.DATABASE: 25}


def test_silence_is_logged_once_and_without_what_a_client_says() -> None:
    clock, part = Clock(), Asked(away=True)
    answers = LastAnswers({Component.REGISTRY: part}, clock=clock)
    with capture_logs() as lines:
        for _ in range(10):
            answers.ask(Component.REGISTRY)
            clock.now += 5
        part.away = False
        answers.ask(Component.REGISTRY)
        answers.ask(Component.REGISTRY)
    assert [(line["event"], line["component"]) for line in lines] == [
        ("a component does not answer", "schema registry"),
        ("a component answers again", "schema registry"),
    ]
    assert "password" not in str(lines)


def test_metrics_show_the_parts_that_are_asked_and_no_others() -> None:
    clock, metrics = Clock(), Metrics()
    metrics.last_answers_s = LastAnswers({Component.KAFKA: Asked(), Component.DATABASE: Asked()}, clock=clock).ages_s
    clock.now += 42
    shown = metrics.render().decode()
    assert "hookstream_kafka_last_answer_seconds 42.0" in shown
    assert "hookstream_database_last_answer_seconds 42.0" in shown
    assert "hookstream_registry_last_answer_seconds" not in shown
    assert set(LAST_ANSWERS) == set(Component)


@pytest.mark.parametrize(
    ("role", "needs"),
    [
        (commands.router, {Component.KAFKA, Component.REGISTRY}),
        (commands.deliver, {Component.KAFKA, Component.REGISTRY}),
        (commands.api, set(Component)),
        (commands.attempt_log, set(Component)),
        (commands.replayer, set(Component)),
        (commands.outbox_relay, set(Component)),
    ],
)
def test_every_role_asks_the_parts_that_it_needs(
    role: Callable[[], None], needs: set[Component], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[Component]] = []

    def run(_name: str, *_args: object, needs: object, **_more: object) -> None:
        seen.append(set(cast("Mapping[Component, object]", needs)))

    monkeypatch.setattr(process, "run_process", run)
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": "k:9092",
        "SCHEMA_REGISTRY_URL": "http://r:8081",
        "DATABASE_URL": "sqlite://",
        "SECRET_KEY": "A" * 43 + "=",
        "API_PORT": "0",
    }.items():
        monkeypatch.setenv(f"HOOKSTREAM_{name}", value)
    if role is commands.api:
        monkeypatch.setattr(process, "listen", lambda _host, _port: pytest.MonkeyPatch.context())
    role()
    assert seen == [needs]


def test_a_process_shows_the_silence_of_its_parts_while_its_role_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(LastAnswers):
        """All parts have been silent for a minute."""

        def ages_s(self) -> Mapping[str, float]:
            return {Component.KAFKA: 60.0}

    monkeypatch.setattr(process, "LastAnswers", Silent)
    monkeypatch.setattr(StopSignal, "catch_signals", lambda _self: None)
    monkeypatch.setattr(logs, "configure", lambda **_: None)
    shown: list[str] = []

    def role(running: process.Running) -> None:
        running.health.up("kafka")
        shown.extend((str(running.health.reasons), running.metrics.render().decode()))

    listener = cast("Any", SimpleNamespace(getsockname=lambda: ("127.0.0.1", 9400)))
    process.run_process("router", Settings.model_construct(), role, needs={Component.KAFKA: Asked()}, listener=listener)
    reasons, metrics = shown
    assert "has not answered for 60 s" in reasons
    assert "hookstream_kafka_last_answer_seconds 60.0" in metrics
