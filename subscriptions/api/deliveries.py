"""What became of deliveries: their attempts, one by its id, sending one again, and a ping."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Annotated, Final, Literal, TypeAlias

from fastapi import APIRouter, Depends, Path, Query, Request

from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.bounded import long_of
from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.event import ClientId
from hookstream.schemas.event_types import example_body
from hookstream.schemas.hook import Hook, HookId
from hookstream.schemas.ids import MAX_ID_CHARS
from hookstream.subscriptions.attempt_log import (
    AttemptQuery,
    LoggedAttempt,
    PagePosition,
    list_attempts,
    list_attempts_of,
)
from hookstream.subscriptions.deliveries import (
    Deliveries,
    DeliveryView,
    SentRequest,
    audit_sending,
    job_name,
    ping_of,
)
from hookstream.subscriptions.errors import (
    DeliveryExpiredError,
    DeliveryNotFoundError,
    HookDeletedError,
    HookDisabledError,
    HookNotFoundError,
    LogSearchError,
    NotPublishedError,
)
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.repository import HookRepository

from .admission import Question
from .authentication import asking, principal_of, route_for, scope_of
from .delivery_bodies import (
    AttemptAnswer,
    AttemptedConceptFields,
    AttemptFields,
    AttemptsAnswer,
    DeliveryAnswer,
    DeliveryDeadLetterFields,
    DeliveryFields,
    HeaderFields,
    HookIdFields,
    SentAnswer,
    SentFields,
    SentRequestFields,
)
from .delivery_headers import DELIVERY_HEADERS
from .dependencies import ApiDependencies
from .ids import asked_client, client_fields, shown_concept
from .openapi import BEARER, problems
from .paging import CursorParameter, decode_cursor, encode_cursor
from .problems import Fault, invalid

_MAX_LONG = 2**63 - 1
# An answer is up to 20 kB, so a page is up to 2 MB.
_MAX_PAGE = 100
_MAX_PAGE_WITHOUT_ANSWERS = 500
_DEFAULT_PAGE = 50

IdOfHook = Annotated[int, Path(ge=1, le=_MAX_LONG)]
IdOfDelivery = Annotated[str, Path(pattern=r"^msg_[0-9a-f]{32}$", description="The `webhook-id`.")]
StartOfAttempt = Annotated[int, Path(ge=0, lt=_MAX_LONG, description="when it began, Unix ms")]
OfClient = Annotated[
    str | None, Query(max_length=MAX_ID_CHARS, description="whose it is: for operators, a search is shorter with it")
]
_EXAMPLE_ID: Final = str(DELIVERY_HEADERS[0].example)
Outcome: TypeAlias = AttemptResult | Literal["failed"]


class AttemptPage:
    """The parameters by which attempts are filtered and paged."""

    def __init__(  # the framework reads one parameter an argument
        self,
        *,
        outcome: Annotated[
            Outcome | None, Query(description="how they ended; `failed` is everything but `delivered`")
        ] = None,
        from_ms: Annotated[int | None, Query(ge=0, le=_MAX_LONG, description="begun at or after then, Unix ms")] = None,
        to_ms: Annotated[int | None, Query(ge=0, le=_MAX_LONG, description="begun before then, Unix ms")] = None,
        limit: Annotated[
            int, Query(ge=1, le=_MAX_PAGE_WITHOUT_ANSWERS, description=f"with answers {_MAX_PAGE} at most")
        ] = _DEFAULT_PAGE,
        cursor: CursorParameter = None,
        answers: Annotated[bool, Query(description="whether to show the answers' bodies; else they are empty")] = True,
    ) -> None:
        """Take them as they were sent.

        Raises:
            ProblemError: 422, the page would be too long.
        """
        if answers and limit > _MAX_PAGE:
            raise invalid(Fault(parameter="limit", detail=f"is at most {_MAX_PAGE} with answers"))
        self.answers = answers
        self.outcome = outcome
        self.from_ms = from_ms
        self.to_ms = to_ms
        self.limit = limit
        self.after = decode_cursor(cursor, _position)

    def read(
        self,
        deps: ApiDependencies,
        client: ClientId | None,
        *,
        hooks: Collection[HookId] | None = None,
        delivery_id: DeliveryId | None = None,
    ) -> tuple[list[AttemptFields], str | None]:
        """One page, and where the next one begins; of any of `hooks`, where they are given."""
        query = AttemptQuery(
            client=client,
            delivery_id=delivery_id,
            failed=self.outcome == "failed",
            result=self.outcome if isinstance(self.outcome, AttemptResult) else None,
            from_ms=self.from_ms,
            to_ms=self.to_ms,
            after=self.after,
            limit=self.limit + 1,
            answers=self.answers,
        )
        with deps.reading() as session:
            found = list_attempts(session, query) if hooks is None else list_attempts_of(session, hooks, query)
        page = found[: self.limit]
        after = None
        if len(found) > self.limit:
            after = encode_cursor(f"{page[-1].attempt.started_at_ms}.{page[-1].row_id}")
        return [_fields(logged, deps) for logged in page], after


def attempt_routes(deps: ApiDependencies) -> APIRouter:
    """What stands below a hook."""
    routes = route_for(deps, Role.INTEGRATOR, Role.OPERATOR)
    router = APIRouter(tags=["deliveries"], route_class=routes)

    @router.get(
        "/hooks/{hook_id}/attempts",
        responses=problems(HookNotFoundError(17), deps.admission.busy(Question.ATTEMPTS)),
        **BEARER,
    )
    def list_hook_attempts(
        hook_id: IdOfHook, request: Request, page: Annotated[AttemptPage, Depends()]
    ) -> AttemptsAnswer:
        """List the requests that were made for a hook, the newest first; those of a deleted hook while they are kept.

        They are here a moment after they were made: the attempt log follows the deliveries.
        """
        client = principal_of(request).client
        with asking(deps, request, Question.ATTEMPTS):
            attempts, after = page.read(deps, client, hooks=[HookId(hook_id)])
        if not attempts:
            with deps.reading() as session:
                HookRepository(session, "", deps.now_ms()).get(hook_id, client=client)
        return AttemptsAnswer(attempts=attempts, next_cursor=after)

    @router.post(
        "/hooks/{hook_id}/ping",
        status_code=HTTPStatus.ACCEPTED,
        responses=problems(
            HookNotFoundError(17),
            HookDisabledError(17),
            deps.admission.busy(Question.ACKNOWLEDGEMENTS),
            NotPublishedError("deliveries.replay did not acknowledge in time"),
        ),
        **BEARER,
    )
    def ping_hook(hook_id: IdOfHook, request: Request) -> SentAnswer:
        """Send a hook's target a delivery that no event made: to see that it arrives, and is verified.

        It is the hook's own event, of concept 0, with an example of what such events have beside the ids, under an id
        of its own, with `hookstream-replay: ping-…`. What became of it is at `GET /deliveries/{id}`.
        """

        def body(hook: Hook, concept_id: str) -> bytes:
            latest = deps.source_schemas()
            return example_body(hook.event, deps.catalogue, latest, client=hook.client, concept_id=concept_id)

        with deps.reading() as session:
            delivery = ping_of(
                session,
                hook_id,
                client=principal_of(request).client,
                now_ms=deps.now_ms(),
                body=body,
            )
        with asking(deps, request, Question.ACKNOWLEDGEMENTS):
            return _send(deps, request, delivery, "ping")

    return router


def delivery_routes(deps: ApiDependencies) -> APIRouter:
    """One delivery."""
    routes = route_for(deps, Role.INTEGRATOR, Role.OPERATOR)
    router = APIRouter(tags=["deliveries"], route_class=routes)
    deliveries = Deliveries(deps.sessions, deps.delivery_log)
    searching = (
        DeliveryNotFoundError(_EXAMPLE_ID),
        deps.admission.busy(Question.DELIVERIES),
        LogSearchError("the logs of deliveries cannot be searched now: no answer"),
    )

    @router.get("/deliveries/{delivery_id}", responses=problems(*searching), **BEARER)
    def get_delivery(
        delivery_id: IdOfDelivery, request: Request, page: Annotated[AttemptPage, Depends()], client: OfClient = None
    ) -> DeliveryAnswer:
        """Say what became of a delivery, with its attempts, the newest first.

        One that is pending and was never attempted is searched in Kafka's log, which may take seconds. `unknown`: it
        was attempted, never successfully, and the logs do not say what came then.
        """
        with asking(deps, request, Question.DELIVERIES):
            view = deliveries.look_up(DeliveryId(delivery_id), client=scope_of(request, asked_client(client, deps)))
            attempts, after = page.read(deps, view.client, delivery_id=view.id)
        return DeliveryAnswer(delivery=_shown(view, deps), attempts=attempts, next_cursor=after)

    @router.get(
        "/deliveries/{delivery_id}/attempts/{started_at_ms}",
        responses=problems(*searching),
        **BEARER,
    )
    def get_attempt(delivery_id: IdOfDelivery, started_at_ms: StartOfAttempt, request: Request) -> AttemptAnswer:
        """Show one attempt with its request: every header, the body, and the text that was signed.

        The request is rebuilt from Kafka's log, which may take seconds: with the target and the secrets that the hook
        has now, and the second in which the attempt began.
        """
        query = AttemptQuery(
            client=principal_of(request).client,
            delivery_id=DeliveryId(delivery_id),
            from_ms=started_at_ms,
            to_ms=started_at_ms + 1,
            limit=1,
        )
        with asking(deps, request, Question.DELIVERIES):
            with deps.reading() as session:
                found = list_attempts(session, query)
            if not found:
                raise DeliveryNotFoundError(delivery_id)
            shown = deliveries.request_of(found[0].attempt, deps.sent_requests)
        return AttemptAnswer(
            attempt=_fields(found[0], deps),
            request=None if shown.request is None else _request_fields(shown.request),
            request_missing=shown.missing,
        )

    @router.post(
        "/deliveries/{delivery_id}/resend",
        status_code=HTTPStatus.ACCEPTED,
        responses=problems(
            *searching,
            DeliveryExpiredError(_EXAMPLE_ID),
            HookDisabledError(17),
            HookDeletedError(17),
            NotPublishedError("deliveries.replay did not acknowledge in time"),
        ),
        **BEARER,
    )
    def resend_delivery(delivery_id: IdOfDelivery, request: Request, client: OfClient = None) -> SentAnswer:
        """Send a delivery again, whatever became of it: with the same `webhook-id`, and `hookstream-replay: resend-…`.

        It waits until nothing of its resource is pending, so that it overtakes no first delivery.
        """
        with asking(deps, request, Question.DELIVERIES):
            record = deliveries.again(DeliveryId(delivery_id), client=scope_of(request, asked_client(client, deps)))
            return _send(deps, request, record, "resend")

    return router


def _send(deps: ApiDependencies, request: Request, delivery: Delivery, kind: str) -> SentAnswer:
    job = job_name(kind)
    audit_sending(deps.sessions, delivery, job=job, actor=principal_of(request).actor, now_ms=deps.now_ms())
    deps.delivery_publisher.publish(delivery, job=job)
    return SentAnswer(delivery=SentFields(id=delivery.id, hook=HookIdFields(id=delivery.hook_id), job=job))


def _position(text: str) -> PagePosition | None:
    first, _, second = text.partition(".")
    started_at_ms, row_id = long_of(first), long_of(second)
    return None if started_at_ms is None or row_id is None else PagePosition(started_at_ms, row_id)


def _fields(logged: LoggedAttempt, deps: ApiDependencies) -> AttemptFields:
    attempt = logged.attempt
    concept_id = shown_concept(attempt.concept_id, attempt.namespace, deps)
    return AttemptFields(
        delivery_id=attempt.delivery_id,
        hook=HookIdFields(id=attempt.hook_id),
        event=attempt.event,
        concept=AttemptedConceptFields(id=concept_id, namespace=attempt.namespace),
        number=attempt.number,
        probe=attempt.probe,
        replay=attempt.replay,
        started_at_ms=attempt.started_at_ms,
        duration_ms=attempt.duration_ms,
        outcome=attempt.result.value,
        status=attempt.status,
        answer=attempt.answer.decode(errors="replace"),
    )


def _request_fields(request: SentRequest) -> SentRequestFields:
    values, body = dict(request.headers), request.body.decode(errors="replace")
    return SentRequestFields(
        method="POST",
        url=request.url,
        headers=[HeaderFields(name=name, value=value) for name, value in request.headers],
        body=body,
        signed_text=f"{values['webhook-id']}.{values['webhook-timestamp']}.{body}",
    )


def _shown(view: DeliveryView, deps: ApiDependencies) -> DeliveryFields:
    dead_letter = view.dead_letter
    concept_id = shown_concept(view.concept_id, view.namespace, deps)
    return DeliveryFields(
        id=view.id,
        hook=HookIdFields(id=view.hook_id),
        client=client_fields(view.client, deps),
        event=view.event,
        concept=AttemptedConceptFields(id=concept_id, namespace=view.namespace),
        state=view.state.value,
        arrived_at_ms=None if view.record is None else view.record.arrived_ms,
        dead_letter=(
            None
            if dead_letter is None
            else DeliveryDeadLetterFields(
                reason=dead_letter.reason.value,
                detail=dead_letter.detail,
                died_at_ms=dead_letter.died_at_ms,
                status=dead_letter.last_status,
            )
        ),
    )
