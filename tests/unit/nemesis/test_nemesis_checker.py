"""The checker finds each kind of violation in a forged history, and none in a history that is right."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nemesis.checker import check
from tests.nemesis.history import (
    Answered,
    Commit,
    DeadLettered,
    Ended,
    Entry,
    HistoryFile,
    Request,
    Stalled,
    State,
    Unknown,
    read_history,
)
from tests.support.forged_history import SECRETS, Forged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def kinds(forged: Forged | list[Entry]) -> list[str]:
    history = forged.history() if isinstance(forged, Forged) else forged
    return sorted(check(history).by_kind)


def two_events() -> tuple[Forged, Any, Any, Any]:
    forged = Forged()
    hook = forged.hook()
    return forged, hook, forged.event(hook, 1.0), forged.event(hook, 2.0)


def test_a_history_that_is_right() -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, first, 1.1)
    forged.arrives(hook, second, 2.1, status=500)
    forged.arrives(hook, second, 3.2)
    verdict = check(forged.history())
    assert verdict.violations == []
    assert (verdict.events, verdict.deliveries, verdict.requests, verdict.duplicates) == (2, 2, 3, 0)
    assert verdict.lines()[-1] == "no violation"


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, first, 1.1)
    forged.fault(3.0, 4.0)
    forged.action("pause", "1-e", 5.0)
    forged.entries += [
        Unknown(6.0, second.delivery, "no answer"),
        Commit(6.0, "g", "deliveries", 0, 3),
        DeadLettered(6.0, "msg", "skipped"),
        State(6.0, "msg", "owed"),
        Ended(6.0, "router-1", 1, "an error"),
        Stalled(6.0, 2.0),
    ]
    history = forged.history()
    file = HistoryFile(tmp_path / "history.jsonl.gz")
    for entry in history:
        file.add(entry)
    file.close()
    assert list(read_history(file.path)) == history
    file.path.write_bytes(file.path.read_bytes()[:-20])
    cut_off = list(read_history(file.path))
    assert cut_off == history[: len(cut_off)]


def test_lost() -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, first, 1.1)
    forged.arrives(hook, second, 2.1, status=500)
    assert kinds(forged) == ["lost"]
    assert kinds(forged.history()[:-1]) == [], "a run that did not come to its end lost nothing yet"
    shown = [*forged.history()[:-1], State(9.0, second.delivery, "owed"), forged.history()[-1]]
    assert kinds(shown) == [], "it is shown as pending"
    assert check(shown).pending == 1


def test_an_event_that_was_not_acknowledged_may_be_lost_and_may_arrive() -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, first, 1.1)
    history = [
        Unknown(entry.t, second.delivery, "time-out")
        if type(entry).__name__ == "Acknowledged" and entry.delivery == second.delivery  # type: ignore[union-attr]
        else entry
        for entry in forged.history()
    ]
    assert kinds(history) == []
    forged.arrives(hook, second, 2.1)
    assert kinds(forged) == []


def test_dead_letters_need_a_reason_that_the_history_shows() -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, first, 1.1, status=422, refused=True)
    forged.entries += [DeadLettered(8.0, first.delivery, "refused"), DeadLettered(8.0, second.delivery, "skipped")]
    assert kinds(forged) == ["dead-lettered"], "no operator skipped it"
    forged.action("skip", second.delivery, 3.0, ok=False)
    assert kinds(forged) == [], "asked for, whatever was answered"
    forged.entries.append(DeadLettered(8.0, "", "undecodable"))
    assert kinds(forged) == ["dead-lettered"]


def test_a_replay_that_says_that_it_sent_more_than_arrived() -> None:
    forged, hook, first, second = two_events()
    for asked in (first, second):
        forged.arrives(hook, asked, asked.t + 0.1)
    forged.action("replay", "1", 3.0, value="job")
    forged.arrives(hook, first, 4.0, replay="job")
    forged.action("replayed", "1", 5.0, value="job 1")
    assert kinds(forged) == []
    forged.action("replayed", "1", 5.0, value="job 2")
    assert kinds(forged) == ["lost"]


def test_out_of_order() -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, first, 1.1, status=503)
    forged.arrives(hook, second, 2.1)
    forged.arrives(hook, first, 3.1)
    assert kinds(forged) == ["out of order"]


def test_an_attempt_before_its_turn_is_out_of_order_although_it_fails() -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, second, 2.1, status=503)
    forged.arrives(hook, first, 3.1)
    forged.arrives(hook, second, 4.1)
    assert kinds(forged) == ["out of order"]


def test_resources_overtake_each_other() -> None:
    forged = Forged()
    hook = forged.hook()
    first, second = forged.event(hook, 1.0, concept=1), forged.event(hook, 2.0, concept=2)
    forged.arrives(hook, second, 2.1)
    forged.arrives(hook, first, 3.1)
    assert kinds(forged) == []


@pytest.mark.parametrize("replayed", [0, 1], ids=["itself", "an earlier one"])
def test_a_replay_overtakes(replayed: int) -> None:
    forged, hook, *events = two_events()
    forged.arrives(hook, events[replayed], 2.5, replay="job")
    forged.arrives(hook, events[0], 3.0)
    forged.arrives(hook, events[1], 4.0)
    assert kinds(forged) == ["replay overtook"]


def test_a_dead_letter_that_is_resent_overtakes_nothing() -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, first, 1.1, status=422, refused=True)
    forged.arrives(hook, second, 2.1)
    forged.arrives(hook, first, 3.1, replay="resend-1")
    forged.entries.append(DeadLettered(8.0, first.delivery, "refused"))
    assert kinds(forged) == []


def test_a_run_without_an_end_has_not_read_its_dead_letters() -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, first, 1.1, status=422, refused=True)
    forged.arrives(hook, second, 2.1)
    assert kinds(forged.history()[:-1]) == []
    assert kinds(forged) == ["lost", "out of order"]


@pytest.mark.parametrize(("begins", "ends", "on"), [("pause", "resume", "1-e"), ("disable", "enable", "1")])
def test_a_pause_is_not_obeyed(begins: str, ends: str, on: str) -> None:
    def paused(at: float, *, until: float = 60.0, fault: tuple[float, float] | None = None) -> Forged:
        forged = Forged()
        hook = forged.hook()
        asked = forged.event(hook, 1.0)
        forged.action(begins, on, 10.0)
        forged.action(ends, on, until)
        if fault is not None:
            forged.fault(*fault)
        forged.arrives(hook, asked, at)
        return forged

    assert kinds(paused(30.0)) == ["pause ignored"]
    assert kinds(paused(19.0)) == [], "within the bound"
    assert kinds(paused(61.0)) == [], "afterwards"
    assert kinds(paused(30.0, until=29.0)) == []
    assert kinds(paused(30.0, fault=(12.0, 21.0))) == [], "ten quiet seconds had not passed"
    assert kinds(paused(32.0, fault=(12.0, 21.0))) == ["pause ignored"]
    assert kinds(paused(30.0, fault=(25.0, 50.0))) == ["pause ignored"], "it was followed before the fault began"


def test_a_rate_is_broken() -> None:
    def limited(count: int, *, change_at: float | None = None, fault: bool = False) -> Forged:
        forged = Forged()
        hook = forged.hook(rate=2.0)
        for number in range(count):
            asked = forged.event(hook, 1.0, concept=number)
            forged.arrives(hook, asked, 100.0 + number * 9.0 / count)
        if change_at is not None:
            forged.action("rate", "1", change_at, value="10.0")
        if fault:
            forged.fault(95.0, 101.0)
        return forged

    assert kinds(limited(25)) == []
    assert kinds(limited(26)) == ["too fast"]
    assert kinds(limited(26, fault=True)) == [], "the next owner begins with a full bucket"
    assert kinds(limited(60, fault=True)) == ["too fast"], "but not with any number of them"
    assert kinds(limited(60, change_at=50.0)) == []
    slower = limited(60, change_at=50.0)
    slower.action("rate", "1", 80.0, value="2.0")
    assert kinds(slower) == ["too fast"]


def test_a_duplicate_that_nothing_explains() -> None:
    forged, hook, first, second = two_events()
    for asked in (first, second):
        forged.arrives(hook, asked, asked.t + 0.1)
    forged.arrives(hook, second, 30.0)
    assert kinds(forged) == ["duplicate"]
    forged.fault(10.0, 12.0, on="attempt-log-1")
    assert kinds(forged) == ["duplicate"], "that part sends nothing"
    forged.fault(10.0, 12.0, on="deliver-1")
    verdict = check(forged.history())
    assert verdict.violations == []
    assert (verdict.duplicates, verdict.explained_by) == (1, {"kill deliver-1": 1})


def test_a_duplicate_of_a_replay_is_explained_since_the_replay() -> None:
    forged, hook, first, _ = two_events()
    forged.arrives(hook, first, 1.1)
    forged.arrives(hook, forged.event(hook, 3.0), 3.1)
    history = Forged(entries=forged.entries, numbers=forged.numbers, requests=forged.requests)
    history.entries = [entry for entry in history.entries if getattr(entry, "delivery", "") != "msg_1_1_2"]
    history.fault(40.0, 41.0, on="deliver-1")
    history.action("replay", "1", 100.0, value="job")
    history.arrives(hook, first, 110.0, replay="job")
    assert kinds(history) == []
    history.arrives(hook, first, 111.0, replay="job")
    assert kinds(history) == ["duplicate"]
    history.fault(105.0, 106.0, on="replayer-1")
    assert kinds(history) == []


def test_two_at_once() -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, first, 1.1, takes=3.0)
    forged.arrives(hook, second, 2.1)
    assert kinds(forged) == ["two at once"]
    forged.fault(1.5, 1.6)
    assert kinds(forged) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda request: replace(request, signatures=request.signatures.swapcase()),
        lambda request: replace(request, signatures=""),
        lambda request: replace(request, signatures=f"{request.signatures} v1,AAAA"),
        lambda request: replace(request, signed_at_s=request.signed_at_s - 1),
    ],
)
def test_wrongly_signed(change: Callable[[Request], Request]) -> None:
    forged, hook, first, second = two_events()
    for asked in (first, second):
        forged.arrives(hook, asked, asked.t + 0.1)
    at = next(number for number, entry in enumerate(forged.entries) if isinstance(entry, Request))
    forged.entries[at] = change(forged.entries[at])  # type: ignore[arg-type]
    assert kinds(forged) == ["wrongly signed"]


def test_a_signature_that_is_too_old() -> None:
    def late(*, clock: bool) -> Forged:
        forged = Forged()
        hook = forged.hook()
        asked = forged.event(hook, 1.0)
        request = forged.arrives(hook, asked, 2.0)
        at = forged.entries.index(request)
        forged.entries[at] = replace(request, t=400.0)
        forged.entries[at + 1] = Answered(401.0, 1, 204)
        if clock:
            forged.fault(390.0, 410.0, "clock-", "deliver-2")
        return forged

    assert kinds(late(clock=False)) == ["wrongly signed"]
    assert kinds(late(clock=True)) == []


def test_after_a_rotation_the_new_secret_signs() -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, first, 1.1)
    forged.action("rotate", "1", 3.0, value=SECRETS[1])
    forged.arrives(hook, second, 20.0, secrets=(SECRETS[1], SECRETS[0]))
    assert kinds(forged) == []
    third = forged.event(hook, 21.0)
    forged.arrives(hook, third, 22.0)
    assert kinds(forged) == ["wrongly signed"]


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/2"},
        {"hook": 2},
        {"delivery": "msg_of_no_event"},
        {"sequence": "events.lead:1:7"},
        {"hook": 3},
    ],
)
def test_misdirected(change: dict[str, Any]) -> None:
    forged, hook, first, second = two_events()
    forged.hook(2)
    for asked in (first, second):
        forged.arrives(hook, asked, asked.t + 0.1)
    wrong = forged.arrives(hook, second, 2.2)
    forged.entries[forged.entries.index(wrong)] = replace(wrong, **change)
    forged.fault(2.0, 2.1)
    assert "misdirected" in kinds(forged)


def test_another_body() -> None:
    forged, hook, first, second = two_events()
    forged.arrives(hook, first, 1.1)
    forged.arrives(hook, replace(second, concept=7), 2.1)
    assert kinds(forged) == ["misdirected"]


def test_a_ping_belongs_to_no_event() -> None:
    forged = Forged()
    hook = forged.hook()
    forged.arrives(hook, replace(forged.event(hook, 1.0), delivery="msg_ping"), 2.0, replay="ping-1")
    forged.entries = [entry for entry in forged.entries if type(entry).__name__ not in ("Asked", "Acknowledged")]
    assert kinds(forged) == []


def test_a_commit_that_went_back() -> None:
    def committed(group: str, *offsets: int) -> Forged:
        forged = Forged()
        forged.entries += [Commit(at + 1.0, group, "events.lead", 0, offset) for at, offset in enumerate(offsets)]
        return forged

    assert kinds(committed("hookstream.router", 5, 9, 9)) == []
    backwards = committed("hookstream.router", 5, 9, 8)
    assert kinds(backwards) == ["commit went back"]
    backwards.fault(2.5, 2.6, "topic", "topic-events.lead")
    assert kinds(backwards) == []
    assert kinds(committed("hookstream.deliver", 20_000, 10_000)) == [], "cursors that rejoin"
    assert kinds(committed("hookstream.deliver", 20_001, 10_000)) == ["commit went back"]


def test_a_role_that_ended() -> None:
    forged = Forged()
    forged.entries.append(Ended(1.0, "router-1", 1, "an error"))
    assert kinds(forged) == ["role ended"]


def test_a_role_that_starts_without_a_topic_says_so_and_ends() -> None:
    forged = Forged()
    forged.entries.append(Ended(5.0, "api-1", 1, "topic attempts does not exist: run `hookstream topics create`"))
    assert kinds(forged) == ["role ended"]
    forged.fault(4.0, 6.0, "topic", "topic-attempts")
    assert kinds(forged) == []


def test_a_stall_of_the_harness_is_a_disturbance() -> None:
    forged, hook, first, second = two_events()
    for asked in (first, second):
        forged.arrives(hook, asked, asked.t + 0.1)
    forged.arrives(hook, second, 9.0)
    forged.entries.append(Stalled(8.0, 6.0))
    assert kinds(forged) == []


# -- histories at random ---------------------------------------------------------------------------------------------

RESOURCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=4)


def right(resources: list[list[int]]) -> Forged:
    """Deliveries of each resource in turn, each after so many failures; the first hook is paused at the end."""
    forged = Forged()
    hooks = [forged.hook(1), forged.hook(2)]
    forged.fault(0.1, 0.2, on="api-1")
    end = 0.0
    for concept, failures in enumerate(resources):
        hook, now = hooks[concept % 2], 1.0
        for failed in failures:
            asked = forged.event(hook, now, concept=concept)
            for _ in range(failed):
                now += 1.0
                forged.arrives(hook, asked, now, status=500)
            now += 1.0
            forged.arrives(hook, asked, now)
        end = max(end, now)
    forged.action("pause", "1-e", end + 1)
    return forged


def without_the_success(forged: Forged, pick: int) -> str:
    """Answer 500 instead of the only 2xx of a delivery."""
    answers = [at for at, entry in enumerate(forged.entries) if isinstance(entry, Answered) and entry.status == 204]
    at = answers[pick % len(answers)]
    answered = forged.entries[at]
    assert isinstance(answered, Answered)
    forged.entries[at] = replace(answered, status=500)
    return "lost"


def once_more(forged: Forged, pick: int) -> str:
    """Repeat a request that was answered 2xx, much later."""
    accepted = {entry.request for entry in forged.entries if isinstance(entry, Answered) and entry.status == 204}
    requests = [entry for entry in forged.entries if isinstance(entry, Request) and entry.request in accepted]
    again = replace(requests[pick % len(requests)], request=10_000, t=300.0, signed_at_s=requests[0].signed_at_s)
    forged.entries += [again, Answered(300.1, 10_000, 204)]
    return "duplicate"


def sent_to_the_paused(forged: Forged, pick: int) -> str:
    """One more delivery of the first hook, long after its pause."""
    hook = next(entry for entry in forged.entries if type(entry).__name__ == "HookMade")
    forged.arrives(hook, forged.event(hook, 200.0, concept=50 + pick % 7), 250.0)  # type: ignore[arg-type]
    return "pause ignored"


def wrong_hand(forged: Forged, pick: int) -> str:
    """Change one byte of a body."""
    requests = [at for at, entry in enumerate(forged.entries) if isinstance(entry, Request)]
    at = requests[pick % len(requests)]
    request = forged.entries[at]
    assert isinstance(request, Request)
    forged.entries[at] = replace(request, body=request.body.replace("lead", "Lead", 1))
    return "wrongly signed"


def too_early(forged: Forged, pick: int) -> str:
    """Add a resource whose second delivery comes first."""
    hook = next(entry for entry in forged.entries if type(entry).__name__ == "HookMade" and entry.hook == 2)  # type: ignore[union-attr]
    first, second = (forged.event(hook, 1.0, concept=60 + pick % 9) for _ in range(2))  # type: ignore[arg-type]
    forged.arrives(hook, second, 2.0)  # type: ignore[arg-type]
    forged.arrives(hook, first, 3.0)  # type: ignore[arg-type]
    return "out of order"


def replayed_early(forged: Forged, pick: int) -> str:
    """Add a delivery that comes as a replay before it came live."""
    hook = next(entry for entry in forged.entries if type(entry).__name__ == "HookMade" and entry.hook == 2)  # type: ignore[union-attr]
    asked = forged.event(hook, 1.0, concept=70 + pick % 9)  # type: ignore[arg-type]
    forged.arrives(hook, asked, 2.0, replay="job")  # type: ignore[arg-type]
    forged.arrives(hook, asked, 3.0)  # type: ignore[arg-type]
    return "replay overtook"


BREAKS = (without_the_success, once_more, sent_to_the_paused, wrong_hand, too_early, replayed_early)


@settings(max_examples=60)
@given(RESOURCES)
def test_histories_that_are_right_are_clean(resources: list[list[int]]) -> None:
    assert check(right(resources).history()).violations == []


@settings(max_examples=120)
@given(RESOURCES, st.sampled_from(BREAKS), st.integers(0, 1000))
def test_one_break_is_found_as_what_it_is(
    resources: list[list[int]], break_one: Callable[[Forged, int], str], pick: int
) -> None:
    forged = right(resources)
    expected = break_one(forged, pick)
    assert expected in check(forged.history()).by_kind
