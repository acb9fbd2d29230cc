"""What integrators and operators may change about a hook that exists, on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from hookstream.subscriptions.database import reading
from hookstream.subscriptions.models import AuditRow, SubscriptionRow
from tests.support.subscriptions_api import TARGET, Answer, Api, Caller, assert_problem

CLIENT = 434
OTHER_TARGET = "https://other.example/hooks?key=1"


def stored_row(api: Api) -> SubscriptionRow:
    """Read the row of the hook of most tests."""
    with reading(api.sessions) as session:
        return session.get_one(SubscriptionRow, (CLIENT, "lead.new"))


def audit(api: Api) -> list[tuple[str, dict[str, object]]]:
    """Read what was done after the creation, and its details."""
    with reading(api.sessions) as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.hook_id.is_not(None)).order_by(AuditRow.id)).all()
        return [(row.action, dict(row.detail)) for row in rows if row.action != "hook.create"]


def created(caller: Caller) -> int:
    """Register a hook and give its id."""
    hook_id: int = caller.create().json()["hook"]["id"]
    return hook_id


def patch(caller: Caller, hook_id: int, **fields: object) -> Answer:
    """Change a hook."""
    return caller("PATCH", f"/hooks/{hook_id}", {"hook": fields})


def hook_in(answer: Answer) -> dict[str, Any]:
    """Take the hook from a good answer."""
    assert answer.status_code == 200, answer.text
    hook: dict[str, Any] = answer.json()["hook"]
    return hook


# --- change -----------------------------------------------------------------------------------------------------------


def test_a_retarget_keeps_id_and_secret(api: Api) -> None:
    """`PATCH` with a target gives the hook that target in its normal form; id, secret and state stay."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    before = stored_row(api)
    api.clock.now_ms += 1000
    api.changes.clear()
    hook = hook_in(patch(caller, hook_id, target="HTTPS://Other.Example:443/hooks?key=1"))
    assert (hook["id"], hook["target"], hook["state"]) == (hook_id, OTHER_TARGET, "enabled")
    assert hook == hook_in(caller("GET", f"/hooks/{hook_id}"))
    after = stored_row(api)
    assert (after.revision, after.secrets) == (before.revision + 1, before.secrets)
    assert (after.created_at_ms, after.updated_at_ms) == (before.created_at_ms, before.updated_at_ms + 1000)
    assert api.changes, "the relay was not woken"
    assert audit(api) == [("hook.change", {"revision": 2, "target": OTHER_TARGET})]


def test_a_rate_limit_is_set_and_taken_away(api: Api) -> None:
    """`PATCH` with a rate limit sets it, with null takes it away, and leaves it alone where it is not sent."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    assert hook_in(patch(caller, hook_id, rate_limit_per_second=2.5))["rate_limit_per_second"] == 2.5
    assert hook_in(patch(caller, hook_id, target=OTHER_TARGET))["rate_limit_per_second"] == 2.5
    assert hook_in(patch(caller, hook_id, rate_limit_per_second=10))["target"] == OTHER_TARGET
    assert stored_row(api).rate_limit_per_s == 10
    assert hook_in(patch(caller, hook_id, rate_limit_per_second=None))["rate_limit_per_second"] is None
    assert (stored_row(api).rate_limit_per_s, stored_row(api).revision) == (None, 5)


def test_what_changes_nothing_is_not_published_again(api: Api) -> None:
    """A `PATCH` that asks for what is, or for nothing, answers with the hook and leaves its revision."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    for fields in ({}, {"target": TARGET}, {"rate_limit_per_second": None}):
        assert hook_in(patch(caller, hook_id, **fields))["target"] == TARGET
    assert stored_row(api).revision == 1
    assert audit(api) == []


def test_a_creation_after_a_deletion_forgets_the_limit(api: Api) -> None:
    """A new hook that has the subscription key of a deleted one starts without a rate limit."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    patch(caller, hook_id, rate_limit_per_second=1)
    caller("DELETE", f"/hooks/{hook_id}")
    created(caller)
    assert stored_row(api).rate_limit_per_s is None


def test_another_clients_hook_cannot_be_changed(api: Api) -> None:
    """A client cannot tell another's hook from none, and changes neither; an operator changes every client's."""
    hook_id = created(api.integrator(CLIENT))
    other = api.integrator(435)
    problem = assert_problem(patch(other, hook_id, target=OTHER_TARGET), 404, "hook-not-found")
    missing = patch(other, 999_999, target=OTHER_TARGET)
    assert missing.json() == {**problem, "detail": str(problem["detail"]).replace(str(hook_id), "999999")}
    assert stored_row(api).revision == 1
    assert hook_in(patch(api.operator(), hook_id, target=OTHER_TARGET))["target"] == OTHER_TARGET
    assert_problem(patch(api.platform(), hook_id, target=TARGET), 403, "wrong-role")


def test_a_deleted_hook_cannot_be_changed(api: Api) -> None:
    """A hook that was deleted, or replaced, is not there to be changed; its successor stays as it is."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    caller("DELETE", f"/hooks/{hook_id}")
    assert_problem(patch(caller, hook_id, target=OTHER_TARGET), 404, "hook-not-found")
    created(caller)
    assert_problem(patch(caller, hook_id, target=OTHER_TARGET), 404, "hook-not-found")
    assert stored_row(api).target == TARGET


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"target": "http://127.0.0.1/"}, "#/hook/target"),
        ({"target": "http://0x7f.1/"}, "#/hook/target"),
        ({"target": "https://user:password@example.com/"}, "#/hook/target"),
        ({"target": "ftp://example.com/"}, "#/hook/target"),
        ({"target": "https://example.com/" + "a" * 2048}, "#/hook/target"),
        ({"target": ""}, "#/hook/target"),
        ({"target": None}, "#/hook/target"),
        ({"rate_limit_per_second": 0}, "#/hook/rate_limit_per_second"),
        ({"rate_limit_per_second": -1}, "#/hook/rate_limit_per_second"),
        ({"rate_limit_per_second": 1e9}, "#/hook/rate_limit_per_second"),
        ({"rate_limit_per_second": "5"}, "#/hook/rate_limit_per_second"),
        ({"rate_limit_per_second": True}, "#/hook/rate_limit_per_second"),
        ({"event": "lead.status"}, "#/hook/event"),
        ({"state": "disabled"}, "#/hook/state"),
        ({"secret": "whsec_mine"}, "#/hook/secret"),
    ],
)
def test_a_bad_change_is_refused_with_the_place(on_sqlite: Api, fields: dict[str, object], pointer: str) -> None:
    """What a hook cannot be, or what cannot be changed, names its place in the body; nothing of it is done."""
    caller = on_sqlite.integrator(CLIENT)
    hook_id = created(caller)
    problem = assert_problem(patch(caller, hook_id, **fields), 422, "invalid-request")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    both = {"target": OTHER_TARGET, "rate_limit_per_second": 5, **fields}
    assert_problem(patch(caller, hook_id, **both), 422, "invalid-request")
    assert stored_row(on_sqlite).revision == 1


# --- disable and enable -----------------------------------------------------------------------------------------------


def disable(caller: Caller, hook_id: int) -> Answer:
    """Disable a hook."""
    return caller("POST", f"/hooks/{hook_id}/disable")


def enable(caller: Caller, hook_id: int, backlog: object = "resume") -> Answer:
    """Enable a hook."""
    return caller("POST", f"/hooks/{hook_id}/enable", {"backlog": backlog})


def test_a_disabled_hook_says_so(api: Api) -> None:
    """`POST /hooks/{id}/disable` disables under a higher revision, with its reason; repeated, it changes nothing."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    api.changes.clear()
    hook = hook_in(disable(caller, hook_id))
    assert (hook["id"], hook["state"], hook["disabled_reason"]) == (hook_id, "disabled", "requested")
    assert hook == hook_in(caller("GET", f"/hooks/{hook_id}"))
    assert api.changes, "the relay was not woken"
    assert hook_in(disable(caller, hook_id))["state"] == "disabled"
    assert (stored_row(api).revision, len(stored_row(api).secrets)) == (2, 1)
    assert audit(api) == [("hook.disable", {"revision": 2, "reason": "requested"})]


def test_resume_leaves_what_is_owed(api: Api) -> None:
    """Enabling with `resume` makes the hook as it was, under a higher revision, and nothing is skipped."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    before = hook_in(caller("GET", f"/hooks/{hook_id}"))
    disable(caller, hook_id)
    api.changes.clear()
    assert hook_in(enable(caller, hook_id)) == before
    assert (stored_row(api).revision, stored_row(api).not_before_ms) == (3, 0)
    assert api.changes, "the relay was not woken"
    assert audit(api)[-1] == ("hook.enable", {"revision": 3, "backlog": "resume"})


def test_skip_begins_at_the_brokers_time(api: Api) -> None:
    """Enabling with `skip` sets the time before which events are skipped: the broker's, not this process's."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    disable(caller, hook_id)
    hook = hook_in(enable(caller, hook_id, "skip"))
    assert (hook["state"], hook["disabled_reason"]) == ("enabled", None)
    assert hook["not_before_ms"] == stored_row(api).not_before_ms == api.broker_clock.ms != api.clock.now_ms
    assert audit(api)[-1] == (
        "hook.enable",
        {"revision": 3, "backlog": "skip", "not_before_ms": api.broker_clock.ms},
    )


def test_what_was_skipped_stays_skipped(api: Api) -> None:
    """Neither a later `resume` nor a broker whose clock went back brings back what was skipped."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    skipped_before_ms = hook_in(enable(caller, hook_id, "skip"))["not_before_ms"]
    assert hook_in(enable(caller, hook_id))["not_before_ms"] == skipped_before_ms
    api.broker_clock.ms = skipped_before_ms - 1000
    assert hook_in(enable(caller, hook_id, "skip"))["not_before_ms"] == skipped_before_ms


def test_enabling_an_enabled_hook_raises_its_revision(api: Api) -> None:
    """Enable always writes a higher revision: it ends what a worker has disabled for itself under the present one."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    for revision in (2, 3):
        assert hook_in(enable(caller, hook_id))["state"] == "enabled"
        assert stored_row(api).revision == revision


def test_a_change_leaves_a_hook_disabled(api: Api) -> None:
    """A retarget of a disabled hook does not enable it, nor forget why it is disabled."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    disable(caller, hook_id)
    hook = hook_in(patch(caller, hook_id, target=OTHER_TARGET))
    assert (hook["target"], hook["state"], hook["disabled_reason"]) == (OTHER_TARGET, "disabled", "requested")


def test_a_disabled_hook_keeps_its_subscription_key(api: Api) -> None:
    """A disabled hook is still the client's one hook for the event; deleted, it is no longer disabled."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    disable(caller, hook_id)
    assert_problem(caller.create(), 409, "hook-exists")
    enable(caller, hook_id, "skip")
    disable(caller, hook_id)
    assert caller("DELETE", f"/hooks/{hook_id}").status_code == 204
    assert_problem(enable(caller, hook_id), 404, "hook-not-found")
    hook = hook_in(caller("GET", f"/hooks/{created(caller)}"))
    assert (hook["state"], hook["disabled_reason"], hook["not_before_ms"]) == ("enabled", None, None)


def test_another_clients_hook_is_neither_disabled_nor_enabled(api: Api) -> None:
    """Another client gets 404, whatever Kafka does; an operator may disable and enable every client's hook."""
    hook_id = created(api.integrator(CLIENT))
    other = api.integrator(435)
    time_of_broker, api.broker_clock.ms = api.broker_clock.ms, None
    for answer in (disable(other, hook_id), enable(other, hook_id), enable(other, hook_id, "skip")):
        assert_problem(answer, 404, "hook-not-found")
    assert stored_row(api).revision == 1
    api.broker_clock.ms = time_of_broker
    operator = api.operator()
    assert hook_in(disable(operator, hook_id))["state"] == "disabled"
    assert hook_in(enable(operator, hook_id, "skip"))["state"] == "enabled"
    assert_problem(disable(api.platform(), hook_id), 403, "wrong-role")


def test_without_the_brokers_time_nothing_is_skipped(api: Api) -> None:
    """Where the broker's time cannot be read, `skip` is 503 and the hook stays disabled; `resume` needs no broker."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)
    disable(caller, hook_id)
    api.broker_clock.ms = None
    answer = enable(caller, hook_id, "skip")
    assert_problem(answer, 503, "broker-clock-unavailable")
    assert answer.headers["retry-after"] == "1"
    assert (stored_row(api).state, stored_row(api).revision) == ("disabled", 2)
    assert hook_in(enable(caller, hook_id))["state"] == "enabled"


@pytest.mark.parametrize("body", [{}, {"backlog": None}, {"backlog": "forget"}, {"backlog": "skip", "hook": 1}, None])
def test_enable_wants_a_choice(on_sqlite: Api, body: object) -> None:
    """What becomes of the backlog has to be said: there is no default, and nothing is enabled without it."""
    caller = on_sqlite.integrator(CLIENT)
    hook_id = created(caller)
    disable(caller, hook_id)
    assert_problem(caller("POST", f"/hooks/{hook_id}/enable", body), 422, "invalid-request")
    assert stored_row(on_sqlite).state == "disabled"
