"""Slow questions take a bounded share of the API, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
from anyio import fail_after, to_thread
from sqlalchemy import text

from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from hookstream.subscriptions.api import ApiLimits, Rate
from hookstream.subscriptions.api.admission import Question
from hookstream.subscriptions.database import open_database, open_sessions, reading
from hookstream.subscriptions.dead_letters import DeadLetterPage, DeadLetterQuery
from hookstream.subscriptions.errors import DatabaseUnavailableError
from hookstream.subscriptions.models import Role
from tests.support.subscriptions_api import TARGET, Api, Caller, FakeDeadLetters, FakeEvents, FakeReceipt
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.schemas.event import Event
    from tests.support.subscriptions_api import Answer

CLIENT = 434
LIMITS = ApiLimits()
ENDPOINT = endpoint_id(ClientId(str(CLIENT)), target_digest(TARGET))
DELIVERY = "msg_" + "0" * 32


class SlowDeadLetters(FakeDeadLetters):
    """Dead letters that are found when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.asked = threading.Semaphore(0)
        self.count = 0

    def find(self, query: DeadLetterQuery) -> DeadLetterPage:
        self.count += 1
        self.asked.release()
        assert self.go_on.wait(WITHIN_S)
        return super().find(query)


@pytest.fixture
def dead_letters() -> SlowDeadLetters:
    return SlowDeadLetters()


@pytest.fixture
def api(sqlite_url: str, dead_letters: SlowDeadLetters) -> Iterator[Api]:
    made = Api(sqlite_url, dead_letters=dead_letters)
    yield made
    dead_letters.go_on.set()
    made.close()


def assert_too_many(answer: Answer) -> None:
    """Check that the caller is told to come again."""
    assert answer.status_code == 429, answer.text
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:hookstream:problem:too-many-requests"


def test_a_refusal_waits_for_no_thread(sqlite_url: str) -> None:
    """While every thread of the handlers is taken, who has no good token, or asks for nothing there is, is told so."""
    api = Api(sqlite_url, limits=ApiLimits(token_rate=Rate(1, 60), refused_after_s=0.0))
    limited = api.integrator(CLIENT)
    assert limited("GET", "/hooks").status_code == 200

    async def ask() -> list[int]:
        threads = to_thread.current_default_thread_limiter()
        threads.total_tokens = 1
        await threads.acquire_on_behalf_of(api)
        transport = httpx.ASGITransport(api.app)
        with fail_after(WITHIN_S):
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                asked = [
                    await client.get("/hooks", headers={"authorization": f"Bearer {limited.token}"}),
                    await client.get("/hooks"),
                    await client.get("/nothing"),
                    await client.post("/healthz"),
                ]
        return [answer.status_code for answer in asked]

    assert asyncio.run(ask()) == [429, 401, 404, 405]
    api.close()


def test_slow_questions_of_many_leave_room_for_others(api: Api, dead_letters: SlowDeadLetters) -> None:
    """Of thirty clients who ask for dead letters at once four are served, the rest is told so, and others go on."""
    callers = [api.integrator(client) for client in range(30)]
    with ThreadPoolExecutor(len(callers)) as pool:
        answers = [pool.submit(caller, "GET", "/dead-letters") for caller in callers]
        for _ in range(LIMITS.slow_of_one_kind):
            assert dead_letters.asked.acquire(timeout=WITHIN_S)
        refused = len(callers) - LIMITS.slow_of_one_kind
        eventually(lambda: [answer.done() for answer in answers].count(True) == refused)
        for answer in answers:
            if answer.done():
                assert_too_many(answer.result())
        assert callers[0]("GET", "/hooks").status_code == 200
        assert api.operator()("GET", "/endpoints").status_code == 200, "another kind waits for another part"
        dead_letters.go_on.set()
    assert [answer.result().status_code for answer in answers].count(200) == LIMITS.slow_of_one_kind
    assert dead_letters.count == LIMITS.slow_of_one_kind
    assert callers[0]("GET", "/dead-letters").status_code == 200


def test_a_token_has_two_slow_questions_at_once_of_all_kinds(api: Api, dead_letters: SlowDeadLetters) -> None:
    """A third slow question of one caller is refused, whatever it is about; its quick ones are not, nor others'."""
    caller = api.integrator(CLIENT)
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(caller, "GET", "/dead-letters") for _ in range(2)]
        for _ in slow:
            assert dead_letters.asked.acquire(timeout=WITHIN_S)
        assert_too_many(caller("GET", "/dead-letters"))
        assert_too_many(caller("GET", "/endpoints"))
        assert caller("GET", "/hooks").status_code == 200
        assert api.integrator(CLIENT)("GET", "/endpoints").status_code == 200
        dead_letters.go_on.set()
    assert [answer.result().status_code for answer in slow] == [200, 200]
    assert caller("GET", "/endpoints").status_code == 200


@pytest.mark.parametrize(
    ("question", "method", "path", "body"),
    [
        (Question.DEAD_LETTERS, "GET", "/dead-letters", None),
        (Question.DEAD_LETTERS, "GET", "/dead-letters/0-1", None),
        (Question.DEAD_LETTERS, "POST", "/dead-letters/resend", {"ids": ["0-1"]}),
        (Question.DELIVERIES, "GET", f"/deliveries/{DELIVERY}", None),
        (Question.DELIVERIES, "POST", f"/deliveries/{DELIVERY}/resend", None),
        (Question.BACKLOG, "GET", "/endpoints", None),
        (Question.BACKLOG, "GET", f"/endpoints/{ENDPOINT}", None),
        (Question.ATTEMPTS, "GET", "/hooks/1/attempts", None),
        (Question.AUDIT, "GET", "/audit", None),
        (Question.ACKNOWLEDGEMENTS, "POST", "/hooks/1/ping", None),
        (Question.ACKNOWLEDGEMENTS, "POST", "/hooks/1/enable", {"backlog": "skip"}),
        (Question.ACKNOWLEDGEMENTS, "POST", f"/endpoints/{ENDPOINT}/drain", {"reason": "x"}),
        (Question.ACKNOWLEDGEMENTS, "POST", f"/endpoints/{ENDPOINT}/skip", {"reason": "x", "delivery": DELIVERY}),
        (Question.ACKNOWLEDGEMENTS, "POST", "/replays", {"replay": {"from_ms": 1}}),
    ],
)
def test_every_question_that_waits_is_counted(
    api: Api, dead_letters: SlowDeadLetters, question: Question, method: str, path: str, body: object
) -> None:
    """Where a kind has all it may have, every route that waits for the same part answers 429, and later again."""
    dead_letters.go_on.set()
    caller = api.operator()
    assert api.integrator(CLIENT).create().json()["hook"]["id"] == 1
    with ExitStack() as stack:
        for token in range(LIMITS.slow_of_one_kind):
            stack.enter_context(api.deps.admission.enter(question, f"token:-{token}"))
        assert_too_many(caller(method, path, body))
    assert caller(method, path, body).status_code not in (429, 500)


class SlowEvents(FakeEvents):
    """Kafka that takes an event when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.asked = threading.Semaphore(0)

    def publish(self, event: Event, *, traceparent: bytes | None = None) -> FakeReceipt:
        self.asked.release()
        assert self.go_on.wait(WITHIN_S)
        return super().publish(event, traceparent=traceparent)


def test_publishing_waits_in_threads_of_its_own(sqlite_url: str) -> None:
    """However many publish while Kafka is slow, other requests are answered; none that publishes is refused."""
    events = SlowEvents()
    api = Api(sqlite_url, events=events)
    platform, event = api.platform(), {"event": "lead.new", "client": 1, "concept": {"id": 1}}
    with api.http, ThreadPoolExecutor(60) as pool:  # one event loop for all of them, as in the server
        answers = [pool.submit(platform, "POST", "/events", event) for _ in range(60)]
        for _ in range(LIMITS.publishing_at_once):
            assert events.asked.acquire(timeout=WITHIN_S)
        assert api.integrator(CLIENT).create().status_code == 201
        assert not events.asked.acquire(blocking=False), "no more than their share"
        events.go_on.set()
    assert {answer.result().status_code for answer in answers} == {202}
    api.close()


def test_a_query_that_takes_too_long_is_given_up(any_database_url: str) -> None:
    """A query beyond its time ends as 'database unavailable' in the database itself; the connection serves the next."""
    engine = open_database(any_database_url)
    sessions = open_sessions(engine)
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        if engine.dialect.name == "sqlite"
        else "SELECT pg_sleep(600)"
    )
    for _ in range(2):
        with pytest.raises(DatabaseUnavailableError), reading(sessions, within_s=0.05) as session:
            session.execute(text(endless))
        with reading(sessions, within_s=30.0) as session:
            assert session.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_a_list_of_which_little_fits_ends_and_goes_on(sqlite_url: str) -> None:
    """Where time is over before a page of endpoints is full, the page is short and says where the next one begins."""
    seconds = iter(range(0, 100_000, 3))
    api = Api(sqlite_url, monotonic_s=lambda: float(next(seconds)))
    for client in range(20):
        api.integrator(client).create()
    operator = api.operator()
    shown: list[int] = []
    cursor, pages = "", 0
    while pages == 0 or cursor:
        page = operator("GET", f"/endpoints?limit=50{cursor and f'&cursor={cursor}'}").json()
        shown += [endpoint["client"]["id"] for endpoint in page["endpoints"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert shown == list(range(20))
    assert pages > 5
    api.close()


def test_a_token_that_is_no_good_costs_no_slow_question(api: Api, dead_letters: SlowDeadLetters) -> None:
    """Who has no token, or another role's, is told so without being counted."""
    dead_letters.go_on.set()
    for token in ("x", api.token(Role.PLATFORM)):
        for _ in range(10):
            assert Caller(api.http, token)("GET", "/dead-letters").status_code in (401, 403)
    assert dead_letters.count == 0
