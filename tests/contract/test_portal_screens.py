"""What each screen of the portal shows and does: to whom, and with what others have sent in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.delivery import DeadLetterReason, DeliveryId
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.attempt_log import LoggedAttempt, write_attempts
from hookstream.subscriptions.backlogs import Backlogs, HookBacklog, SeenHealth
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.dead_letters import DeadLetterPlace, FoundDeadLetter
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.portal.navigation import OPERATORS
from hookstream.subscriptions.portal.screens import SCREENS
from hookstream.subscriptions.replays import (
    Lease,
    ReplayCount,
    ReplayId,
    ReplayProgress,
    ReplayWork,
    Stretch,
    Window,
)
from tests.support import values
from tests.support.portal import Browser, Page, signed_in
from tests.support.subscriptions_api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

MINE, OTHER = 434, 435
TARGET = "https://mine.example/hook"
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"
CLIENT = ClientId(str(MINE))
ENDPOINT = endpoint_id(CLIENT, target_digest(TARGET))
DELIVERY = values.ATTEMPT.delivery_id
# Where each screen is for a thing of this client's. A new screen needs its place here.
PLACES = {
    "/endpoints": "/endpoints",
    "/endpoints/{endpoint}": f"/endpoints/{ENDPOINT}",
    **{
        f"/endpoints/{{endpoint}}/{action}": f"/endpoints/{ENDPOINT}/{action}"
        for action in ("pause", "resume", "retry-now", "drain", "skip")
    },
    "/replays": "/replays",
    "/replays/new": "/replays/new",
    "/replays/{replay}": "/replays/1",
    **{f"/replays/{{replay}}/{action}": f"/replays/1/{action}" for action in ("progress", "start", "pause", "cancel")},
    "/dead-letters": "/dead-letters",
    "/dead-letters/resend": "/dead-letters/resend",
    "/dead-letters/{dead_letter}": "/dead-letters/0-0",
    "/audit": "/audit",
    "/hooks": "/hooks",
    "/hooks/new": "/hooks/new",
    "/hooks/{hook}": "/hooks/1",
    **{
        f"/hooks/{{hook}}/{action}": f"/hooks/1/{action}"
        for action in ("test", "target", "enable", "disable", "secret", "delete", "attempts")
    },
    "/deliveries": "/deliveries",
    "/deliveries/{delivery}": f"/deliveries/{DELIVERY}",
    "/deliveries/{delivery}/resend": f"/deliveries/{DELIVERY}/resend",
    "/deliveries/{delivery}/attempts/{started}": f"/deliveries/{DELIVERY}/attempts/1",
    "/events": "/events",
    "/events/{event}": "/events/lead.new",
    "/guide": "/guide",
    "/guide/verify": "/guide/verify",
    "/guide/answers": "/guide/answers",
}
# The catalogue is everyone's.
OF_ONE_THING = [screen for screen in SCREENS if "{" in screen.path.replace("{event}", "")]


@pytest.fixture
def api(sqlite_url: str) -> Iterator[Api]:
    """An API where this client has one of everything, with hostile texts wherever others write some."""
    made = Api(sqlite_url)
    hook = HookId(made.integrator(MINE).create(target=TARGET).json()["hook"]["id"])
    made.integrator(OTHER).create(target="https://other.example/hook")
    attempts = [
        replace(
            values.ATTEMPT,
            hook_id=hook,
            client=CLIENT,
            started_at_ms=made.clock() - number * 60_000,
            number=number,
            result=AttemptResult.DELIVERED if number == 3 else AttemptResult.ERROR_STATUS,
            status=200 if number == 3 else 503,
            answer=EVIL.encode(),
        )
        for number in (1, 2, 3)
    ]
    log = [LoggedAttempt(each, each.started_at_ms) for each in attempts]
    transact(made.sessions, lambda session: write_attempts(session, log, ()))
    made.backlogs.backlogs = Backlogs(
        hooks={hook: HookBacklog(client=CLIENT, event="lead.new", pending=17, oldest_ms=made.clock() - 90_000)},
        health={(CLIENT, target_digest(TARGET)): SeenHealth(quarantined=True, probe_at_ms=made.clock() + 4_000)},
        unknown=(EVIL,),
    )
    dead_letter = replace(
        values.DEAD_LETTER,
        reason=DeadLetterReason.SCHEDULE,
        client=CLIENT,
        hook_id=hook,
        detail=EVIL,
        last_answer=EVIL.encode(),
    )
    delivery = replace(values.DELIVERY, id=DeliveryId("msg_" + "0" * 32), client=CLIENT)
    made.dead_letters.dead_letters = [
        FoundDeadLetter(DeadLetterPlace(0, 0), dead_letter, made.clock(), delivery),
        FoundDeadLetter(DeadLetterPlace(0, 1), dead_letter, made.clock(), None, unfit=EVIL),
    ]
    asked = {"replay": {"from_ms": made.clock() - 3_600_000}}
    assert made.integrator(MINE)("POST", "/replays", asked).status_code == 201
    yield made
    made.close()


@pytest.fixture
def operator(api: Api) -> Browser:
    """An operator who is signed in."""
    return signed_in(api, api.token(Role.OPERATOR))


def count_replay(api: Api) -> None:
    """Do what a replayer does first."""

    def work(session: Any) -> None:
        replays = ReplayWork(session, Lease(owner="replayer", lasts_ms=30_000), api.clock())
        assert replays.claim() is not None
        replays.fix_window(
            ReplayId(1),
            Window(stretches=[Stretch(topic="events.lead", partition=0, start=0, end=90)], left_from_ms=None),
        )
        counted = ReplayCount(deliveries=83, hooks={HookId(1): 80, HookId(99): 3}, hook_count=2, estimate_s=0.8)
        replays.counted(ReplayId(1), ReplayProgress(scanned=90), counted)

    transact(api.sessions, work)


def send(browser: Browser, path: str, **fields: str) -> Any:
    """Send a form of a page of the browser's own."""
    own = browser.page("/endpoints").form("/portal/sign-out").fields
    return browser.http.post(f"/portal{path}", data={**own, **fields})


def test_every_screen_has_its_place_in_these_tests() -> None:
    """No screen is added without being visited below."""
    assert {screen.path for screen in SCREENS} == set(PLACES)


def test_another_clients_thing_is_not_there(api: Api) -> None:
    """Whatever names one thing of another client is 404, to look at and to change, as if there were none."""
    other = signed_in(api, api.token(Role.INTEGRATOR, OTHER))
    for screen in OF_ONE_THING:
        path = PLACES[screen.path]
        fields = {"reason": "x", "delivery": "msg_1", "id": "0-0", "target": TARGET, "backlog": "skip"}
        answer = other.get(path) if screen.method == "GET" else send(other, path, **fields)
        assert answer.status_code == 404, f"{screen.method} {path}"
        assert "mine.example" not in answer.text


def test_lists_show_an_integrator_their_clients_own(api: Api) -> None:
    """Lists show another client nothing of this one's, and a resend of its dead letters finds none."""
    other = signed_in(api, api.token(Role.INTEGRATOR, OTHER))
    for path in ("/endpoints", "/replays", "/dead-letters"):
        text = other.page(path).text
        assert "mine.example" not in text
        assert "replay-1" not in text
        assert "0-0" not in text
        assert other.get(f"{path}?client={MINE}").status_code == 403
    assert "there is no such dead letter" in send(other, "/dead-letters/resend", id="0-0").text
    assert api.dead_letters.resent == {}


def test_screens_of_operators_are_not_there_for_others(api: Api) -> None:
    """An integrator does not pause, drain or skip; their own endpoint shows them no form for that."""
    mine = signed_in(api, api.token(Role.INTEGRATOR, MINE))
    for screen in SCREENS:
        if screen.roles == OPERATORS:
            path = PLACES[screen.path]
            answer = mine.get(path) if screen.method == "GET" else send(mine, path, reason="x", delivery="msg_1")
            assert answer.status_code == 404, path
    page = mine.page(f"/endpoints/{ENDPOINT}")
    assert [form.action for form in page.forms] == ["/portal/sign-out"]


def test_every_page_shows_what_others_sent_as_text(api: Api, operator: Browser) -> None:
    """Answers, reasons, details and troubles with markup in them add no element and no attribute to any page."""
    send(operator, f"/endpoints/{ENDPOINT}/pause", reason=EVIL)
    send(operator, f"/endpoints/{ENDPOINT}/skip", reason=EVIL, delivery="msg_<b>")
    count_replay(api)
    paths = [place for screen in SCREENS if screen.method == "GET" for place in [PLACES[screen.path]]]
    paths += [f"{path}?{name}={EVIL}" for path in paths for name in ("client", "done")]
    shown = 0
    for path in paths:
        if path.startswith("/replays/1/progress"):
            continue
        answer = operator.get(path)
        page = Page(answer.text)
        assert page.tags.count("script") == (answer.status_code != 303), path
        assert "img" not in page.tags, path
        assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"], path
        assert "49" not in page.text.partition("{{")[2][:2]
        shown += "alert(1)" in page.text
    assert shown > 12


def test_every_search_of_a_page_can_be_sent_with_what_the_page_put_into_it(operator: Browser) -> None:
    """While nothing is typed a list is filtered by nothing, and no hidden field makes the API refuse it."""
    for screen in SCREENS:
        opened = operator.get(PLACES[screen.path]) if screen.method == "GET" else None
        for form in Page(opened.text).forms if opened is not None and opened.status_code == 200 else ():
            if form.method == "get":
                answer = operator.http.get(form.action, params=form.fields)
                assert answer.status_code in (200, 303), f"{screen.path}: {form} answers {answer.status_code}"


def test_endpoints_come_worst_first_with_what_is_wrong_and_totals(operator: Browser) -> None:
    """State, backlog, age, cause, next try; the totals of all; and the two commands that do the same."""
    page = operator.page("/endpoints")
    for text in ("quarantined", "17", "1 min 30 s ago", "503", "in 4 s", "Endpoints 2", "Quarantined 1"):
        assert text in page.text
    assert page.text.index("mine.example") < page.text.index("other.example")
    assert "hookstream lag" in page.text
    assert 'curl -H "Authorization: Bearer $HOOKSTREAM_API_TOKEN"' in page.text
    filtered = operator.page("/endpoints?state=healthy")
    assert "mine.example" not in filtered.text
    assert "hookstream lag --state healthy" in filtered.text
    assert "No endpoint fits" in operator.page("/endpoints?state=paused").text


def test_an_endpoint_is_shown_with_its_attempts_and_steered_with_a_reason(api: Api, operator: Browser) -> None:
    """A timeline, the last errors; pause, resume, retry now, skip and drain write the reason that was given."""
    page = operator.page(f"/endpoints/{ENDPOINT}")
    assert "1 delivered" in page.text
    assert "2 failed" in page.text
    assert "svg" in page.tags
    for action, says in (("pause", "It is paused"), ("resume", "served again"), ("retry-now", "is tried now")):
        done = send(operator, f"/endpoints/{ENDPOINT}/{action}", reason=f"ticket {action}")
        assert done.headers["location"] == f"/portal/endpoints/{ENDPOINT}?done={action}"
        page = operator.page(f"/endpoints/{ENDPOINT}?done={action}")
        assert says in page.text
        assert f"ticket {action}" in page.text
    assert send(operator, f"/endpoints/{ENDPOINT}/skip", reason="r", delivery="msg_7").status_code == 303
    assert "msg_7" in operator.page(f"/endpoints/{ENDPOINT}").text
    plan = operator.page(f"/endpoints/{ENDPOINT}/drain").text
    assert "lead.new" in plan
    assert "Drain 17 deliveries" in plan
    assert send(operator, f"/endpoints/{ENDPOINT}/drain", reason="hopeless").status_code == 303
    settings = api.operator()("GET", f"/endpoints/{ENDPOINT}/settings").json()["settings"]
    assert settings["reason"] == "hopeless"
    assert settings["skip_before_ms"] == api.broker_clock.now_ms()


def test_a_form_that_is_refused_comes_back_with_the_reason(operator: Browser) -> None:
    """What the API says about a field stands above the form, and what was typed stays in it."""
    for action in ("pause", "skip", "drain"):
        answer = send(operator, f"/endpoints/{ENDPOINT}/{action}", reason="a\x07b", delivery="msg_7")
        assert answer.status_code == 422
        page = Page(answer.text)
        assert "#/reason" in page.text
        assert any(value == "a\x07b" for name, value in page.attributes if name == "value")


def test_a_replay_is_counted_looked_at_started_paused_and_cancelled(api: Api, operator: Browser) -> None:
    """Form, count by client, event and target, start, pause, cancel; a wrong form comes back with what is wrong."""
    wrong = send(operator, "/replays", **{"from": "yesterday", "client": "434"})
    assert wrong.status_code == 422
    assert "is no time" in wrong.text
    refused = send(operator, "/replays", **{"from": "2023-11-14T21:00", "hook_id": "x", "rate_per_second": "fast"})
    assert refused.status_code == 422
    assert "#/replay/hook_id" in refused.text
    fields = {
        "from": "2023-11-14T21:00",
        "to": "2023-11-14T22:00",
        "client": "434",
        "only": "failed",
        "source": "events",
    }
    made = send(operator, "/replays", **fields)
    assert made.headers["location"] == "/portal/replays/2"
    shown = api.operator()("GET", "/replays/2").json()["replay"]
    assert (shown["from_ms"], shown["to_ms"]) == (1_699_995_600_000, 1_699_999_200_000)
    assert (shown["client"], shown["only"]) == (434, "failed")

    page = operator.page("/replays/1")
    assert ("http-equiv", "refresh") in page.attributes, "without JavaScript the page is loaded again"
    count_replay(api)
    page = operator.page("/replays/1")
    for text in ("planned", "83 deliveries", "lead.new", TARGET, "the hook is gone", "Start: send 83 deliveries"):
        assert text in page.text
    for action, state in (("start", "running"), ("pause", "paused"), ("start", "running"), ("cancel", "cancelled")):
        assert send(operator, f"/replays/1/{action}").headers["location"] == f"/portal/replays/1?done={action}"
        assert api.operator()("GET", "/replays/1").json()["replay"]["state"] == state
    late = send(operator, "/replays/1/start")
    assert late.status_code == 409
    assert "Replay state" in late.text


def test_progress_is_streamed_until_the_state_changes(api: Api, operator: Browser) -> None:
    """A page that follows a replay gets its progress as fragments, and is told to load anew when the state changes."""
    count_replay(api)
    ended = operator.get("/replays/1/progress?seen=counting")
    assert ended.headers["content-type"].startswith("text/event-stream")
    assert "event: end" in ended.text
    assert "event: fragment" not in ended.text


def test_dead_letters_are_sent_again_after_a_look(api: Api, operator: Browser) -> None:
    """By reason; a dry run by client, event and hook; what cannot be sent is named; then they are sent."""
    assert "0-0" in operator.page("/dead-letters?reason=schedule").text
    assert "No dead letter fits" in operator.page("/dead-letters?reason=expired").text
    plan = operator.page("/dead-letters/resend")
    assert "Send 1 again" in plan.text
    assert "0-1" in plan.text.partition("Left out")[2]
    form = plan.form("/portal/dead-letters/resend")
    assert form.fields["id"] == "0-0"
    sent = operator.submit("/dead-letters/resend", form)
    assert sent.status_code == 200
    (job,) = api.dead_letters.resent
    assert job in sent.text
    assert "Nothing to send" in operator.page("/dead-letters/resend?id=0-1").text
    again = send(operator, "/dead-letters/resend", id="0-1")
    assert again.status_code == 422
    assert "Nothing to resend" in again.text
    assert "Send it again" in operator.page("/dead-letters/0-0").text


def test_the_audit_says_who_did_what_to_those_whom_it_concerns(api: Api, operator: Browser) -> None:
    """An operator finds what was done, by action; another client's integrator finds nothing of it."""
    send(operator, f"/endpoints/{ENDPOINT}/pause", reason="ticket 17")
    page = operator.page("/audit")
    for text in ("endpoint.pause", "ticket 17", "hook.create"):
        assert text in page.text
    assert "hook.create" not in operator.page("/audit?action=endpoint.pause").text
    assert "No entry fits" in operator.page("/audit?action=nothing").text
    assert "ticket 17" not in signed_in(api, api.token(Role.INTEGRATOR, OTHER)).page("/audit").text


def test_the_trend_counts_attempts_in_steps(api: Api, operator: Browser) -> None:
    """The last three hours in steps of five minutes: each attempt in its own, sampled where there are many."""
    trend = api.operator()("GET", "/endpoints?totals=true").json()["totals"]["trend"]
    found = {step["at_ms"]: (step["delivered"], step["failed"]) for step in trend if step["delivered"] + step["failed"]}
    step_ms = 300_000
    expected: dict[int, tuple[int, int]] = {}
    for number in (1, 2, 3):
        at_ms = (api.clock() - number * 60_000) // step_ms * step_ms
        delivered, failed = expected.get(at_ms, (0, 0))
        expected[at_ms] = (delivered + (number == 3), failed + (number != 3))
    assert found == expected
    assert (len(trend), trend[-1]["at_ms"]) == (36, api.clock() // step_ms * step_ms)
    assert "1 delivered" in operator.page("/endpoints").text
    assert api.integrator(MINE)("GET", "/endpoints?totals=true").json()["totals"]["trend"] is None


def test_what_the_api_refuses_is_a_page_with_its_sentence(api: Api, operator: Browser) -> None:
    """Kafka that does not answer, a thing that is not there, a cursor that was made up: the page says which."""
    api.backlogs.trouble = "Kafka does not answer"
    api.dead_letters.away = True
    for path, status in (
        ("/endpoints", 503),
        (f"/endpoints/{ENDPOINT}", 503),
        ("/dead-letters", 503),
        ("/dead-letters/0-0", 503),
        ("/replays/999", 404),
        ("/replays/x", 422),
        ("/replays?cursor=x", 422),
        ("/endpoints?cursor=x", 422),
        ("/endpoints/x", 404),
        ("/dead-letters/x", 422),
    ):
        answer = operator.get(path)
        assert answer.status_code == status, path
        page = Page(answer.text)
        assert str(status) in page.text
        assert "Sign out" in page.text
        assert ("Try again" in page.text) is (status == 503)


@pytest.mark.parametrize("digits", [25, 5000])
def test_numbers_of_any_size_are_no_error_of_ours(operator: Browser, digits: int) -> None:
    """What no number of the API can be is refused with a sentence, or left out: the page is never a 500."""
    number = "9" * digits
    assert operator.get(f"/replays/new?hours={number}").status_code == 200
    answer = send(operator, "/replays", **{"hook_id": number, "from": "2026-11-20T10:00"})
    assert answer.status_code == 422
