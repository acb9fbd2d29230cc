"""What the API tells of deliveries and their attempts, on SQLite and on PostgreSQL."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.delivery import DeadLetterReason, Delivery, DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.attempt_log import LoggedAttempt, write_attempts
from hookstream.subscriptions.database import reading, transact
from hookstream.subscriptions.deliveries import FoundDelivery, LogPosition
from hookstream.subscriptions.models import AuditRow
from tests.support.subscriptions_api import TARGET, Api, Caller, assert_problem
from tests.support.values import ATTEMPT, DEAD_LETTER, DELIVERY, DELIVERY_ID

if TYPE_CHECKING:
    from collections.abc import Iterator


CLIENT = 434
ABSENT = "msg_" + "f" * 32


class Told:
    """An API, its integrator with a hook, and that hook's deliveries."""

    def __init__(self, database_url: str) -> None:
        self.api = Api(database_url)
        self.caller = self.api.integrator(CLIENT)
        hook = self.caller.create("property.updated").json()["hook"]
        self.hook_id, self.secret = HookId(hook["id"]), hook["secret"]
        self.delivery: Delivery = replace(
            DELIVERY, hook_id=self.hook_id, client=ClientId(str(CLIENT)), replay=None, live_end=0
        )

    def attempt(self, **changes: Any) -> None:
        """Log an attempt of the delivery."""
        attempt = replace(ATTEMPT, hook_id=self.hook_id, client=ClientId(str(CLIENT)), probe=False)
        logged = LoggedAttempt(replace(attempt, **changes), 0)
        transact(self.api.sessions, lambda session: write_attempts(session, [logged], ()))

    def in_log(self, **found: Any) -> None:
        """Let the logs hold the delivery."""
        self.api.delivery_log.found[DELIVERY_ID] = FoundDelivery(**{"delivery": self.delivery, **found})

    def get(self, path: str, caller: Caller | None = None) -> Any:  # whatever JSON holds
        """GET, and have it."""
        answer = (caller or self.caller)("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self) -> str:
        """What became of the delivery."""
        state: str = self.get(f"/deliveries/{DELIVERY_ID}")["delivery"]["state"]
        return state


@pytest.fixture
def told(any_database_url: str) -> Iterator[Told]:
    made = Told(any_database_url)
    yield made
    made.api.close()


def signature_of(secret: str, text: bytes) -> str:
    """As a receiver computes it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def test_attempts_of_a_hook_are_listed(told: Told) -> None:
    """The newest first, a page at a time, with everything but what the request held."""
    for number in range(1, 6):
        told.attempt(number=number, started_at_ms=1_000 * number)
    path = f"/hooks/{told.hook_id}/attempts?limit=2"
    first = told.get(path)
    second = told.get(f"{path}&cursor={first['next_cursor']}")
    third = told.get(f"{path}&cursor={second['next_cursor']}")
    pages = [[attempt["number"] for attempt in page["attempts"]] for page in (first, second, third)]
    assert pages == [[5, 4], [3, 2], [1]]
    assert third["next_cursor"] is None
    assert first["attempts"][0] == {
        "delivery_id": DELIVERY_ID,
        "hook": {"id": told.hook_id},
        "event": "property.updated",
        "concept": {"id": 888999, "namespace": "property"},
        "number": 5,
        "probe": False,
        "replay": None,
        "started_at_ms": 5_000,
        "duration_ms": 12.5,
        "outcome": "error-status",
        "status": 500,
        "answer": "\x00sorry",
    }


def test_attempts_are_filtered_by_outcome_and_time(told: Told) -> None:
    """`failed` is everything but delivered; a time is that of the attempt's start."""
    for number, result in enumerate((AttemptResult.DELIVERED, AttemptResult.TIMEOUT, AttemptResult.GONE)):
        told.attempt(number=number, started_at_ms=number, result=result)

    def numbers(query: str) -> list[int]:
        return [a["number"] for a in told.get(f"/hooks/{told.hook_id}/attempts?{query}")["attempts"]]

    assert numbers("outcome=failed") == [2, 1]
    assert numbers("outcome=timeout") == [1]
    assert numbers("outcome=delivered") == [0]
    assert numbers("from_ms=1&to_ms=2") == [1]
    for bad in ("outcome=whatever", "limit=101", "cursor=bm9uZQ", "cursor=", "from_ms=-1"):
        assert_problem(told.caller("GET", f"/hooks/{told.hook_id}/attempts?{bad}"), 422, "invalid-request")


def test_attempts_are_their_clients_alone(told: Told) -> None:
    """Another client finds neither hook nor delivery, with whatever client it says; operators see everyone's."""
    told.attempt()
    told.in_log()
    other = told.api.integrator(1)
    assert_problem(other("GET", f"/hooks/{told.hook_id}/attempts"), 404, "hook-not-found")
    assert_problem(other("GET", f"/deliveries/{DELIVERY_ID}"), 404, "delivery-not-found")
    assert_problem(other("GET", f"/deliveries/{DELIVERY_ID}?client={CLIENT}"), 403, "foreign-client")
    assert_problem(other("POST", f"/deliveries/{DELIVERY_ID}/resend"), 404, "delivery-not-found")
    assert_problem(other("POST", f"/hooks/{told.hook_id}/ping"), 404, "hook-not-found")
    assert told.api.delivery_publisher.sent == []
    operator = told.api.operator()
    assert len(told.get(f"/hooks/{told.hook_id}/attempts", operator)["attempts"]) == 1
    assert told.get(f"/deliveries/{DELIVERY_ID}", operator)["delivery"]["client"] == {"id": CLIENT}
    assert_problem(operator("GET", f"/deliveries/{DELIVERY_ID}?client=1"), 404, "delivery-not-found")


def test_attempts_of_a_deleted_hook_are_still_told(told: Told) -> None:
    """Whoever asks why deliveries failed has often deleted the hook; one without attempts is not there."""
    told.attempt()
    other = told.caller.create("lead.new").json()["hook"]["id"]
    for hook_id in (told.hook_id, other):
        assert told.caller("DELETE", f"/hooks/{hook_id}").status_code == 204
    assert len(told.get(f"/hooks/{told.hook_id}/attempts")["attempts"]) == 1
    assert_problem(told.caller("GET", f"/hooks/{other}/attempts"), 404, "hook-not-found")


def test_a_delivered_one_is_told_without_a_look_into_the_log(told: Told) -> None:
    """Delivered once is delivered, whatever a later replay met."""
    told.attempt(number=1)
    told.attempt(number=2, result=AttemptResult.DELIVERED, status=204)
    told.attempt(number=1, started_at_ms=ATTEMPT.started_at_ms + 1, replay="job-1")
    assert told.state() == "delivered"
    assert told.api.delivery_log.asked == []


def test_one_that_was_never_attempted_is_found_in_the_log(told: Told) -> None:
    """It is owed, with no attempts; of its own client alone the log is searched."""
    told.in_log()
    shown = told.get(f"/deliveries/{DELIVERY_ID}")
    assert shown == {
        "delivery": {
            "id": DELIVERY_ID,
            "hook": {"id": told.hook_id},
            "client": {"id": CLIENT},
            "event": "property.updated",
            "concept": {"id": 888999, "namespace": "property"},
            "state": "owed",
            "arrived_at_ms": DELIVERY.arrived_ms,
            "dead_letter": None,
        },
        "attempts": [],
        "next_cursor": None,
    }
    assert told.api.delivery_log.asked[0].client == str(CLIENT)
    assert_problem(told.caller("GET", f"/deliveries/{ABSENT}"), 404, "delivery-not-found")
    assert_problem(told.caller("GET", "/deliveries/whatever"), 422, "invalid-request")


def test_what_became_of_a_delivery(told: Told) -> None:
    """Owed while its hook is there, also disabled; cancelled with it; skipped by it; given up with a reason."""
    told.attempt()
    told.in_log()
    assert told.state() == "owed"
    assert told.api.delivery_log.asked[0].position == LogPosition(ATTEMPT.partition, ATTEMPT.offset)
    dead_letter = replace(
        DEAD_LETTER,
        delivery_id=DELIVERY_ID,
        reason=DeadLetterReason.SCHEDULE,
        died_at_ms=ATTEMPT.started_at_ms + 5,
        last_status=500,
    )
    told.in_log(dead_letter=dead_letter)
    shown = told.get(f"/deliveries/{DELIVERY_ID}")["delivery"]
    assert shown["state"] == "dead-lettered"
    assert shown["dead_letter"]["reason"] == "schedule"
    told.attempt(started_at_ms=ATTEMPT.started_at_ms + 9, replay="resend-1")  # since then it was sent again
    assert told.state() == "owed"
    told.in_log(delivery=None)
    assert told.state() == "unknown"
    told.in_log()
    told.caller("POST", f"/hooks/{told.hook_id}/disable")
    assert told.state() == "owed"
    told.api.broker_clock.ms = DELIVERY.arrived_ms + 1
    told.caller("POST", f"/hooks/{told.hook_id}/enable", {"backlog": "skip"})
    assert told.state() == "skipped"
    told.caller("DELETE", f"/hooks/{told.hook_id}")
    assert told.state() == "cancelled"


def test_logs_that_cannot_be_searched_are_said(told: Told) -> None:
    """What the attempt log knows is told without them; what it does not know is no 404."""
    told.api.delivery_log.away = True
    assert_problem(told.caller("GET", f"/deliveries/{DELIVERY_ID}"), 503, "log-search-unavailable")
    told.attempt()
    assert told.state() == "unknown"
    told.api.delivery_log.away = False
    told.api.delivery_log.found[DeliveryId(ABSENT)] = FoundDelivery(complete=False)
    assert_problem(told.caller("GET", f"/deliveries/{ABSENT}"), 503, "log-search-unavailable")


def test_a_delivery_is_sent_again(told: Told) -> None:
    """The same delivery, as a job of its own, audited; also after it was delivered."""
    told.attempt(result=AttemptResult.DELIVERED)
    told.in_log()
    answer = told.caller("POST", f"/deliveries/{DELIVERY_ID}/resend")
    assert answer.status_code == 202, answer.text
    sent = answer.json()["delivery"]
    ((delivery, job),) = told.api.delivery_publisher.sent
    assert delivery == told.delivery
    assert sent == {"id": DELIVERY_ID, "hook": {"id": told.hook_id}, "job": job}
    assert job.startswith("resend-")
    with reading(told.api.sessions) as session:
        row = session.scalars(select(AuditRow).where(AuditRow.action == "delivery.resend")).one()
    assert (row.client, row.hook_id, row.detail) == (str(CLIENT), told.hook_id, {"delivery": DELIVERY_ID, "job": job})


def test_what_cannot_be_sent_again_says_why(told: Told) -> None:
    """A delivery that no log holds, a hook that is disabled or gone, Kafka away: each is said, and nothing is sent."""
    resend = f"/deliveries/{DELIVERY_ID}/resend"
    assert_problem(told.caller("POST", resend), 404, "delivery-not-found")
    told.attempt()
    assert_problem(told.caller("POST", resend), 409, "delivery-expired")
    told.in_log()
    told.api.delivery_publisher.away = True
    assert_problem(told.caller("POST", resend), 503, "not-published")
    told.api.delivery_publisher.away = False
    told.caller("POST", f"/hooks/{told.hook_id}/disable")
    assert_problem(told.caller("POST", resend), 409, "hook-disabled")
    assert_problem(told.caller("POST", f"/hooks/{told.hook_id}/ping"), 409, "hook-disabled")
    told.caller("DELETE", f"/hooks/{told.hook_id}")
    assert_problem(told.caller("POST", resend), 409, "hook-deleted")
    assert_problem(told.caller("POST", f"/hooks/{told.hook_id}/ping"), 404, "hook-not-found")
    assert told.api.delivery_publisher.sent == []


def test_a_ping_is_marked_and_goes_to_its_hook(told: Told) -> None:
    """It is the hook's event about concept 0, under an id of its own, in a job that says ping."""
    first, second = (told.caller("POST", f"/hooks/{told.hook_id}/ping").json()["delivery"] for _ in range(2))
    assert first["id"] != second["id"]
    delivery, job = told.api.delivery_publisher.sent[0]
    assert job == first["job"]
    assert job.startswith("ping-")
    assert (delivery.id, delivery.hook_id, delivery.hook_revision) == (first["id"], told.hook_id, 1)
    assert (delivery.event, delivery.namespace, delivery.concept_id) == (EventName("property.updated"), "property", "0")


def test_platform_services_see_no_deliveries(told: Told) -> None:
    """Who may publish may not look."""
    platform = told.api.platform()
    assert_problem(platform("GET", f"/deliveries/{DELIVERY_ID}"), 403, "wrong-role")
    assert_problem(platform("GET", f"/hooks/{told.hook_id}/attempts"), 403, "wrong-role")
    assert TARGET not in platform("POST", f"/hooks/{told.hook_id}/ping").text


def test_an_attempt_is_shown_with_the_request_that_was_sent(told: Told) -> None:
    """Every header, the body, and the text that was signed; the signature is right with the hook's secret."""
    told.in_log()
    told.attempt(number=3, started_at_ms=1_795_463_750_999)
    shown = told.get(f"/deliveries/{DELIVERY_ID}/attempts/1795463750999")
    assert (shown["attempt"]["number"], shown["request_missing"]) == (3, None)
    request = shown["request"]
    headers = {each["name"]: each["value"] for each in request["headers"]}
    body = told.delivery.body.decode()
    assert (request["method"], request["url"], request["body"]) == ("POST", TARGET, body)
    assert headers["host"] == "example.com"
    assert headers["content-length"] == str(len(told.delivery.body))
    assert headers["hookstream-attempt"] == "3"
    assert "hookstream-replay" not in headers
    assert request["signed_text"] == f"{DELIVERY_ID}.1795463750.{body}"
    assert signature_of(told.secret, request["signed_text"].encode()) == headers["webhook-signature"]


def test_the_request_of_a_replay_says_so_and_is_found_without_a_position(told: Told) -> None:
    """A ping or a replay has its job among its headers; its record is searched in the log of replays too."""
    told.in_log()
    told.attempt(started_at_ms=5_000, replay="ping-1")
    shown = told.get(f"/deliveries/{DELIVERY_ID}/attempts/5000")
    assert {"name": "hookstream-replay", "value": "ping-1"} in shown["request"]["headers"]
    assert told.api.delivery_log.asked[-1].position is None


def test_why_a_request_cannot_be_shown_is_said_and_the_attempt_is(told: Told) -> None:
    """Its record has expired, the logs cannot be searched, its hook was deleted: the answer is there all the same."""
    path = f"/deliveries/{DELIVERY_ID}/attempts/5000"
    told.attempt(started_at_ms=5_000)

    def missing() -> str:
        shown = told.get(path)
        assert shown["request"] is None
        assert shown["attempt"]["status"] == 500
        reason: str = shown["request_missing"]
        return reason

    assert missing() == "expired"
    told.api.delivery_log.away = True
    assert missing() == "unknown"
    told.api.delivery_log.away = False
    told.in_log()
    told.caller("DELETE", f"/hooks/{told.hook_id}")
    assert missing() == "hook-deleted"


def test_the_request_of_an_attempt_is_its_clients_alone(told: Told) -> None:
    """Another client finds no such attempt, and neither does one who names another moment; operators see it."""
    told.in_log()
    told.attempt(started_at_ms=5_000)
    path = f"/deliveries/{DELIVERY_ID}/attempts"
    assert_problem(told.api.integrator(435)("GET", f"{path}/5000"), 404, "delivery-not-found")
    assert_problem(told.caller("GET", f"{path}/5001"), 404, "delivery-not-found")
    assert_problem(told.caller("GET", f"{path}/{2**63}"), 422, "invalid-request")
    assert told.get(f"{path}/5000", told.api.operator())["request"] is not None
