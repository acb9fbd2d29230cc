"""`/hooks`: integrators see and change their client's hooks, operators every client's."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import APIRouter, Header, Path, Query, Request, Response

from hookstream.schemas.bounded import long_of
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookState
from hookstream.subscriptions.changes import StoredHook
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.registration import Registered, register_hook
from hookstream.subscriptions.repository import HookChange, HookQuery, HookRepository, NewHook, RateLimit
from hookstream.subscriptions.secret_rotation import Rotated, RotationRequest, rotate_secret
from hookstream.subscriptions.target_policy import normalise_target

from .admission import Question
from .authentication import asking, principal_of, route_for, scope_of
from .bodies import (
    CreatedHookAnswer,
    CreatedHookFields,
    EffectiveHookFields,
    EnableBody,
    HookAnswer,
    HookChangeBody,
    HookChangeFields,
    HookFields,
    HooksAnswer,
    NewHookBody,
    RotatedHookAnswer,
    RotatedHookFields,
)
from .dependencies import ApiDependencies
from .entity_tags import IfMatch, entity_tag, tag, tagged
from .ids import ClientQuery, asked_client, client_fields
from .openapi import BEARER, problems
from .paging import CursorParameter, decode_cursor, encode_cursor

_MAX_LONG = 2**63 - 1
_MAX_PAGE = 500
_DEFAULT_PAGE = 100

IdOfHook = Annotated[int, Path(ge=1, le=_MAX_LONG)]
# Visible ASCII, and what a database index takes.
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]


def registration_routes(deps: ApiDependencies) -> APIRouter:
    """`POST /hooks`, for integrators: a hook belongs to the client of the token that made it."""
    router = APIRouter(tags=["hooks"], route_class=route_for(deps, Role.INTEGRATOR))

    @router.post(
        "/hooks",
        status_code=HTTPStatus.CREATED,
        responses=tagged(HTTPStatus.CREATED) | problems(400, 401, 403, 409, 413, 415, 422, 503),
        **BEARER,
    )
    def create_hook(
        body: NewHookBody, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> CreatedHookAnswer:
        """Register the endpoint of one event. The secret that signs its deliveries is shown in this answer alone.

        With an `Idempotency-Key`, the same body within 24 hours gets the first answer again, secret included.
        """
        principal = principal_of(request)
        new = NewHook(
            client=cast("ClientId", principal.client),
            event=deps.catalogue.require(body.hook.event),
            target=normalise_target(body.hook.target, deps.target_policy),
        )
        registered = register_hook(
            deps.sessions,
            deps.secret_box,
            new,
            actor=principal.actor,
            now_ms=deps.now_ms,
            idempotency_key=idempotency_key,
        )
        deps.changed()
        response.headers["Location"] = f"/hooks/{registered.hook_id}"
        if registered.revision is not None:
            response.headers["ETag"] = entity_tag(registered.revision)
        response.headers["Cache-Control"] = "no-store"
        if registered.repeated:
            response.headers["Idempotent-Replayed"] = "true"
        return _created(registered, deps)

    return router


def hook_routes(deps: ApiDependencies) -> APIRouter:
    """What is done with hooks that exist."""
    routes = route_for(deps, Role.INTEGRATOR, Role.OPERATOR)
    router = APIRouter(tags=["hooks"], route_class=routes)

    @router.get("/hooks", responses=problems(401, 403, 422, 503), **BEARER)
    def list_hooks(
        request: Request,
        *,
        client: ClientQuery = None,
        event: Annotated[str | None, Query(description="of this event alone")] = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _DEFAULT_PAGE,
        cursor: CursorParameter = None,
    ) -> HooksAnswer:
        """List hooks in the order of their creation."""
        query = HookQuery(
            client=scope_of(request, asked_client(client, deps)),
            event=None if event is None else EventName(deps.catalogue.require(event)),
            after=decode_cursor(cursor, long_of) or 0,
            limit=limit + 1,
        )
        with deps.reading() as session:
            found = HookRepository(session, "", deps.now_ms()).list(query)
        page = found[:limit]
        more = len(found) > limit
        return HooksAnswer(
            hooks=[_fields(hook, deps) for hook in page],
            next_cursor=encode_cursor(str(page[-1].hook.id)) if more else None,
        )

    @router.get("/hooks/{hook_id}", responses=tagged(HTTPStatus.OK) | problems(401, 403, 404, 422, 503), **BEARER)
    def get_hook(hook_id: IdOfHook, request: Request, response: Response) -> HookAnswer:
        """Show a hook. `effective` is true once every router works by it: later events will be delivered by it.

        Send its `ETag` as `If-Match` with a change, and nothing is changed that you have not seen.
        """
        return _shown(_read(request, deps, hook_id), deps, response)

    @router.patch(
        "/hooks/{hook_id}",
        responses=tagged(HTTPStatus.OK) | problems(400, 401, 403, 404, 412, 413, 415, 422, 503),
        **BEARER,
    )
    def change_hook(
        hook_id: IdOfHook, body: HookChangeBody, request: Request, response: Response, condition: IfMatch
    ) -> HookAnswer:
        """Give a hook another target or rate limit. Its id, its secret and the order of its deliveries stay.

        What is pending goes to the new target, once what is under way to the old one has ended.
        """
        change = _change(body.hook, deps)
        stored = _write(
            request, deps, lambda hooks, client: hooks.change(hook_id, change, client=client, condition=condition)
        )
        return _shown(stored, deps, response)

    @router.post(
        "/hooks/{hook_id}/disable", responses=tagged(HTTPStatus.OK) | problems(401, 403, 404, 412, 422, 503), **BEARER
    )
    def disable_hook(hook_id: IdOfHook, request: Request, response: Response, condition: IfMatch) -> HookAnswer:
        """Stop the deliveries of a hook. Events that arrive meanwhile stay pending, for as long as Kafka has them."""
        stored = _write(request, deps, lambda hooks, client: hooks.disable(hook_id, client=client, condition=condition))
        return _shown(stored, deps, response)

    @router.post(
        "/hooks/{hook_id}/enable",
        responses=tagged(HTTPStatus.OK) | problems(400, 401, 403, 404, 412, 413, 415, 422, 429, 503),
        **BEARER,
    )
    def enable_hook(
        hook_id: IdOfHook, body: EnableBody, request: Request, response: Response, condition: IfMatch
    ) -> HookAnswer:
        """Deliver again, also where an endpoint was given up (410, or five days of failure).

        `resume` delivers everything that is pending, in order; `skip` begins with what arrives from now on.
        """
        not_before_ms = None
        if body.backlog == "skip":
            _read(request, deps, hook_id)  # Kafka is not asked about another client's hook
            with asking(deps, request, Question.ACKNOWLEDGEMENTS):
                not_before_ms = deps.broker_clock.now_ms()
        stored = _write(
            request,
            deps,
            lambda hooks, client: hooks.enable(
                hook_id, client=client, not_before_ms=not_before_ms, condition=condition
            ),
        )
        return _shown(stored, deps, response)

    @router.post(
        "/hooks/{hook_id}/secret/rotate",
        responses=tagged(HTTPStatus.OK) | problems(401, 403, 404, 409, 422, 503),
        **BEARER,
    )
    def rotate_hook_secret(
        hook_id: IdOfHook, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> RotatedHookAnswer:
        """Give a hook a new secret, which is shown in this answer alone.

        For 24 hours every delivery is signed with the old secret too (Standard Webhooks: several signatures, separated
        by spaces), so that a receiver changes over when it likes. With an `Idempotency-Key`, the same request within 24
        hours gets the first answer again, secret included.
        """
        principal = principal_of(request)
        rotated = rotate_secret(
            deps.sessions,
            deps.secret_box,
            RotationRequest(hook_id=hook_id, client=principal.client, idempotency_key=idempotency_key),
            actor=principal.actor,
            now_ms=deps.now_ms,
        )
        deps.changed()
        response.headers["Cache-Control"] = "no-store"
        tag(response, rotated.stored)
        if rotated.repeated:
            response.headers["Idempotent-Replayed"] = "true"
        return _rotated(rotated, deps)

    @router.delete(
        "/hooks/{hook_id}",
        status_code=HTTPStatus.NO_CONTENT,
        responses=problems(401, 403, 404, 412, 422, 503),
        **BEARER,
    )
    def delete_hook(hook_id: IdOfHook, request: Request, condition: IfMatch) -> Response:
        """Delete a hook. Its pending deliveries are cancelled."""
        _write(request, deps, lambda hooks, client: hooks.delete(hook_id, client=client, condition=condition))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


def _read(request: Request, deps: ApiDependencies, hook_id: int) -> StoredHook:
    with deps.reading() as session:
        return HookRepository(session, "", deps.now_ms()).get(hook_id, client=principal_of(request).client)


def _write(
    request: Request, deps: ApiDependencies, work: Callable[[HookRepository, ClientId | None], StoredHook]
) -> StoredHook:
    """Do `work` in a transaction, for the client whose hooks may be touched (None: any), and wake the relay."""
    principal = principal_of(request)
    stored = transact(
        deps.sessions,
        lambda session: work(HookRepository(session, principal.actor, deps.now_ms()), principal.client),
    )
    deps.changed()
    return stored


def _change(fields: HookChangeFields, deps: ApiDependencies) -> HookChange:
    """What was sent, judged as in a creation."""
    return HookChange(
        target=normalise_target(fields.target, deps.target_policy) if fields.target else None,
        rate_limit=(
            RateLimit(fields.rate_limit_per_second) if "rate_limit_per_second" in fields.model_fields_set else None
        ),
    )


def _rotated(rotated: Rotated, deps: ApiDependencies) -> RotatedHookAnswer:
    hook = rotated.stored.hook
    return RotatedHookAnswer(
        hook=RotatedHookFields(
            id=hook.id,
            event=hook.event,
            target=hook.target,
            client=client_fields(hook.client, deps),
            secret=rotated.secret,
            old_secrets_until_ms=rotated.old_until_ms,
        )
    )


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


def _shown(stored: StoredHook, deps: ApiDependencies, response: Response) -> HookAnswer:
    tag(response, stored)
    effective = stored.effective(deps.router_progress.committed_table_offset())
    return HookAnswer(hook=EffectiveHookFields(**dict(_fields(stored, deps)), effective=effective))


def _fields(stored: StoredHook, deps: ApiDependencies) -> HookFields:
    hook = stored.hook
    return HookFields(
        id=hook.id,
        event=hook.event,
        target=hook.target,
        client=client_fields(hook.client, deps),
        state="enabled" if hook.state is HookState.ENABLED else "disabled",
        disabled_reason=None if stored.disabled_reason is None else stored.disabled_reason.value,
        not_before_ms=hook.not_before_ms or None,
        rate_limit_per_second=hook.rate_limit_per_s,
        created_at_ms=stored.created_at_ms,
        updated_at_ms=stored.updated_at_ms,
    )
