"""What a token may do, and for how long: its limit, its last use, its end."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from sqlalchemy import select, update

from hookstream.subscriptions.api import ApiLimits, Rate
from hookstream.subscriptions.database import open_database, open_sessions, reading, transact
from hookstream.subscriptions.models import AuditRow, Role, TokenRow
from hookstream.subscriptions.tokens import TokenId, authenticate, list_tokens, revoke_token, write_last_uses
from tests.support.subscriptions_api import Api, Caller
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Process, Processes
    from tests.support.subscriptions_api import Answer

RATE = Rate(3, 5)
LIMITS = ApiLimits(token_rate=RATE, publish_rate=Rate(5, 5), refused_after_s=0.0)
EVENT = {"event": "lead.new", "client": 1, "concept": {"id": 1}}


class Clock:
    """Monotonic time that stands still until it is told to go on."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(any_database_url: str, clock: Clock) -> Iterator[Api]:
    made = Api(any_database_url, monotonic_s=clock)
    yield made
    made.close()


@pytest.fixture
def limited(sqlite_url: str, clock: Clock) -> Iterator[Api]:
    """Make an API in which a token may make three requests within five seconds, and publish five times."""
    made = Api(sqlite_url, monotonic_s=clock, limits=LIMITS)
    yield made
    made.close()


def assert_limited(answer: Answer) -> None:
    """Check that the caller is told that its token has made its requests."""
    assert answer.status_code == 429, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:hookstream:problem:rate-limited"
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["ratelimit"] == '"token";r=0;t=2'


def test_a_token_has_a_quota_and_every_answer_says_what_is_left(limited: Api, clock: Clock) -> None:
    """Each answer, also 4xx, says what is left; above the quota the answer is 429, until the time it names is over."""
    caller = limited.integrator(434)
    answers = [caller("GET", "/hooks"), caller("GET", "/hooks/9"), caller("POST", "/hooks", {})]
    assert [answer.status_code for answer in answers] == [200, 404, 422]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"token";q=3;w=5'}
    assert [answer.headers["ratelimit"] for answer in answers] == [
        '"token";r=2;t=2',
        '"token";r=1;t=4',
        '"token";r=0;t=2',
    ]
    assert_limited(caller("GET", "/hooks"))
    assert_limited(caller("POST", "/hooks", {}))
    clock.now_s += 2
    assert caller("GET", "/hooks").status_code == 200


def test_one_token_takes_nothing_from_another(limited: Api) -> None:
    """A token of the same client has its own quota; who has none is told nothing of limits."""
    first, second = limited.integrator(434), limited.integrator(434)
    assert [first("GET", "/hooks").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    assert second("GET", "/hooks").status_code == 200
    unknown = Caller(limited.http, "hks_" + "a" * 43)("GET", "/hooks")
    assert unknown.status_code == 401
    assert "ratelimit" not in unknown.headers


def test_platform_services_have_their_own_limit(limited: Api) -> None:
    """A token that publishes has another quota than the others'; health needs no token and has no limit."""
    platform = limited.platform()
    assert [platform("POST", "/events", EVENT).status_code for _ in range(6)] == [202] * 5 + [429]
    for _ in range(9):
        assert limited.http.get("/healthz").status_code == 200


def test_a_flood_asks_the_database_for_no_more_than_its_quota(
    limited: Api, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request above the limit is refused before the database is asked whether the token is still good."""
    caller = limited.integrator(434)
    assert [caller("GET", "/hooks").status_code for _ in range(4)] == [200, 200, 200, 429]
    clock.now_s += 1.5  # the token would have to be read again in half a second, and one request is not allowed yet
    monkeypatch.setattr(limited.deps.known_tokens, "read", None)
    for _ in range(20):
        assert_problem_429(caller("GET", "/hooks"))


def assert_problem_429(answer: Answer) -> None:
    """Check that a request was refused for its rate."""
    assert answer.json()["type"] == "urn:hookstream:problem:rate-limited"


def test_callers_at_once_share_one_quota(limited: Api) -> None:
    """Of forty requests of one token at the same moment as many are served as its quota says."""
    caller = limited.integrator(434)
    together = threading.Barrier(40)

    def ask(_: int) -> int:
        together.wait(WITHIN_S)
        return caller("GET", "/hooks").status_code

    with limited.http, ThreadPoolExecutor(40) as pool:
        found = list(pool.map(ask, range(40)))
    assert sorted(found) == [200] * 3 + [429] * 37


def test_limits_are_documented_for_every_route_with_a_token(limited: Api) -> None:
    """Each operation that needs a token has the headers of its limit on every answer, and a 429 with `Retry-After`."""
    document = limited.http.get("/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    operations = [each for path in document["paths"].values() for each in path.values() if each.get("security")]
    assert len(operations) > 20
    for operation in operations:
        for response in operation["responses"].values():
            assert {"RateLimit", "RateLimit-Policy"} <= response["headers"].keys()
        assert "Retry-After" in operation["responses"]["429"]["headers"]


def test_the_last_use_of_a_token_is_written_by_the_minute(api: Api) -> None:
    """The minute of a token's last use is written now and then for all tokens at once, by requests never."""
    used, idle = api.integrator(434), api.operator()
    for _ in range(3):
        assert used("GET", "/hooks").status_code == 200
    with reading(api.sessions) as session:
        assert [token.last_used_at_ms for token in list_tokens(session)] == [None, None]
    assert api.deps.token_uses.write(api.sessions) == 1
    minute_ms = api.clock.now_ms - api.clock.now_ms % 60_000
    with reading(api.sessions) as session:
        assert [token.last_used_at_ms for token in list_tokens(session)] == [minute_ms, None]
    api.clock.now_ms += 60_000
    used("GET", "/hooks")
    idle("GET", "/hooks")
    assert api.deps.token_uses.write(api.sessions) == 2
    with reading(api.sessions) as session:
        assert [token.last_used_at_ms for token in list_tokens(session)] == [minute_ms + 60_000] * 2


def test_an_earlier_use_overwrites_no_later_one(api: Api) -> None:
    """Of two processes that write when a token was used, the later use stays, whoever writes last."""
    api.operator()
    for at_ms in (120_000, 60_000):
        transact(api.sessions, partial(write_last_uses, uses={TokenId(1): at_ms}))
    with reading(api.sessions) as session:
        assert [token.last_used_at_ms for token in list_tokens(session)] == [120_000]


def test_tokens_of_earlier_releases_stay_valid(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token with the prefix of earlier releases opens what it opened; new ones begin with `hks_`."""
    assert api.token(Role.OPERATOR).startswith("hks_")
    monkeypatch.setattr("hookstream.subscriptions.tokens.TOKEN_PREFIX", "hookstream_")
    earlier = api.token(Role.OPERATOR)
    assert earlier.startswith("hookstream_")
    assert Caller(api.http, earlier)("GET", "/hooks").status_code == 200


def test_a_revoked_token_opens_nothing_once_it_is_read_again(api: Api, clock: Clock) -> None:
    """A process that has a token in memory looks again after two seconds at the latest; a token expires at once."""
    caller, temporary = api.operator(), api.token(Role.OPERATOR, expires_at_ms=api.clock.now_ms + 1000)
    for token in (caller.token, temporary):
        assert Caller(api.http, token)("GET", "/hooks").status_code == 200
    transact(api.sessions, lambda session: session.execute(update(TokenRow).values(revoked_at_ms=1)))
    api.clock.now_ms += 1000
    assert Caller(api.http, temporary)("GET", "/hooks").status_code == 401, "its time is over"
    clock.now_s += 2
    assert caller("GET", "/hooks").status_code == 401


def test_issuing_and_revoking_are_audited_without_the_token(api: Api) -> None:
    """The audit says who issued and who revoked which token, for whom, and holds no token."""
    token = api.token(Role.INTEGRATOR, 434)
    for _ in range(2):
        transact(api.sessions, lambda session: revoke_token(session, 1, actor="someone", now_ms=api.clock() + 1))
    with reading(api.sessions) as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.id)).all()
    assert [(row.actor, row.action, row.client, row.detail["token"]) for row in rows] == [
        ("test", "token.create", "434", 1),
        ("someone", "token.revoke", "434", 1),
    ]
    assert token not in str([row.detail for row in rows])


def test_a_revoked_token_opens_nothing_in_two_processes_within_five_seconds(
    database_url: str, processes: Processes
) -> None:
    """On PostgreSQL with two API processes, a token that both have in memory is refused by both within five seconds."""
    served = [processes.python("-m", "tests.support.api_process", database_url, name=f"api-{n}") for n in range(2)]
    ports = [_said(process)["port"] for process in served]
    engine = open_database(database_url)
    sessions = open_sessions(engine)
    token = _said(served[0])["integrator"]

    def statuses() -> set[int]:
        headers = {"Authorization": f"Bearer {token}"}
        asked = [httpx.get(f"http://127.0.0.1:{port}/hooks", headers=headers, timeout=WITHIN_S) for port in ports]
        return {answer.status_code for answer in asked}

    assert statuses() == {200}
    with reading(sessions) as session:
        holder = authenticate(session, token, now_ms=int(time.time() * 1000))
    transact(sessions, lambda session: revoke_token(session, holder.token_id, actor="test", now_ms=1))
    engine.dispose()
    eventually(lambda: statuses() == {401})


def _said(process: Process) -> dict[str, str]:
    process.wait_until(lambda: "}" in process.log_text(), what="port and tokens")
    said: dict[str, str] = json.loads(process.log_text().partition("\n")[0])
    return said
