"""The portal in a real browser, on a whole deployment: an outage night, an integrator's first delivery, every page.

One file, for what it needs is started once for each.
"""

from __future__ import annotations

import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from hookstream.processors.cli.trial.signature_check import verify
from tests.support.receiver import Receiver
from tests.support.scenery import Scenery, scenery_of
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.support.portal_stack import PortalStack
    from tests.support.visitor import Visitor

TWO_MINUTES_S = 120
EVENTS = 6
WITHIN_S = 60
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")
MOST_TABS = 80


def hook_of(page: Page) -> int:
    """The number of the hook whose page is shown."""
    found = re.search(r"/hooks/(\d+)", page.url)
    assert found, page.url
    return int(found[1])


def test_from_the_link_to_the_first_verified_delivery(
    stack: PortalStack, visitor: Callable[..., Visitor], receiver: Receiver, tmp_path: Path
) -> None:
    """Hooks for two events, their secret, a test event's answer, a real delivery to the byte, a program to check it."""
    client = next(stack.clients)
    person, caller = visitor(), stack.integrator(client)
    person.open(stack.link(client))
    person.follow("Add hooks")
    person.fill("Target", receiver.url("in"))
    person.check("lead.new")
    person.check("lead.updated")
    person.press("Add")
    (secret,) = SECRET.findall(person.text)
    person.follow("Send a test event of lead.new")
    hook = hook_of(person.page)
    person.press("Send a test event")
    person.sees("Delivered")
    ping = receiver.accepted()[0]
    verify(secret, ping.headers, ping.body)

    caller.wait_effective(hook)
    stack.publish(client, 17)
    stack.wait_attempts(caller, hook, 2)
    eventually(lambda: len(receiver.accepted()) == 2)
    sent = receiver.accepted()[1]
    person.follow("All attempts, with filters")
    person.choose("Outcome", "delivered")
    person.press("Show")
    person.click(person.page.locator(f'a[href*="{sent.id}/attempts/"]'))
    lines = person.page.get_by_label("Headers of the request").inner_text().splitlines()
    shown = dict(line.split(": ", 1) for line in lines[1:])
    for name in ("webhook-id", "content-length", "hookstream-hook", "hookstream-sequence", "hookstream-attempt"):
        assert shown[name] == sent.headers[name]
    assert person.page.locator("#body").inner_text().encode() == sent.body
    assert person.page.locator("#signed").inner_text().endswith("." + sent.body.decode())
    verify(secret, shown, sent.body)

    person.follow("Verify it in your language")
    program = tmp_path / "verify.py"
    program.write_text(person.page.locator("#program").inner_text())
    done = subprocess.run(  # noqa: S603  # our own program, and no shell
        [sys.executable, program], env={"WEBHOOK_SECRET": secret}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "valid\n"
    assert person.seconds <= TWO_MINUTES_S, f"{person.actions} actions"


def test_without_scripts_the_same_works(
    stack: PortalStack, visitor: Callable[..., Visitor], receiver: Receiver
) -> None:
    """A link, a hook, a test event, and its answer: the page loads itself anew until it is there."""
    person = visitor(javascript=False)
    person.open(stack.link(next(stack.clients)))
    person.press("Continue")
    person.follow("Add hooks")
    person.fill("Target", receiver.url("in"))
    person.check("user.new")
    person.press("Add")
    (secret,) = SECRET.findall(person.text)
    person.follow("Send a test event")
    person.press("Send a test event")
    person.sees("Delivered")
    verify(secret, receiver.accepted()[0].headers, receiver.accepted()[0].body)
    person.follow("The exact request")
    person.sees("Signed text")


def test_a_keyboard_is_enough(stack: PortalStack, visitor: Callable[..., Visitor], receiver: Receiver) -> None:
    """Signing in, adding a hook and testing it with Tab, Space and Enter alone; what has the focus can be seen."""
    person = visitor()
    page, keys = person.page, person.page.keyboard
    token = stack.integrator(next(stack.clients)).token or ""
    person.open("/sign-in")
    keys.type(token)  # the field has the focus
    enter(page)
    tab_to(page, "Add hooks")
    enter(page)
    tab_to(page, "Target")
    keys.type(receiver.url("in"))
    tab_to(page, "lead.new")
    keys.press("Space")
    tab_to(page, "Add")
    enter(page)
    tab_to(page, "Send a test event of lead.new")
    enter(page)
    tab_to(page, "Send a test event")
    enter(page)
    person.sees("Delivered")
    assert person.actions == 0


def enter(page: Page) -> None:
    """Press Enter, and wait for the page that follows."""
    with page.expect_navigation():
        page.keyboard.press("Enter")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has that name has the focus."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        label, outline = page.evaluate(
            """() => { const e = document.activeElement;
                 return [(e.labels?.[0] ?? e).textContent.trim(), getComputedStyle(e).outlineStyle]; }"""
        )
        if label == name:
            assert outline != "none", f"{name} has the focus, which cannot be seen"
            return
    message = f"{MOST_TABS} times Tab, and not at {name}"
    raise AssertionError(message)


@pytest.fixture
def embedder(stack: PortalStack) -> Iterator[Callable[[str], list[str]]]:
    """Serve a page of the platform's own site, with a frame; another port than the deployment names is another site.

    Asked for before `visitor`, so that it ends after the browser, whose open requests it would reset.
    """
    pages = {"/": ""}
    servers = []
    for port in (stack.embedder_port, 0):
        server = ThreadingHTTPServer(("127.0.0.1", port), _page_handler(pages))
        Thread(target=server.serve_forever, name="embedder", daemon=True).start()
        servers.append(server)

    def put(link: str) -> list[str]:
        pages["/"] = f'<!doctype html><title>app</title><iframe src="{link}" width="900" height="700"></iframe>'
        return [f"http://localhost:{server.server_address[1]}/" for server in servers]

    yield put
    for server in servers:
        server.shutdown()
        server.server_close()


def _page_handler(pages: dict[str, str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, "").encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    return Handler


def test_a_site_that_is_allowed_to_shows_the_portal_in_a_frame(
    stack: PortalStack, embedder: Callable[[str], list[str]], visitor: Callable[..., Visitor], receiver: Receiver
) -> None:
    """From the link to a test event inside the platform's page; a site that is not allowed shows nothing of it."""
    person = visitor(only_here=False, https=True, expected=("frame-ancestors", "autofocusing"))
    allowed, other = embedder(stack.link(next(stack.clients)))
    person.page.goto(allowed)
    frame = person.page.frame_locator("iframe")
    frame.get_by_role("link", name="Add hooks").click()
    frame.get_by_label("Target").fill(receiver.url("in"))
    frame.get_by_label("lead.new").check()
    frame.get_by_role("button", name="Add").click()
    frame.get_by_role("link", name="Send a test event of lead.new").click()
    frame.get_by_role("button", name="Send a test event").click()
    frame.get_by_text("Delivered").wait_for()
    with person.page.expect_event("console", lambda message: "frame-ancestors" in message.text):
        person.page.goto(other)


def test_an_outage_night_is_handled_with_a_mouse_in_two_minutes(
    stack: PortalStack, visitor: Callable[..., Visitor]
) -> None:
    """The worst endpoint is found, paused, healed, retried; the night is replayed, a dead letter resent."""
    client = next(stack.clients)
    caller, person = stack.integrator(client), visitor()
    status = 503
    with Receiver(answer=lambda _path: status) as receiver:
        hook = caller.register("lead.new", receiver.url("night"))["id"]
        caller.wait_effective(hook)
        for concept in range(EVENTS):
            stack.publish(client, concept)

        def endpoint() -> dict[str, object]:
            found: dict[str, object] = stack.operator("GET", f"/endpoints?client={client}").json()["endpoints"][0]
            return found

        eventually(lambda: endpoint()["state"] == "quarantined", WITHIN_S)
        lost = stack.wait_attempts(caller, hook, 1)[0]["delivery_id"]

        person.sign_in(stack.operator.token or "")
        person.follow("quarantined")
        person.follow("/night")
        person.sees("503")
        person.fill("Reason", "the receiver is being repaired")
        person.press("Pause")
        person.sees("paused")
        eventually(lambda: endpoint()["state"] == "paused", WITHIN_S)
        # One delivery harms the receiver, says its owner.
        person.fill("Skip one delivery", lost)
        person.fill("Reason", "it breaks the receiver", inside=person.page.locator('form[action$="/skip"]'))
        person.press("Skip")
        status = 204
        person.fill("Reason", "repaired")
        person.press("Resume")
        person.fill("Reason", "repaired")
        person.press("Retry now")
        eventually(lambda: len({request.id for request in receiver.accepted()}) == EVENTS - 1, WITHIN_S)
        eventually(lambda: endpoint()["behind"] == 0, WITHIN_S)

        # The receiver has lost what it had stored: the last hour, once more.
        person.follow("Replays")
        person.follow("New replay")
        person.fill("Client", str(client))
        person.choose("Only", "all")
        person.press("Count")
        start = person.page.get_by_role("button", name="Start")
        person.click(start)
        person.page.locator(".state.done").first.wait_for()
        eventually(lambda: len(receiver.accepted()) >= 2 * EVENTS - 2, WITHIN_S)

        person.follow("Dead letters")
        person.fill("Client", str(client))
        person.press("Show")
        person.click(person.page.get_by_role("button", name="Resend"))
        person.click(person.page.get_by_role("button", name="Send 1 again"))
        eventually(lambda: lost in {request.id for request in receiver.accepted()}, WITHIN_S)
    assert person.seconds <= TWO_MINUTES_S, f"{person.actions} actions"


@pytest.fixture(scope="module")
def scenery(stack: PortalStack) -> Scenery:
    """What there is to see."""
    return scenery_of(stack)


def test_every_page_is_accessible_in_light_and_dark_and_fits_a_telephone(
    stack: PortalStack, scenery: Scenery, visitor: Callable[..., Visitor]
) -> None:
    """Axe finds nothing on any page, nothing of its contrast in the dark, and none is wider than a telephone."""
    found: list[str] = []
    for token, pages in ((scenery.integrator.token, scenery.own_pages), (stack.operator.token, scenery.operator_pages)):
        person = visitor()
        person.open("/sign-in")
        found += person.violations()
        person.sign_in(token or "")
        for path in pages.values():
            person.look("light", 1280)
            person.open(path)
            found += person.violations()
            person.look("dark", 390)
            found += person.violations("color-contrast")
            if person.overflow() > 0:
                found.append(f"{path}: {person.overflow()} pixels wider than the window")
    assert found == []


def test_an_operator_needs_no_mouse(stack: PortalStack, scenery: Scenery, visitor: Callable[..., Visitor]) -> None:
    """From the link that skips the navigation to a pause, its end, a drain and a resend: by the keyboard alone."""
    person = visitor()
    page, keys = person.page, person.page.keyboard
    shown = stack.operator("GET", scenery.operator_pages["endpoint"]).json()["endpoint"]
    person.open("/sign-in")
    keys.type(stack.operator.token or "")
    enter(page)
    tab_to(page, "Skip to content")
    skip = page.get_by_role("link", name="Skip to content").bounding_box()
    assert skip is not None
    assert skip["x"] >= 0, "it is shown while it has the focus"
    keys.press("Enter")
    keys.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null"), "the navigation is skipped"
    tab_to(page, shown["target"])
    enter(page)
    for reason, button, said in (("being repaired", "Pause", "It is paused"), ("repaired", "Resume", "served again")):
        tab_to(page, "Reason")
        keys.type(reason)
        tab_to(page, button)
        enter(page)
        person.sees(said)
    tab_to(page, "Drain…")
    enter(page)
    tab_to(page, "Reason")
    keys.type("the receiver does not want it")
    page.keyboard.press("Tab")
    enter(page)
    person.sees("Its backlog goes to the dead letters")
    tab_to(page, "Dead letters")
    enter(page)
    tab_to(page, "Client")
    keys.type(str(shown["client"]["id"]))
    enter(page)
    tab_to(page, "Resend the chosen ones, or all of this page…")
    enter(page)
    page.locator("button.main").wait_for()
    tab_to(page, page.locator("button.main").inner_text())
    enter(page)
    person.sees("again")
    assert person.actions == 0
