"""What the attempt log says of deliveries, and whether it knows enough to be asked."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.replays import judge as module
from hookstream.processors.operations.replays.judge import AttemptJudge, log_trouble
from hookstream.processors.operations.replays.selection import Selected
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.attempt_log import LogProgress
from hookstream.subscriptions.choices import ReplayOnly
from hookstream.subscriptions.replays import NewReplay, ReplayFilter
from tests.support.values import DELIVERY

if TYPE_CHECKING:
    from collections.abc import Iterator

FROM_MS = 100
KNOWN = LogProgress(partition=0, topic_id="now", next_offset=40, appended_at_ms=7, covers_from_ms=FROM_MS)
ANY = cast("Any", None)


def trouble(known: dict[int, LogProgress], *, end: int = 40, topic_id: str | None = "now") -> bool | None:
    """Whether waiting may help; None where there is no trouble."""
    found = log_trouble({0: (0, end), 1: (0, 0)}, known, from_ms=FROM_MS, topic_id=topic_id)
    return None if found is None else found[1]


def test_a_log_that_has_everything_since_the_window_began_is_good_enough() -> None:
    assert trouble({0: KNOWN}) is None
    assert trouble({}, end=0) is None, "there was never an attempt"
    assert trouble({0: KNOWN}, topic_id=None) is None, "the embedded Kafka has no ids"


def test_a_log_that_is_behind_is_waited_for() -> None:
    assert trouble({0: KNOWN}, end=41) is True
    assert trouble({}) is True, "it has not begun"
    assert trouble({0: replace(KNOWN, topic_id="before")}) is True, "what it has is of an earlier topic"


def test_a_log_that_begins_within_the_window_never_knows() -> None:
    assert trouble({0: replace(KNOWN, covers_from_ms=FROM_MS + 1)}) is False


@pytest.mark.parametrize(
    ("only", "wanted"),
    [
        (ReplayOnly.ALL, ["delivered", "failed", "never attempted"]),
        (ReplayOnly.FAILED, ["failed"]),
        (ReplayOnly.UNDELIVERED, ["failed", "never attempted"]),
    ],
)
def test_what_is_sent_again(monkeypatch: pytest.MonkeyPatch, only: ReplayOnly, wanted: list[str]) -> None:
    @contextmanager
    def reading(_sessions: object) -> Iterator[None]:
        yield

    monkeypatch.setattr(module, "reading", reading)
    monkeypatch.setattr(module, "were_delivered", lambda *_: {"delivered": True, "failed": False})
    asked = NewReplay(
        wanted=ReplayFilter(from_ms=FROM_MS, to_ms=200), only=only, rate_per_s=1.0, endpoint_rate_per_s=1.0
    )
    judge = AttemptJudge(KafkaConfig(bootstrap_servers="k:9092"), TopicNames(), ANY, asked)
    found = [
        Selected(ANY, replace(DELIVERY, id=DeliveryId(name)), ("1", "t"))
        for name in ("delivered", "failed", "never attempted")
    ]
    assert [each.delivery.id for each in judge.wanted(found)] == wanted
