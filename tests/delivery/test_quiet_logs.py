"""What the worker writes to its log: enough to see what happened, never so much that it hurts, nothing secret."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog

from hookstream.processors import logs
from tests.support.delivery_stage import SECRET
from tests.support.targets import OK, Reply, Seen
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hookstream.schemas.hook import Hook
    from tests.support.delivery_world import DeliveryWorld

QUICK = {"full_schedule_s": [0.05] * 40, "short_schedule_s": [0.1] * 2, "probe_first_s": 0.4, "probe_steady_s": 0.4}


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Everything that is logged, by anybody, at the default level."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    out = io.StringIO()
    logs.configure(level="info", form="json", stream=out)
    yield out
    structlog.reset_defaults()
    root.handlers[:], level = before
    root.setLevel(level)


def lines_of(written: io.StringIO) -> list[dict[str, object]]:
    """The lines about attempts and dead letters."""
    lines = [orjson.loads(line) for line in written.getvalue().splitlines()]
    return [line for line in lines if "delivery" in line]


def test_a_healthy_worker_is_silent(world: DeliveryWorld, written: io.StringIO) -> None:
    """Deliveries that succeed at once are counted, and not logged."""
    (hook,) = world.hooks("one")
    world.start()
    world.send(hook, range(300))
    world.wait_all()
    assert lines_of(written) == []


def test_a_bad_day_is_told_in_few_lines_without_a_secret(world: DeliveryWorld, written: io.StringIO) -> None:
    """Failures, a quarantine, a recovery and dead letters give wide lines that are few and hold no secret."""
    flaky, down, poison = world.hooks(*(f"{name}/SENTINEL?token=SENTINEL" for name in ("flaky", "down", "poison")))
    healed, seen_ids = False, set[str]()

    def answer(seen: Seen) -> Reply:
        again = seen.id in seen_ids
        seen_ids.add(seen.id)
        broken = {
            "flaky": not again and seen.concept % 2,
            "down": not healed,
            "poison": seen.concept == 0,
        }
        refusal = Reply(422 if seen.path.startswith("/poison") else 500, {"x-sentinel": "SENTINEL"})
        return refusal if broken[seen.path.split("/")[1]] else OK

    world.targets.answer = answer
    metrics = world.start(policy=QUICK).metrics

    def send(hook: Hook, concepts: Iterable[int]) -> None:
        world.produce(world.delivery(hook, concept, sub_namespace="SENTINEL") for concept in concepts)

    send(poison, [1, 2, 3])
    eventually(lambda: metrics.worker.deliveries["delivered"] == 3, describe="its other resources succeed")
    send(poison, [0] * 20)
    send(flaky, range(200))
    send(down, range(200))
    eventually(lambda: metrics.dead_letters["schedule"] == 20, describe="the poison is dead-lettered")
    eventually(lambda: metrics.worker.deliveries["delivered"] == 203, describe="the flaky one has got everything")
    healed = True
    eventually(lambda: metrics.worker.deliveries["delivered"] == 403, describe="everybody has got everything")

    lines = lines_of(written)
    said = [line["event"] for line in lines]
    assert "attempt failed" in said
    assert "attempt failed; its endpoint is quarantined" in said
    assert "delivered; its endpoint has recovered" in said
    assert "a delivery was dead-lettered" in said
    failed = sum(count for result, count in metrics.worker.attempts.items() if result != "delivered")
    assert failed > 2 * len(lines)
    assert len(lines) <= 60
    text = written.getvalue()
    assert "SENTINEL" not in text
    assert SECRET.key.decode() not in text
