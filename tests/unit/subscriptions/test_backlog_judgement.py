"""What the numbers mean for an endpoint: its state, its next attempt, its counts."""

from __future__ import annotations

from typing import Any

import pytest

from hookstream.schemas.control import endpoint_id, parse_endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.backlogs import Backlogs, EndpointHook, HookBacklog, SeenHealth, judge, judge_all
from hookstream.subscriptions.choices import EndpointState
from hookstream.subscriptions.models import DisabledReason

NOW_MS = 1_700_000_000_000
CLIENT = ClientId("434")
TARGET = "https://example.com/hook?key=secret"
DIGEST = target_digest(TARGET)


def row(hook_id: int = 1, event: str = "lead.new", **fields: Any) -> EndpointHook:
    values: dict[str, Any] = {
        "id": HookId(hook_id),
        "client": CLIENT,
        "event": event,
        "target": TARGET,
        "disabled_reason": None,
        "disabled": False,
        "gone": False,
        "revision": 3,
        "not_before_ms": 0,
        "rate_limit_per_s": None,
    }
    return EndpointHook(**(values | fields))


def owes(count: int = 5, age_s: float = 60, **fields: Any) -> HookBacklog:
    values: dict[str, Any] = {
        "client": CLIENT,
        "event": "lead.new",
        "pending": count,
        "oldest_ms": NOW_MS - int(age_s * 1000),
    }
    return HookBacklog(**(values | fields))


def backlogs(hook: HookBacklog, **health: Any) -> Backlogs:
    return Backlogs(hooks={HookId(1): hook}, health={(CLIENT, DIGEST): SeenHealth(**health)} if health else {})


@pytest.mark.parametrize(
    ("hook", "seen", "state"),
    [
        (row(), Backlogs(), EndpointState.HEALTHY),
        (row(), backlogs(owes(age_s=2)), EndpointState.HEALTHY),
        (row(), backlogs(owes(1, age_s=6)), EndpointState.LAGGING),  # a retry that is due soon: nothing else shows it
        (row(), backlogs(owes(1, age_s=2, due_ms=NOW_MS + 300_000)), EndpointState.LAGGING),
        (row(), backlogs(owes(age_s=2), retry_after_until_ms=NOW_MS + 1), EndpointState.LAGGING),
        (row(), backlogs(owes(age_s=2, resources=1)), EndpointState.LAGGING),
        (row(rate_limit_per_s=1.0), backlogs(owes(age_s=2, backlogged=True)), EndpointState.LAGGING),
        (row(), backlogs(owes(age_s=2, backlogged=True)), EndpointState.CATCHING_UP),
        (row(), backlogs(owes(backlogged=True), retry_after_until_ms=NOW_MS + 1), EndpointState.LAGGING),
        (row(), backlogs(owes(backlogged=True), quarantined=True), EndpointState.QUARANTINED),
        (row(disabled=True), backlogs(owes(backlogged=True), quarantined=True), EndpointState.DISABLED),
        (row(), backlogs(owes(disabled_under=3)), EndpointState.DISABLED),
        (row(), backlogs(owes(disabled_under=2)), EndpointState.LAGGING),
    ],
)
def test_the_state_of_an_endpoint(hook: EndpointHook, seen: Backlogs, state: EndpointState) -> None:
    assert judge([hook], seen, paused=False, now_ms=NOW_MS).state is state
    assert judge([hook], seen, paused=True, now_ms=NOW_MS).state is EndpointState.PAUSED


@pytest.mark.parametrize(
    ("hook", "seen", "at"),
    [
        (row(), backlogs(owes()), None),
        (row(), backlogs(owes(), quarantined=True, probe_at_ms=NOW_MS + 7), NOW_MS + 7),
        (
            row(),
            backlogs(owes(), quarantined=True, probe_at_ms=NOW_MS + 7, retry_after_until_ms=NOW_MS + 9),
            NOW_MS + 9,
        ),
        (row(), backlogs(owes(), quarantined=True), NOW_MS),
        (row(), backlogs(owes(due_ms=NOW_MS + 5), retry_after_until_ms=NOW_MS + 9), NOW_MS + 9),
        (row(), backlogs(owes(due_ms=NOW_MS + 5, resources=1)), NOW_MS + 5),
        (row(disabled=True), backlogs(owes(due_ms=NOW_MS + 5), quarantined=True, probe_at_ms=NOW_MS + 7), None),
    ],
)
def test_the_time_of_the_next_attempt(hook: EndpointHook, seen: Backlogs, at: int | None) -> None:
    assert judge([hook], seen, paused=False, now_ms=NOW_MS).next_attempt_ms == at
    assert judge([hook], seen, paused=True, now_ms=NOW_MS).next_attempt_ms is None


def test_hooks_that_share_a_target_are_one_endpoint() -> None:
    rows = [row(1), row(2, "lead.updated", disabled=True, disabled_reason=DisabledReason.GONE), row(3, "lead.status")]
    numbers = {
        HookId(1): owes(5, age_s=1),
        HookId(2): owes(7, age_s=90, event="lead.updated", exact=False, replays=2),
    }
    (found,) = judge_all(rows, Backlogs(hooks=numbers), paused=(), now_ms=NOW_MS)
    assert (found.pending, found.replays, found.exact, found.oldest_ms) == (12, 2, False, NOW_MS - 90_000)
    assert found.state is EndpointState.LAGGING, "the backlog of the disabled one is not hidden"
    assert [(share.id, share.disabled, share.pending) for share in found.hooks] == [
        (1, False, 5),
        (2, True, 9),
        (3, False, 0),
    ]
    assert found.id == endpoint_id(CLIENT, DIGEST)
    assert parse_endpoint_id(found.id) == (CLIENT, DIGEST)
    assert "secret" not in found.id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "434",
        "434-",
        *(
            f"{client}-{DIGEST.hex()}"
            for client in ("", "9" * 256, "a b", "a/b", "ä", "~61", "~00", "~ff", "a~", "~2", "~c3~A4")
        ),
    ],
)
def test_what_is_no_name_of_an_endpoint(text: str) -> None:
    assert parse_endpoint_id(text) is None


def test_what_a_deleted_or_replaced_hook_was_owed_is_not_told_and_a_missing_row_hides_nothing() -> None:
    rows = [row(7, gone=True), row(9, "lead.updated")]
    numbers = {
        HookId(7): owes(1),
        HookId(8): owes(2, event="lead.updated"),  # replaced by 9
        HookId(10): owes(3, event="lead.updated"),  # newer than what the database has
        HookId(11): owes(4, event="lead.status"),  # another subscription key than its own
    }
    well, lost = judge_all(rows, Backlogs(hooks=numbers), paused=(), now_ms=NOW_MS)
    assert (well.pending, well.state) == (0, EndpointState.HEALTHY)
    assert (lost.pending, lost.target, lost.state) == (7, None, EndpointState.LAGGING)
    assert [share.id for share in lost.hooks] == [10, 11]


def test_whose_clients_there_is_something_to_tell() -> None:
    assert backlogs(owes()).clients == {CLIENT}
    assert Backlogs(health={(ClientId("5"), DIGEST): SeenHealth()}).clients == {"5"}
