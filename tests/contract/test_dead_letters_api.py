"""Dead letters at the API: who sees which, and what is sent again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from hookstream.schemas.delivery import DeadLetter, DeadLetterReason, DeliveryId
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.database import reading
from hookstream.subscriptions.dead_letters import DeadLetterPlace, FoundDeadLetter
from hookstream.subscriptions.models import AuditRow
from tests.support import values
from tests.support.subscriptions_api import Api, Caller

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def api(sqlite_url: str) -> Iterator[Api]:
    made = Api(sqlite_url)
    made.dead_letters.dead_letters = [
        dead_letter(0, client=434, hook=1),
        dead_letter(1, client=434, hook=2, reason=DeadLetterReason.SKIPPED),
        dead_letter(2, client=9999, hook=3),
        replace(dead_letter(3, client=None, hook=None), delivery=None, unfit="its schema is unknown"),
    ]
    yield made
    made.close()


def dead_letter(
    offset: int, *, client: int | None, hook: int | None, reason: DeadLetterReason = DeadLetterReason.SCHEDULE
) -> FoundDeadLetter:
    """A dead letter of a delivery."""
    made: DeadLetter = replace(
        values.DEAD_LETTER,
        reason=reason,
        client=None if client is None else ClientId(str(client)),
        hook_id=None if hook is None else HookId(hook),
        last_answer=b"no",
    )
    delivery = replace(values.DELIVERY, id=DeliveryId(f"msg_{offset}"))
    return FoundDeadLetter(DeadLetterPlace(0, offset), made, 1_700_000_000_000, delivery)


def ids(caller: Caller, query: str = "") -> list[str]:
    """List the dead letters that a caller sees."""
    answer = caller("GET", f"/dead-letters?{query}")
    assert answer.status_code == 200, answer.text
    return [found["id"] for found in answer.json()["dead_letters"]]


def resend(caller: Caller, *dead_letters: str) -> dict[str, Any]:
    """Send dead letters again."""
    answer = caller("POST", "/dead-letters/resend", {"ids": list(dead_letters)})
    assert answer.status_code == 202, answer.text
    resent: dict[str, Any] = answer.json()
    return resent


def test_everybody_sees_their_own(api: Api) -> None:
    """Operators see every dead letter, integrators their client's alone, and of others not even that they exist."""
    operator, integrator = api.operator(), api.integrator(434)
    assert ids(operator) == ["0-0", "0-1", "0-2", "0-3"]
    assert ids(integrator) == ids(operator, "client=434") == ["0-0", "0-1"]
    assert integrator("GET", "/dead-letters?client=9999").status_code == 403
    assert integrator("GET", "/dead-letters/0-2").status_code == 404
    assert integrator("GET", "/dead-letters/0-3").status_code == 404
    assert api.platform()("GET", "/dead-letters").status_code == 403
    assert resend(integrator, "0-2", "0-0")["resent"] == ["0-0"]


def test_dead_letters_are_filtered_and_paged(api: Api) -> None:
    """Filters hold together; a page says where the next one begins."""
    operator = api.operator()
    assert ids(operator, "hook=2") == ids(operator, "reason=skipped&client=434") == ["0-1"]
    assert ids(operator, "event=property.updated&hook=3") == ["0-2"]
    page = operator("GET", "/dead-letters?limit=3").json()
    assert ids(operator, f"cursor={page['next_cursor']}") == ["0-3"]
    assert operator("GET", "/dead-letters?cursor=x").status_code == 422
    assert operator("GET", "/dead-letters?event=no.such").status_code == 422


def test_a_dead_letter_shows_its_last_answer_and_whether_it_can_be_resent(api: Api) -> None:
    """One dead letter is shown whole, but for the record's bytes."""
    operator = api.operator()
    shown = operator("GET", "/dead-letters/0-0").json()["dead_letter"]
    assert (shown["last_answer"], shown["resendable"], shown["event"]) == ("no", True, "property.updated")
    unread = operator("GET", "/dead-letters/0-3").json()["dead_letter"]
    assert (unread["resendable"], unread["unfit"]) == (False, "its schema is unknown")
    assert operator("GET", "/dead-letters/7-7").status_code == 404
    assert operator("GET", "/dead-letters/x").status_code == 422


def test_what_can_be_resent_is_and_the_rest_is_named(api: Api) -> None:
    """A resend keeps the order it was given, says what does not fit, and is audited before anything is sent."""
    operator = api.operator()
    resent = resend(operator, "0-1", "0-3", "0-0", "5-5")
    assert resent["resent"] == ["0-1", "0-0"]
    assert [unfit["id"] for unfit in resent["unfit"]] == ["0-3", "5-5"]
    assert [d.id for d in api.dead_letters.resent[resent["job"]]] == ["msg_1", "msg_0"]
    nothing = operator("POST", "/dead-letters/resend", {"ids": ["0-3"]})
    assert (nothing.status_code, nothing.json()["type"]) == (422, "urn:hookstream:problem:nothing-to-resend")
    with reading(api.sessions) as session:
        (row,) = session.scalars(select(AuditRow).where(AuditRow.action == "dead-letters.resend")).all()
        assert (row.client, row.detail) == ("434", {"job": resent["job"], "dead_letters": ["0-1", "0-0"]})


def test_kafka_away_is_said(api: Api) -> None:
    """Where Kafka does not answer, the answer is 503, and nothing is taken for sent."""
    api.dead_letters.away = True
    for method, path, body in (
        ("GET", "/dead-letters", None),
        ("GET", "/dead-letters/0-0", None),
        ("POST", "/dead-letters/resend", {"ids": ["0-0"]}),
    ):
        answer = api.operator()(method, path, body)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:hookstream:problem:dead-letters-unavailable")
