"""`POST /hooks`: integrators register events of their client, one or many at once; operators those of any client."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Body, Header, Request, Response
from fastapi.openapi.models import Example

from hookstream.schemas.errors import UnknownEventError
from hookstream.schemas.event import ClientId, EventName
from hookstream.subscriptions.errors import (
    HookExistsError,
    HooksExistError,
    IdempotencyConflictError,
    InvalidTargetError,
)
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.registration import (
    NewHooks,
    Registered,
    RegisteredHooks,
    register_hook,
    register_hooks,
)
from hookstream.subscriptions.repository import NewHook
from hookstream.subscriptions.target_policy import normalise_target
from hookstream.subscriptions.target_url import Target

from .authentication import foreign_client, principal_of, route_for, scope_of
from .dependencies import ApiDependencies
from .entity_tags import entity_tag, tagged
from .ids import client_fields
from .openapi import BEARER, problems, raised
from .problems import MAX_FAULTS, Fault, invalid, no_such_event
from .registration_bodies import (
    EVERY_EVENT,
    CreatedHookAnswer,
    CreatedHookFields,
    CreatedHooksAnswer,
    NewHookFields,
    NewHooksBody,
    NewHooksFields,
    RegisteredHookFields,
    RegistrationBody,
)

# Visible ASCII, and what a database index takes.
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
_TARGET: Final = "https://example.com/hooks"
_EXAMPLES: Final = {
    "one event": Example(value={"hook": {"event": "lead.new", "target": "https://example.com/create-lead"}}),
    "some events, one secret": Example(value={"hooks": {"events": ["lead.new", "lead.updated"], "target": _TARGET}}),
    "every event": Example(value={"hooks": {"events": [EVERY_EVENT], "target": _TARGET}}),
    "by an operator": Example(value={"hook": {"event": "lead.new", "target": _TARGET, "client": 434}}),
}


def registration_routes(deps: ApiDependencies) -> APIRouter:
    """A hook belongs to the client of the token that made it, or to the one that an operator names."""
    routes = route_for(deps, Role.INTEGRATOR, Role.OPERATOR)
    router = APIRouter(tags=["hooks"], route_class=routes)
    example = next(iter(deps.catalogue.event_names))

    @router.post(
        "/hooks",
        status_code=HTTPStatus.CREATED,
        responses=tagged(HTTPStatus.CREATED)
        | problems(
            HookExistsError(17),
            HooksExistError({example: 17}),
            foreign_client(),
            raised(normalise_target, "ftp://example.com", deps.target_policy),
            raised(deps.catalogue.require, "no.event"),
            IdempotencyConflictError(),
        ),
        **BEARER,
    )
    def create_hook(
        body: Annotated[RegistrationBody, Body(openapi_examples=_EXAMPLES)],
        request: Request,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> CreatedHookAnswer | CreatedHooksAnswer:
        """Register the endpoint of one event, or of many. The secret that signs is shown in this answer alone.

        With `hooks` every event gets a hook, all under one secret, or none does: where some have hooks, 409 names
        them. With an `Idempotency-Key`, the same body within 24 hours gets the first answer again, secret included.
        """
        answer: CreatedHookAnswer | CreatedHooksAnswer
        if isinstance(body, NewHooksBody):
            many = _register_many(body.hooks, request, deps, idempotency_key)
            repeated, answer = many.repeated, _created_many(many, deps)
        else:
            one = _register_one(body.hook, request, deps, idempotency_key)
            repeated, answer = one.repeated, _created(one, deps)
            response.headers["Location"] = f"/hooks/{one.hook_id}"
            if one.revision is not None:
                response.headers["ETag"] = entity_tag(one.revision)
        deps.changed()
        response.headers["Cache-Control"] = "no-store"
        if repeated:
            response.headers["Idempotent-Replayed"] = "true"
        return answer

    return router


def _register_one(fields: NewHookFields, request: Request, deps: ApiDependencies, key: str | None) -> Registered:
    new = NewHook(
        client=_client_of(request, fields.client, "#/hook", deps),
        event=deps.catalogue.require(fields.event),
        target=normalise_target(fields.target, deps.target_policy),
    )
    return register_hook(
        deps.sessions,
        deps.secret_box,
        new,
        actor=principal_of(request).actor,
        now_ms=deps.now_ms,
        idempotency_key=key,
        secret=fields.secret,
    )


def _register_many(fields: NewHooksFields, request: Request, deps: ApiDependencies, key: str | None) -> RegisteredHooks:
    new = NewHooks(
        client=_client_of(request, fields.client, "#/hooks", deps),
        events=_events(fields.events, deps),
        target=_target(fields.target, deps),
    )
    return register_hooks(
        deps.sessions,
        deps.secret_box,
        new,
        actor=principal_of(request).actor,
        now_ms=deps.now_ms,
        idempotency_key=key,
        secret=fields.secret,
    )


def _client_of(request: Request, sent: object, place: str, deps: ApiDependencies) -> ClientId:
    """Whose hooks they will be.

    Raises:
        ProblemError: 422, it is no client, or an operator named none; 403, it is not the token's.
    """
    if sent is not None and not deps.client_ids.takes(deps.client_ids.read(sent)):
        raise invalid(Fault(pointer=f"{place}/client", detail=f"is not {deps.client_ids.meaning}"))
    client = scope_of(request, None if sent is None else ClientId(str(sent)))
    if client is None:
        raise invalid(Fault(pointer=f"{place}/client", detail="is needed: an operator's token belongs to no client"))
    return client


def _target(sent: str, deps: ApiDependencies) -> Target:
    try:
        return normalise_target(sent, deps.target_policy)
    except InvalidTargetError as exc:
        raise invalid(Fault(pointer="#/hooks/target", detail=f"the target {exc}")) from None


def _events(sent: Sequence[str], deps: ApiDependencies) -> tuple[EventName, ...]:
    """The events, each of the catalogue and named once.

    Raises:
        ProblemError: 422 with the places of those that are not.
    """
    if list(sent) == [EVERY_EVENT]:
        return deps.catalogue.domain_names
    faults: list[Fault] = []
    events: dict[EventName, None] = {}
    for index, text in enumerate(sent):
        place = f"#/hooks/events/{index}"
        try:
            name = deps.catalogue.require(text)
        except UnknownEventError as exc:
            detail = "stands for every event, and alone" if text == EVERY_EVENT else no_such_event(exc)
            faults.append(Fault(pointer=place, detail=detail))
        else:
            if name in events:
                faults.append(Fault(pointer=place, detail="is there twice"))
            events[name] = None
        if len(faults) == MAX_FAULTS:
            break
    if faults:
        raise invalid(*faults)
    return tuple(events)


def _created(registered: Registered, deps: ApiDependencies) -> CreatedHookAnswer:
    return CreatedHookAnswer(
        hook=CreatedHookFields(
            id=registered.hook_id,
            event=registered.event,
            target=registered.target,
            client=client_fields(registered.client, deps),
            secret=registered.secret,
        )
    )


def _created_many(registered: RegisteredHooks, deps: ApiDependencies) -> CreatedHooksAnswer:
    client = client_fields(registered.client, deps)
    return CreatedHooksAnswer(
        hooks=[
            RegisteredHookFields(id=hook_id, event=event, target=registered.target, client=client)
            for event, hook_id in registered.hook_ids.items()
        ],
        secret=registered.secret,
    )
