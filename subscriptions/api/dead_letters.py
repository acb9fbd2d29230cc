"""`/dead-letters`: what could not be delivered, and sending it again; integrators see their client's, operators all."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from hookstream.schemas.delivery import DeadLetterReason
from hookstream.subscriptions.dead_letters import DeadLetterPlace, DeadLetterQuery, FoundDeadLetter, resend_dead_letters
from hookstream.subscriptions.errors import DeadLettersUnavailableError, NotPublishedError
from hookstream.subscriptions.models import Role

from .admission import Question
from .authentication import asking, principal_of, route_for, scope_of
from .dead_letter_bodies import (
    DEAD_LETTER_ID,
    DeadLetterAnswer,
    DeadLetterFields,
    DeadLettersAnswer,
    ResendBody,
    ResentAnswer,
    UnfitFields,
    WholeDeadLetterFields,
)
from .dependencies import ApiDependencies
from .ids import ClientQuery, asked_client, shown_client, shown_concept
from .openapi import BEARER, problems
from .paging import CursorParameter, decode_cursor, encode_cursor
from .problems import ProblemError

_MAX_LONG = 2**63 - 1
_MAX_MS = 253_402_300_799_999  # the year 9999
_MAX_PAGE = 500
_DEFAULT_PAGE = 100

Number = Annotated[int | None, Query(ge=0, le=_MAX_LONG)]
Time = Annotated[int | None, Query(ge=0, le=_MAX_MS, description="Unix milliseconds")]


def dead_letter_routes(deps: ApiDependencies) -> APIRouter:
    """Reading and sending again."""
    routes = route_for(deps, Role.INTEGRATOR, Role.OPERATOR)
    router = APIRouter(tags=["dead letters"], route_class=routes)
    unavailable = DeadLettersUnavailableError("the dead letters cannot be read: no answer")
    reading = problems(deps.admission.busy(Question.DEAD_LETTERS), unavailable)

    @router.get("/dead-letters", responses=reading, **BEARER)
    def list_dead_letters(  # noqa: PLR0913 - the framework reads one parameter an argument
        request: Request,
        *,
        client: ClientQuery = None,
        hook: Number = None,
        event: Annotated[str | None, Query(description="of this event alone")] = None,
        reason: DeadLetterReason | None = None,
        since_ms: Time = None,
        until_ms: Time = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _DEFAULT_PAGE,
        cursor: CursorParameter = None,
    ) -> DeadLettersAnswer:
        """List dead letters by partition, in each from the oldest on. A page may be short, and not the last one."""
        query = DeadLetterQuery(
            client=scope_of(request, asked_client(client, deps)),
            hook_id=hook,
            event=None if event is None else deps.catalogue.require(event),
            reason=reason,
            since_ms=since_ms,
            until_ms=until_ms,
            after=decode_cursor(cursor, _position),
            limit=limit,
        )
        with asking(deps, request, Question.DEAD_LETTERS):
            page = deps.dead_letters.find(query)
        return DeadLettersAnswer(
            dead_letters=[DeadLetterFields(**_fields(found, deps)) for found in page.dead_letters],
            next_cursor=None if page.after is None else encode_cursor(page.after.id),
        )

    @router.get("/dead-letters/{dead_letter}", responses=reading | problems(_no_dead_letter()), **BEARER)
    def get_dead_letter(
        dead_letter: Annotated[str, Path(pattern=DEAD_LETTER_ID)], request: Request
    ) -> DeadLetterAnswer:
        """Show a dead letter, with the start of its last answer."""
        place = _place(dead_letter)
        with asking(deps, request, Question.DEAD_LETTERS):
            found = _own(deps.dead_letters.get([place]).get(place), request)
        if found is None:
            raise _no_dead_letter()
        answer = found.dead_letter.last_answer.decode(errors="replace")
        return DeadLetterAnswer(dead_letter=WholeDeadLetterFields(**_fields(found, deps), last_answer=answer))

    @router.post(
        "/dead-letters/resend",
        status_code=HTTPStatus.ACCEPTED,
        responses=reading
        | problems(
            _nothing_to_resend("there is no such dead letter"),
            unavailable,
            NotPublishedError("deliveries.replay did not acknowledge in time"),
        ),
        **BEARER,
    )
    def resend_dead_letters(body: ResendBody, request: Request) -> ResentAnswer:
        """Send dead letters again, with the same `webhook-id`s, after what is routed by now.

        They stay among the dead letters. An event that could not be read then, and can be now, is routed as a
        new one. What cannot be read is named with the reason; the rest is sent.
        """
        with asking(deps, request, Question.DEAD_LETTERS):
            return _resend(body, request, deps)

    return router


def _resend(body: ResendBody, request: Request, deps: ApiDependencies) -> ResentAnswer:
    fit: list[FoundDeadLetter] = []
    unfit: list[UnfitFields] = []
    dead_letters = deps.dead_letters.get([_place(dead_letter_id) for dead_letter_id in body.ids])
    for dead_letter_id in body.ids:
        found = _own(dead_letters.get(_place(dead_letter_id)), request)
        if found is None:
            unfit.append(UnfitFields(id=dead_letter_id, detail="there is no such dead letter"))
        elif not found.resendable:
            unfit.append(UnfitFields(id=dead_letter_id, detail=found.unfit or "it cannot be read"))
        else:
            fit.append(found)
    if not fit:
        raise _nothing_to_resend(unfit[0].detail)
    actor = principal_of(request).actor
    job = resend_dead_letters(deps.sessions, deps.dead_letters, fit, actor=actor, now_ms=deps.now_ms)
    return ResentAnswer(job=job, resent=[found.place.id for found in fit], unfit=unfit)


def _no_dead_letter() -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "dead-letter-not-found", "there is no such dead letter")


def _nothing_to_resend(first: str) -> ProblemError:
    detail = f"none of them can be sent again; the first: {first}"
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "nothing-to-resend", detail)


def _own(found: FoundDeadLetter | None, request: Request) -> FoundDeadLetter | None:
    """The dead letter, unless it is another client's: the caller cannot tell which."""
    own = principal_of(request).client
    return None if found is None or own not in (None, found.dead_letter.client) else found


def _position(text: str) -> DeadLetterPlace | None:
    return None if re.fullmatch(DEAD_LETTER_ID, text) is None else _place(text)


def _place(dead_letter_id: str) -> DeadLetterPlace:
    partition, _, offset = dead_letter_id.partition("-")
    return DeadLetterPlace(int(partition), int(offset))


def _fields(found: FoundDeadLetter, deps: ApiDependencies) -> dict[str, Any]:
    dead_letter, delivery, event = found.dead_letter, found.delivery, found.event
    concept_id = None if event is None else event.concept.id
    if delivery is not None:
        concept_id = shown_concept(delivery.concept_id, delivery.namespace, deps)
    return {
        "id": found.place.id,
        "reason": dead_letter.reason,
        "detail": dead_letter.detail,
        "client": shown_client(dead_letter.client, deps),
        "hook_id": dead_letter.hook_id,
        "delivery_id": dead_letter.delivery_id,
        "event": found.event_name,
        "concept_id": concept_id,
        "position": f"{dead_letter.topic}:{dead_letter.partition}:{dead_letter.offset}",
        "died_at_ms": dead_letter.died_at_ms,
        "kept_at_ms": found.kept_at_ms,
        "last_status": dead_letter.last_status,
        "resendable": found.resendable,
        "unfit": found.unfit,
    }
