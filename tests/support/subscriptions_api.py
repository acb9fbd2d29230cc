"""The API on a database of the test's own, with fakes for what Kafka does."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from fastapi.testclient import TestClient

from hookstream.processors.operations.queries.sent_requests import SentRequests
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.event import ClientId, Event
from hookstream.schemas.ids import IdKind
from hookstream.subscriptions.api import ApiDependencies, MetricsPage, create_app
from hookstream.subscriptions.api.problems import MEDIA_TYPE
from hookstream.subscriptions.backlogs import Backlogs, NotBefore
from hookstream.subscriptions.changes import Receipt
from hookstream.subscriptions.database import Sessions, open_database, open_sessions, transact
from hookstream.subscriptions.dead_letters import DeadLetterPage, DeadLetterPlace, DeadLetterQuery, FoundDeadLetter
from hookstream.subscriptions.deliveries import FoundDelivery, WantedDelivery
from hookstream.subscriptions.errors import (
    BacklogUnknownError,
    BrokerClockError,
    DeadLettersUnavailableError,
    LogSearchError,
    NotPublishedError,
)
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.portal import PortalConfig, install_portal
from hookstream.subscriptions.problem_types import PROBLEM_TYPES
from hookstream.subscriptions.secrets import MasterKey, SecretBox
from hookstream.subscriptions.target_policy import TargetPolicy
from hookstream.subscriptions.target_url import IpAddress
from hookstream.subscriptions.tokens import TokenRequest, issue_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fastapi import FastAPI
    from fastapi.routing import APIRoute
    from sqlalchemy import Engine

    from hookstream.schemas.delivery import Delivery
    from hookstream.schemas.hook import HookId

BOX = SecretBox((MasterKey(b"k" * 32),))
# What any request may be answered with, by the server or the framework, before a route is found or after it failed.
OF_ANY_ROUTE = frozenset(
    {"bad-head", "internal-error", "method-not-allowed", "no-such-route", "request-refused", "too-many-connections"}
)
TARGET = "https://example.com/create-lead.php"


class PublicAddresses:
    """Permits what the whole internet can reach."""

    def permits(self, ip: IpAddress, /) -> bool:
        """Whether the address is global."""
        return ip.is_global


@dataclass
class TestClock:
    """Wall time that stands still until it is told to go on."""

    __test__ = False
    now_ms: int = 1_700_000_000_000

    def __call__(self) -> int:
        """Unix milliseconds."""
        return self.now_ms


class Answer(Protocol):
    """An HTTP answer, whichever client the framework's test client is made of."""

    @property
    def status_code(self) -> int:
        """The status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""
        ...

    @property
    def content(self) -> bytes:
        """The body."""
        ...

    @property
    def text(self) -> str:
        """The body as text."""
        ...

    def json(self) -> Any:  # whatever JSON holds
        """The body as JSON."""
        ...


@dataclass
class FakeReceipt:
    """A delivery report that has come, or never will."""

    receipt: Receipt | None

    def result(self, timeout: float | None = None) -> Receipt:  # noqa: ARG002  # as the Protocol has it
        """Give the report."""
        if self.receipt is None:
            msg = "no delivery report in time"
            raise NotPublishedError(msg)
        return self.receipt


@dataclass
class FakeEvents:
    """Kafka, as `POST /events` sees it; `refused` events get no delivery report."""

    published: list[Event] = field(default_factory=list)
    traces: list[bytes | None] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    offsets: Iterator[int] = field(default_factory=itertools.count)

    def publish(self, event: Event, *, traceparent: bytes | None = None) -> FakeReceipt:
        """Take an event."""
        if event.concept.id in self.refused:
            return FakeReceipt(None)
        self.published.append(event)
        self.traces.append(traceparent)
        topic = f"events.{event.concept.namespace}"
        return FakeReceipt(Receipt(topic=topic, partition=0, offset=next(self.offsets)))


@dataclass
class FakeProgress:
    """Where the routers are."""

    offset: int | None = None

    def committed_table_offset(self) -> int | None:
        """The offset as set."""
        return self.offset


@dataclass
class FakeBrokerClock:
    """The clock of a broker that is some seconds ahead; None where it cannot be read."""

    ms: int | None = 1_700_000_005_000

    def now_ms(self) -> int:
        """The time as set."""
        if self.ms is None:
            msg = "the broker's clock cannot be read: no acknowledgement"
            raise BrokerClockError(msg)
        return self.ms


@dataclass
class FakeDeadLetters:
    """The dead letters of one partition, and what was sent again, by job; `away` where Kafka does not answer."""

    dead_letters: list[FoundDeadLetter] = field(default_factory=list)
    resent: dict[str, list[Delivery]] = field(default_factory=dict)
    away: bool = False

    def find(self, query: DeadLetterQuery) -> DeadLetterPage:
        """Read on from where the query says."""
        self._check()
        found = [f for f in self.dead_letters if query.wants(f) and (query.after is None or f.place > query.after)]
        page = found[: query.limit]
        return DeadLetterPage(page, page[-1].place if len(found) > len(page) else None)

    def get(self, places: Sequence[DeadLetterPlace]) -> dict[DeadLetterPlace, FoundDeadLetter]:
        """Read some."""
        self._check()
        return {found.place: found for found in self.dead_letters if found.place in places}

    def resend(self, dead_letters: Sequence[FoundDeadLetter], *, job: str) -> None:
        """Take what can be sent."""
        if self.away:
            msg = "no delivery report in time"
            raise NotPublishedError(msg)
        self.resent[job] = [found.delivery for found in dead_letters if found.delivery is not None]

    def _check(self) -> None:
        if self.away:
            msg = "the dead letters cannot be read: no answer"
            raise DeadLettersUnavailableError(msg)


@dataclass
class FakeDeliveryLog:
    """What the logs hold, by delivery id; `away` where they cannot be searched."""

    found: dict[DeliveryId, FoundDelivery] = field(default_factory=dict)
    asked: list[WantedDelivery] = field(default_factory=list)
    away: bool = False

    def find(self, wanted: WantedDelivery) -> FoundDelivery:
        """Give what was put there, to its client alone."""
        self.asked.append(wanted)
        if self.away:
            msg = "the logs of deliveries cannot be searched now: no answer"
            raise LogSearchError(msg)
        found = self.found.get(wanted.id, FoundDelivery())
        if found.delivery is not None and wanted.client not in (None, found.delivery.client):
            return FoundDelivery()
        return found


@dataclass
class FakeDeliveryPublisher:
    """Kafka, as resends and pings see it."""

    sent: list[tuple[Delivery, str]] = field(default_factory=list)
    away: bool = False

    def publish(self, delivery: Delivery, *, job: str) -> None:
        """Take a delivery."""
        if self.away:
            msg = "deliveries.replay did not acknowledge in time"
            raise NotPublishedError(msg)
        self.sent.append((delivery, job))


@dataclass
class FakeBacklogs:
    """What is owed, as the test says; asks for the skips of every client it knows."""

    backlogs: Backlogs = field(default_factory=Backlogs)
    skips: Mapping[HookId, int] = field(default_factory=dict)
    trouble: str = ""

    def read(self, client: ClientId | None, not_before: NotBefore) -> Backlogs:
        """Give it, or one client's part of it."""
        if self.trouble:
            raise BacklogUnknownError(self.trouble)
        self.skips = not_before(self.backlogs.clients)
        hooks = {key: hook for key, hook in self.backlogs.hooks.items() if client in (None, hook.client)}
        health = {key: seen for key, seen in self.backlogs.health.items() if client in (None, key[0])}
        return replace(self.backlogs, hooks=hooks, health=health)


def api_dependencies(sessions: Sessions) -> ApiDependencies:
    """What the API is given, all of it fakes but the database."""
    return ApiDependencies(
        client_ids=IdKind.INTEGER,
        sessions=sessions,
        secret_box=BOX,
        now_ms=TestClock(),
        target_policy=TargetPolicy(addresses=PublicAddresses()),
        catalogue=Catalogue.shipped(),
        events=FakeEvents(),
        router_progress=FakeProgress(),
        broker_clock=FakeBrokerClock(),
        dead_letters=FakeDeadLetters(),
        delivery_log=FakeDeliveryLog(),
        delivery_publisher=FakeDeliveryPublisher(),
        sent_requests=SentRequests(BOX, TargetPolicy(addresses=PublicAddresses())),
        backlogs=FakeBacklogs(),
        readiness={},
        metrics=lambda: MetricsPage(content=b"hookstream_up 1\n", content_type="text/plain; version=0.0.4"),
    )


def unconnected_app(catalogue: Catalogue | None = None) -> FastAPI:
    """The API without a database: for what it says of itself."""
    deps = api_dependencies(open_sessions(open_database("sqlite://")))
    return create_app(deps if catalogue is None else replace(deps, catalogue=catalogue))


class DocumentedClient(TestClient):
    """A client that refuses an answer which is a problem that its route does not document."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(app, raise_server_exceptions=False)
        self._routes = app.state.api_routes

    def request(self, method: str, url: Any, **sent: Any) -> Any:
        """Send a request, and look at its answer."""
        answer = super().request(method, url, **sent)
        if answer.headers.get("content-type") == MEDIA_TYPE:
            undocumented = undocumented_problem(self._routes, method, answer.url.path, answer.json())
            assert not undocumented, undocumented
        return answer


def undocumented_problem(routes: Sequence[APIRoute], method: str, path: str, problem: Mapping[str, Any]) -> str:
    """What is wrong with a problem as an answer to this request; empty where its route names the type and status."""
    kind = problem["type"].rpartition(":")[2]
    status = HTTPStatus(problem["status"])
    if kind not in PROBLEM_TYPES:
        return f"{kind} is no type of problem"
    known = PROBLEM_TYPES[kind]
    if known.statuses and status not in known.statuses:
        return f"{kind} with the status {status.value}"
    route = next((each for each in routes if method in (each.methods or ()) and each.path_regex.fullmatch(path)), None)
    if route is None or kind in OF_ANY_ROUTE:
        return ""
    content = route.responses.get(status.value, {}).get("content", {}).get(MEDIA_TYPE, {})
    named = {example["value"]["type"] for example in content.get("examples", {}).values()}
    return "" if problem["type"] in named else f"{method} {route.path} does not document {status.value} {kind}"


class Api:
    """The API, callable without a socket, and everything that stands around it."""

    def __init__(self, database_url: str, *, embed: Sequence[str] = (), **changes: object) -> None:
        migrate(database_url)
        self.engine: Engine = open_database(database_url)
        self.sessions: Sessions = open_sessions(self.engine)
        self.clock = TestClock()
        self.events = FakeEvents()
        self.progress = FakeProgress()
        self.broker_clock = FakeBrokerClock()
        self.dead_letters = FakeDeadLetters()
        self.delivery_log = FakeDeliveryLog()
        self.delivery_publisher = FakeDeliveryPublisher()
        self.backlogs = FakeBacklogs()
        self.trouble: dict[str, str | None] = {"database": None}
        self.changes: list[None] = []
        deps = replace(
            api_dependencies(self.sessions),
            now_ms=self.clock,
            events=self.events,
            router_progress=self.progress,
            broker_clock=self.broker_clock,
            dead_letters=self.dead_letters,
            delivery_log=self.delivery_log,
            delivery_publisher=self.delivery_publisher,
            backlogs=self.backlogs,
            readiness={"database": lambda: self.trouble["database"]},
            changed=lambda: self.changes.append(None),
        )
        self.deps = replace(deps, **changes)  # type: ignore[arg-type]  # fields of the test's choice
        self.app = create_app(self.deps)
        if self.deps.portal:
            install_portal(self.app, self.deps, PortalConfig(embed=embed))
        self.http = DocumentedClient(self.app)

    def token(self, role: Role, client: int | str | None = None, *, expires_at_ms: int | None = None) -> str:
        """Issue a token."""
        request = TokenRequest(
            role=role,
            client=None if client is None else ClientId(str(client)),
            name="test",
            expires_at_ms=expires_at_ms,
        )
        return transact(self.sessions, lambda s: issue_token(s, request, actor="test", now_ms=self.clock())).token

    def integrator(self, client: int) -> Caller:
        """A client's own program."""
        return Caller(self.http, self.token(Role.INTEGRATOR, client))

    def operator(self) -> Caller:
        """An operator."""
        return Caller(self.http, self.token(Role.OPERATOR))

    def platform(self) -> Caller:
        """A platform service."""
        return Caller(self.http, self.token(Role.PLATFORM))

    def close(self) -> None:
        """Let the database go."""
        self.http.close()
        self.engine.dispose()


@dataclass
class Caller:
    """Someone with a token."""

    http: TestClient
    token: str

    def __call__(self, method: str, path: str, json: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request with the token."""
        with_token = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        return self.http.request(method, path, json=json, headers=with_token)

    def create(self, event: str = "lead.new", target: str = TARGET, **headers: str) -> Answer:
        """Register a hook."""
        return self("POST", "/hooks", {"hook": {"event": event, "target": target}}, headers)


def assert_problem(answer: Answer, status: int, kind: str) -> dict[str, Any]:
    """Check that an answer is a problem document of this kind, and give it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["type"], problem["status"]) == (f"urn:hookstream:problem:{kind}", status)
    assert problem["title"]
    assert problem["detail"]
    return problem
