"""What integrators see and do in the portal, and that none of it is another client's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.attempt_log import LoggedAttempt, write_attempts
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.deliveries import FoundDelivery
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.portal.screens import SCREENS
from tests.support.portal import Page, signed_in
from tests.support.subscriptions_api import TARGET, Api
from tests.support.values import ATTEMPT, DELIVERY, DELIVERY_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT, OTHER = 434, 435
STARTED_MS = 1_795_463_750_999
SCRIPT = "<script>alert(1)</script>"


class Seen:
    """An API with a hook that was sent something, and the browser of its client."""

    def __init__(self, database_url: str) -> None:
        self.api = Api(database_url)
        self.hook_id, self.secret = self.add("lead.new")
        self.log()
        self.browser = signed_in(self.api, self.api.token(Role.INTEGRATOR, CLIENT))

    def add(self, event: str, client: int = CLIENT) -> tuple[HookId, str]:
        """Register a hook through the API; its id and secret."""
        hook = self.api.integrator(client).create(event).json()["hook"]
        return HookId(hook["id"]), hook["secret"]

    def log(self, **changes: Any) -> None:
        """Let the hook have a delivery with an attempt."""
        own: dict[str, Any] = {"hook_id": self.hook_id, "client": ClientId(str(CLIENT)), "replay": None}
        delivery = replace(DELIVERY, **own, live_end=0)
        self.api.delivery_log.found[DELIVERY_ID] = FoundDelivery(delivery=delivery)
        attempt = replace(ATTEMPT, **own, started_at_ms=STARTED_MS, answer=SCRIPT.encode())
        logged = LoggedAttempt(replace(attempt, **changes), 0)
        transact(self.api.sessions, lambda session: write_attempts(session, [logged], ()))

    def submit(self, page: str, action: str, **fields: str) -> Any:
        """Use the form of a page that goes to `action`, and open what follows."""
        form = self.browser.page(page).form(f"/portal{action}")
        return self.browser.submit(action, form, **fields)


@pytest.fixture
def seen(sqlite_url: str) -> Iterator[Seen]:
    made = Seen(sqlite_url)
    yield made
    made.api.close()


def test_every_screen_about_one_thing_is_not_there_for_another_client(seen: Seen) -> None:
    """For each route: what names another client's hook, delivery or attempt is answered with 404."""
    places = {"hook": str(seen.hook_id), "delivery": DELIVERY_ID, "started": str(STARTED_MS)}
    own = [screen for screen in SCREENS if any(f"{{{name}}}" in screen.path for name in places)]
    assert len(own) > 10
    other = signed_in(seen.api, seen.api.token(Role.INTEGRATOR, OTHER))
    csrf = other.page("/hooks").form("/portal/sign-out")
    before = seen.api.operator()("GET", f"/hooks/{seen.hook_id}").json()
    for screen in own:
        path = screen.path.format(**places)
        if screen.method == "GET":
            answer = other.get(path)
        else:
            answer = other.submit(path, csrf, target=TARGET + "/other", once="k")
        assert answer.status_code == 404, f"{screen.method} {path}"
    assert seen.api.operator()("GET", f"/hooks/{seen.hook_id}").json() == before
    assert seen.api.delivery_publisher.sent == []


def test_every_page_is_there_for_its_own_client_and_for_operators(seen: Seen) -> None:
    """For each route that shows something: its page is there, is not large, and shows nothing unescaped."""
    places = {"hook": str(seen.hook_id), "delivery": DELIVERY_ID, "started": str(STARTED_MS), "event": "lead.new"}
    operator = signed_in(seen.api, seen.api.token(Role.OPERATOR))
    for browser, role in ((seen.browser, Role.INTEGRATOR), (operator, Role.OPERATOR)):
        for screen in SCREENS:
            if screen.method == "POST" or role not in screen.roles:
                continue
            try:
                path = screen.path.format(**places)
            except KeyError:  # of another part of the portal
                continue
            answer = browser.get(path)
            assert answer.status_code in (200, 303), f"{path}: {answer.status_code}"
            assert SCRIPT not in answer.text
            assert len(answer.content) < 100_000, path


def test_hooks_for_several_events_are_added_with_one_secret_that_is_shown_once(seen: Seen) -> None:
    """The form adds them all; the page has the secret, and its form sent again shows it again and adds nothing."""
    page = seen.browser.page("/hooks/new?event=user.new")
    form = page.form("/portal/hooks/new")
    fields = {**form.fields, "target": "https://new.example/in", "event": ["lead.updated", "user.new"]}
    answers = [seen.browser.http.post("/portal/hooks/new", data=fields) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert "whsec_" in answers[0].text
    assert answers[0].text.partition("whsec_")[2][:40] == answers[1].text.partition("whsec_")[2][:40]
    hooks = seen.api.integrator(CLIENT)("GET", "/hooks").json()["hooks"]
    assert [(hook["event"], hook["target"]) for hook in hooks[1:]] == [
        ("lead.updated", "https://new.example/in"),
        ("user.new", "https://new.example/in"),
    ]
    for hook in hooks:
        assert "whsec_" not in seen.browser.get(f"/hooks/{hook['id']}").text


def test_what_is_wrong_with_new_hooks_is_said_beside_what_was_typed(seen: Seen) -> None:
    """No event, a target that is none, an event that has a hook: the form comes back, filled in."""
    for fields, said in (
        ({"target": "https://new.example/in"}, "events"),
        ({"target": "ftp://x", "event": "user.new"}, "target"),
        ({"target": "https://new.example/in", "event": "lead.new"}, "lead.new"),
        ({"target": "https://new.example/in", "event": "none.such"}, "none.such"),
        ({"target": "https://new.example/in", "event": "user.new", "once": "\u202e\r\nx: y"}, "idempotency-key"),
    ):
        answer = seen.submit("/hooks/new", "/hooks/new", **fields)
        assert 400 <= answer.status_code < 500, answer.status_code
        assert said in answer.text
        assert fields["target"] in answer.text
    assert len(seen.api.integrator(CLIENT)("GET", "/hooks").json()["hooks"]) == 1


def test_a_hook_is_retargeted_disabled_enabled_rotated_and_deleted(seen: Seen) -> None:
    """Each by its form; a refusal is said on the page of the hook."""
    page, hook = f"/hooks/{seen.hook_id}", seen.api.integrator(CLIENT)
    assert seen.submit(page, f"{page}/target", target="https://moved.example/").status_code == 303
    refused = seen.submit(page, f"{page}/target", target="https://10.0.0.1/")
    assert refused.status_code == 422
    assert "https://10.0.0.1/" in refused.text
    assert seen.submit(page, f"{page}/disable").status_code == 303
    assert seen.submit(page, f"{page}/test").status_code == 409
    assert seen.submit(page, f"{page}/enable", backlog="skip").status_code == 303
    shown = hook("GET", page).json()["hook"]
    assert (shown["target"], shown["state"]) == ("https://moved.example/", "enabled")
    assert shown["not_before_ms"] is not None
    rotated = seen.submit(f"{page}/secret", f"{page}/secret")
    assert "whsec_" in rotated.text
    assert seen.secret not in rotated.text
    assert seen.submit(f"{page}/delete", f"{page}/delete").headers["location"] == "/portal/hooks?done=deleted"
    assert seen.browser.get(page).status_code == 404


@pytest.mark.parametrize("action", ["target", "enable", "disable", "delete"])
def test_a_form_of_a_hook_that_changed_meanwhile_does_nothing_and_says_so(seen: Seen, action: str) -> None:
    """It answers 412 with the hook as it is now; sent from that page, it is done. A form without a state is not."""
    page, hook = f"/hooks/{seen.hook_id}", seen.api.integrator(CLIENT)
    if action == "enable":
        hook("POST", f"{page}/disable")
    opened = seen.browser.page(f"{page}/delete" if action == "delete" else page).form(f"/portal{page}/{action}")
    hook("PATCH", page, {"hook": {"target": "https://colleague.example/"}})
    before = hook("GET", page).text
    typed = {"target": "https://mine.example/"} if action == "target" else {}
    forms = (opened, replace(opened, fields={**opened.fields, "seen": ""}))
    answers = [seen.browser.submit(f"{page}/{action}", form, **typed) for form in forms]
    for refused in answers:
        assert refused.status_code == 412, refused.text
        assert "Someone changed this hook after you opened the page" in refused.text
        assert "https://colleague.example/" in refused.text
        assert hook("GET", page).text == before
    again = seen.browser.page(f"{page}/delete") if action == "delete" else Page(answers[-1].text)
    done = seen.browser.submit(f"{page}/{action}", again.form(f"/portal{page}/{action}"), **typed)
    assert done.status_code == 303, done.text


def test_a_test_event_is_sent_and_its_answer_is_shown_on_the_page_of_the_hook(seen: Seen) -> None:
    """The page waits for the attempt; when the log has it, it shows the status and the answer."""
    page = f"/hooks/{seen.hook_id}"
    sent = seen.submit(page, f"{page}/test")
    after = sent.headers["location"].removeprefix("/portal")
    ((delivery, job),) = seen.api.delivery_publisher.sent
    assert after == f"{page}?test={delivery.id}"
    assert "Waiting for the answer" in seen.browser.page(after).text
    seen.log(delivery_id=delivery.id, started_at_ms=STARTED_MS + 1, replay=job, status=503)
    shown = seen.browser.page(after).text
    assert "Waiting for the answer" not in shown
    assert "Not delivered" in shown
    assert SCRIPT in shown


def test_attempts_are_filtered_and_one_is_shown_to_the_byte(seen: Seen) -> None:
    """By outcome and time; of one there are the headers, the body and the signed text, and never the secret."""
    path = f"/hooks/{seen.hook_id}/attempts"
    link = f"/portal/deliveries/{DELIVERY_ID}/attempts/{STARTED_MS}"
    for query, there in (
        ("", True),
        ("?outcome=failed", True),
        ("?outcome=delivered", False),
        ("?from=2026-11-23T19:55:00", True),
        ("?to=2026-11-23T00:00", False),
        ("?from=nonsense", True),
    ):
        assert (link in seen.browser.page(path + query).links) is there, query
    text = seen.browser.get(link.removeprefix("/portal")).text
    body = DELIVERY.body.decode().replace('"', "&#34;")
    assert f"{DELIVERY_ID}.1795463750.{body}" in text
    assert "webhook-signature: v1," in text
    assert seen.secret not in text


def test_a_delivery_is_found_by_its_id_and_sent_again(seen: Seen) -> None:
    """What is no id is said; one that is not there is a page that says so; a resend is acknowledged."""
    assert "no webhook-id" in seen.browser.page("/deliveries?id=x").text
    assert seen.browser.get(f"/deliveries?id={DELIVERY_ID}").headers["location"] == f"/portal/deliveries/{DELIVERY_ID}"
    assert seen.browser.get("/deliveries/msg_" + "f" * 32).status_code == 404
    sent = seen.submit(f"/deliveries/{DELIVERY_ID}", f"/deliveries/{DELIVERY_ID}/resend")
    assert sent.headers["location"] == f"/portal/deliveries/{DELIVERY_ID}?done=resent"
    assert [delivery.id for delivery, _ in seen.api.delivery_publisher.sent] == [DELIVERY_ID]


def test_verify_this_shows_programs_with_the_own_delivery_and_without_the_secret(seen: Seen) -> None:
    """Five languages; each has id, timestamp, signature and body of the newest delivery of the chosen hook."""
    for language in ("Python", "Node", "Go", "PHP", "Java"):
        text = seen.browser.page(f"/guide/verify?language={language}&hook={seen.hook_id}").text
        assert DELIVERY_ID in text, language
        assert "WEBHOOK_SECRET" in text
        assert seen.secret.removeprefix("whsec_") not in text
    fresh, _ = seen.add("user.new")
    assert "Nothing was sent" in seen.browser.page(f"/guide/verify?hook={fresh}").text
    other = signed_in(seen.api, seen.api.token(Role.INTEGRATOR, OTHER))
    assert other.get(f"/guide/verify?hook={seen.hook_id}").status_code == 404
    assert "No hooks yet" in other.page("/guide/verify").text


def test_operators_have_no_form_for_new_hooks(seen: Seen) -> None:
    """The form is for integrators, whose client the hooks are."""
    operator = signed_in(seen.api, seen.api.token(Role.OPERATOR))
    assert operator.get("/hooks/new").status_code == 404
    assert "/portal/hooks/new" not in operator.page("/hooks").links
    assert "client 434" in operator.page("/hooks").text
