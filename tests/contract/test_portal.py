"""The portal: who gets in, for how long, and what its forms and pages refuse."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from hookstream.subscriptions.database import reading, transact
from hookstream.subscriptions.models import AuditRow, Role
from hookstream.subscriptions.portal.screens import SCREENS
from hookstream.subscriptions.portal_sessions import SESSION_S
from hookstream.subscriptions.tokens import list_tokens, revoke_token
from tests.support.portal import Browser, Page, signed_in
from tests.support.subscriptions_api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = 434
HTTPS = {"X-Forwarded-Proto": "https"}
PAGES = ["/sign-in", "/endpoints", "/none", "/enter/x", "/static/portal.css"]


@pytest.fixture
def lite(sqlite_url: str) -> Iterator[Api]:
    """One on SQLite alone, for what no database decides."""
    made = Api(sqlite_url)
    yield made
    made.close()


def link(api: Api, client: int = CLIENT, **fields: int) -> str:
    answer = api.platform()("POST", "/portal/links", {"link": {"client": client, **fields}})
    assert answer.status_code == 201, answer.text
    path: str = answer.json()["link"]["path"]
    return path.removeprefix("/portal")


def is_in(browser: Browser) -> bool:
    return browser.get("/endpoints").status_code == 200


def enter(browser: Browser, path: str) -> int:
    return browser.submit(path, browser.page(path).forms[-1]).status_code


def revoke_all(api: Api) -> None:
    with reading(api.sessions) as session:
        known = [token.id for token in list_tokens(session)]
    for token in known:
        transact(api.sessions, partial(revoke_token, token_id=token, actor="test", now_ms=api.clock()))


def test_a_session_lasts_until_its_time_its_token_or_its_person_ends_it(api: Api) -> None:
    """A token opens a session of twelve hours; signing out, expiry and revocation of the token each end it at once."""
    token = api.token(Role.OPERATOR)
    browser, other, third = (signed_in(api, token) for _ in range(3))
    assert is_in(browser)
    form = browser.page("/endpoints").form("/portal/sign-out")
    cookie = browser.http.cookies["hookstream_portal"]
    assert browser.submit("/sign-out", form).headers["location"] == "/portal/sign-in?signed=out"
    assert not is_in(browser)
    browser.http.cookies.set("hookstream_portal", cookie)  # what was copied before does not help
    assert not is_in(browser)
    assert is_in(other)
    api.clock.now_ms += SESSION_S * 1000
    assert not is_in(other)
    late = signed_in(api, token)
    assert is_in(late)
    revoke_all(api)
    assert not is_in(late)
    assert not is_in(third)


def test_a_session_ends_with_the_time_of_its_token(api: Api) -> None:
    """A token that expires within the twelve hours takes its session with it."""
    browser = signed_in(api, api.token(Role.OPERATOR, expires_at_ms=api.clock() + 60_000))
    api.clock.now_ms += 59_999
    assert is_in(browser)
    api.clock.now_ms += 1
    assert not is_in(browser)


def test_a_link_opens_one_session_of_its_client_and_only_once(api: Api) -> None:
    """Looking at a link spends nothing; using it does; its session sees its client alone and is audited by name."""
    mine = api.integrator(CLIENT).create(target="https://mine.example/").json()["hook"]["id"]
    api.integrator(435).create(target="https://theirs.example/")
    path = link(api)
    browser, second = Browser(api), Browser(api)
    browser.page(path)
    form = second.page(path).forms[-1]
    assert enter(browser, path) == 303
    assert second.submit(path, form).status_code == 410
    shown = browser.page("/endpoints").text
    assert "mine.example" in shown
    assert "theirs.example" not in shown
    assert f"client {CLIENT}" in shown
    assert mine
    with reading(api.sessions) as session:
        (made,) = [row for row in session.query(AuditRow) if row.action == "portal.link"]
    assert (made.client, made.actor.split(":")[0]) == (str(CLIENT), "token")


def test_a_link_takes_no_session_of_a_tokens_holder_by_itself(lite: Api) -> None:
    """Whoever is signed in with a token is asked; without one, or with a link's session, the script goes on at once."""
    operator, person = signed_in(lite, lite.token(Role.OPERATOR)), Browser(lite)
    asked = operator.page(link(lite))
    assert "Going on ends that session" in asked.text
    assert ("data-submit", "") not in asked.attributes
    for _ in range(2):
        path = link(lite)
        assert ("data-submit", "") in person.page(path).attributes
        assert enter(person, path) == 303


def test_a_link_ends_with_its_lifetime_and_with_its_token(api: Api) -> None:
    """A link that is too old, or whose token was revoked, opens nothing; and what it has opened ends with the token."""
    late, revoked, used = link(api, lifetime_seconds=10), link(api), link(api)
    browser = Browser(api)
    assert enter(browser, used) == 303
    assert is_in(browser)
    api.clock.now_ms += 10_000
    assert enter(Browser(api), late) == 410
    revoke_all(api)
    assert enter(Browser(api), revoked) == 410
    assert not is_in(browser)


def test_signing_in_again_ends_the_session_that_the_browser_had(lite: Api) -> None:
    """By a form that was open before, or by a link: the key that the browser forgets opens nothing any more."""
    browser = Browser(lite)
    second_tab = browser.page("/sign-in").form("/portal/sign-in")
    kept = Browser(lite)

    def signs_in() -> int:
        token = lite.token(Role.OPERATOR)
        shown_again = Page(browser.submit("/sign-in", second_tab, token=token).text).form("/portal/sign-in")
        return browser.submit("/sign-in", shown_again, token=token).status_code

    assert browser.sign_in(lite.token(Role.OPERATOR)).status_code == 303
    for again in (signs_in, lambda: enter(browser, link(lite))):
        kept.http.cookies.set("hookstream_portal", browser.http.cookies["hookstream_portal"])
        assert is_in(kept)
        assert again() == 303
        assert is_in(browser)
        assert not is_in(kept)


def test_links_are_made_by_the_platform_and_operators_alone(lite: Api) -> None:
    """An integrator's token makes no links, a client has to be one, and a lifetime is at most an hour."""
    body = {"link": {"client": CLIENT}}
    assert lite.operator()("POST", "/portal/links", body).status_code == 201
    assert lite.integrator(CLIENT)("POST", "/portal/links", body).status_code == 403
    for wrong in ({"client": "x"}, {"client": CLIENT, "lifetime_seconds": 3601}, {}, {"client": CLIENT, "x": 1}):
        assert lite.platform()("POST", "/portal/links", {"link": wrong}).status_code == 422
    document = lite.http.get("/openapi.json").json()
    assert [path for path in document["paths"] if path.startswith("/portal")] == ["/portal/links"]


def test_a_deployment_without_the_portal_makes_no_links(sqlite_url: str) -> None:
    """Where the portal is off, a link would lead nowhere, and the API says so."""
    api = Api(sqlite_url, portal=False)
    answer = api.platform()("POST", "/portal/links", {"link": {"client": CLIENT}})
    assert (answer.status_code, answer.json()["title"]) == (404, "portal off")
    assert api.http.get("/portal/sign-in").status_code == 404
    api.close()


@pytest.mark.parametrize("token", ["", "hookstream_x", "hookstream_" + "A" * 43, "é" * 100])
def test_what_is_no_token_is_told_so_and_never_shown(lite: Api, token: str) -> None:
    """The form comes back with a sentence, and without what was typed."""
    answer = Browser(lite).sign_in(token)
    assert answer.status_code == 422
    assert "The token is not valid" in answer.text
    assert not token or token not in answer.text


def test_a_platform_token_opens_no_session(lite: Api) -> None:
    """It may publish events and make links; there is nothing to see with it."""
    assert "nothing to see" in Browser(lite).sign_in(lite.token(Role.PLATFORM)).text


def test_after_signing_in_one_is_where_one_wanted_to_be(lite: Api) -> None:
    """The page that was asked for is shown after signing in; another host's never is."""
    browser = Browser(lite)
    asked = browser.get("/endpoints?state=paused").headers["location"]
    assert asked == "/portal/sign-in?next=%2Fendpoints%3Fstate%3Dpaused"
    form = browser.page(asked.removeprefix("/portal")).form("/portal/sign-in")
    token = lite.token(Role.OPERATOR)
    done = browser.submit(form.action.removeprefix("/portal"), form, token=token)
    assert done.headers["location"] == "/portal/endpoints?state=paused"
    for hostile in ("//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nX: y"):
        browser = Browser(lite)
        form = browser.page("/sign-in").form("/portal/sign-in")
        answer = browser.http.post("/portal/sign-in", params={"next": hostile}, data={**form.fields, "token": token})
        assert answer.headers["location"] == "/portal/endpoints"


def test_a_link_in_a_mail_shows_the_page_to_one_who_is_signed_in(lite: Api) -> None:
    """The request that another site causes has no strict cookie: a page of ours asks again, and then it has."""
    for path in ("/endpoints?state=paused", "/sign-in", link(lite)):
        answer = Browser(lite).get(path, sec_fetch_site="cross-site")
        assert answer.status_code == 200
        assert '<meta http-equiv="refresh" content="0">' in answer.text
        assert "set-cookie" not in answer.headers, "it would take the place of the one that was not sent"
    assert Browser(lite).get("/endpoints", sec_fetch_site="same-origin").status_code == 303


def test_no_form_works_without_its_token(lite: Api) -> None:
    """A form without the CSRF token, with another session's, or sent by another site does nothing, on every route."""
    browser, other = signed_in(lite, lite.token(Role.OPERATOR)), signed_in(lite, lite.token(Role.OPERATOR))
    foreign = other.page("/endpoints").form("/portal/sign-out").fields
    own = browser.page("/endpoints").form("/portal/sign-out").fields
    writing = [
        screen.path.replace("{", "").replace("}", "")
        for screen in SCREENS
        if screen.method == "POST" and Role.OPERATOR in screen.roles
    ]
    for path in writing:
        assert browser.submit(path).status_code == 403, path
        assert browser.http.post(f"/portal{path}", data=foreign).status_code == 403, path
        sent = browser.http.post(f"/portal{path}", data=own, headers={"Sec-Fetch-Site": "cross-site"})
        assert sent.status_code == 403, path
    browser.submit("/sign-out")
    browser.http.post("/portal/sign-out", data=foreign)
    assert lite.operator()("GET", "/hooks").status_code == 200
    fresh = Browser(lite)
    fresh.page("/sign-in")
    assert fresh.submit("/sign-in", token=lite.token(Role.OPERATOR)).status_code == 403


def test_the_cookie_is_as_strict_and_frames_are_as_few_as_a_deployment_allows(sqlite_url: str) -> None:
    """Strict, and secure behind https; kept apart by site in a frame of a site that may embed us, and only there.

    Every answer forbids inline code, other hosts, and frames but of the sites that are named; caches keep no page.
    """
    embedding, plain = Api(sqlite_url, embed=["https://app.example", "https://*.b.example"]), Api(sqlite_url)
    strict, framed = "Path=/; HttpOnly; SameSite=Strict", "Path=/; HttpOnly; SameSite=None; Partitioned"
    in_frame = {"Sec-Fetch-Dest": "iframe"}
    for api, headers, expected in (
        (plain, {}, ("hookstream_portal", strict)),
        (plain, HTTPS, ("__Host-hookstream_portal", f"{strict}; Secure")),
        (plain, HTTPS | in_frame, ("__Host-hookstream_portal", f"{strict}; Secure")),
        (embedding, HTTPS, ("__Host-hookstream_portal", f"{strict}; Secure")),
        (embedding, HTTPS | in_frame, ("__Host-hookstream_portal", f"{framed}; Secure")),
        (embedding, in_frame, ("hookstream_portal", strict)),
    ):
        cookie = Browser(api, headers=headers).get("/sign-in").headers["set-cookie"]
        assert (cookie.partition("=")[0], cookie.partition("; Max-Age=43200; ")[2]) == expected
    for api, ancestors in ((plain, "'none'"), (embedding, "'self' https://app.example https://*.b.example")):
        browser = Browser(api)
        for path in PAGES:
            sent = browser.get(path).headers
            policy = sent["content-security-policy"]
            assert policy.startswith("default-src 'none'")
            assert "unsafe" not in policy
            assert policy.endswith(f"frame-ancestors {ancestors}")
            assert ("x-frame-options" in sent) is (api is plain)
            assert ("immutable" if path.startswith("/static") else "no-store") in sent["cache-control"]
    embedding.close()
    plain.close()


def test_what_is_wrong_is_a_page(lite: Api) -> None:
    """No such page, no such method, too large a form, a database that is gone, a defect: a page, with our headers."""
    browser = signed_in(lite, lite.token(Role.OPERATOR))
    for answer, status in (
        (browser.get("/none"), 404),
        (browser.http.delete("/portal/endpoints"), 405),
        (browser.submit("/sign-out", None, x="y" * 20_000), 413),
        (browser.get("/endpoints?limit=1&sort=x"), 422),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith(("text/html", "application/problem+json"))
    assert "Sign out" in Page(browser.get("/none").text).text
    lite.engine.dispose()
    transact(lite.sessions, lambda session: session.connection().exec_driver_sql("DROP TABLE portal_sessions"))
    gone = browser.get("/endpoints")
    assert gone.status_code == 503
    assert "hookstream migrate" in gone.text
    assert "frame-ancestors" in gone.headers["content-security-policy"]
