"""`/hooks`: integrators see and change their client's hooks, operators every client's."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from hookstream.schemas.bounded import long_of
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookState
from hookstream.subscriptions.changes import StoredHook
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.errors import (
    BrokerClockError,
    HookChangedError,
    HookNotFoundError,
)
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.repository import HookChange, HookQuery, HookRepository, RateLimit
from hookstream.subscriptions.target_policy import normalise_target

from .admission import Question
from .authentication import asking, principal_of, route_for, scope_of
from .bodies import (
    EffectiveHookFields,
    EnableBody,
    HookAnswer,
    HookChangeBody,
    HookChangeFields,
    HookFields,
    HooksAnswer,
)
from .dependencies import ApiDependencies
from .entity_tags import IfMatch, tag, tagged
from .ids import ClientQuery, asked_client, client_fields
from .openapi import BEARER, problems, raised
from .paging import CursorParameter, decode_cursor, encode_cursor

_MAX_LONG = 2**63 - 1
_EXAMPLE_MS = 1_795_550_400_000
_MAX_PAGE = 500
_DEFAULT_PAGE = 100

IdOfHook = Annotated[int, Path(ge=1, le=_MAX_LONG)]


def hook_routes(deps: ApiDependencies) -> APIRouter:
    """What is done with hooks that exist."""
    routes = route_for(deps, Role.INTEGRATOR, Role.OPERATOR)
    router = APIRouter(tags=["hooks"], route_class=routes)

    @router.get("/hooks", **BEARER)
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

    @router.get("/hooks/{hook_id}", responses=tagged(HTTPStatus.OK) | problems(HookNotFoundError(17)), **BEARER)
    def get_hook(hook_id: IdOfHook, request: Request, response: Response) -> HookAnswer:
        """Show a hook. `effective` is true once every router works by it: later events will be delivered by it.

        Send its `ETag` as `If-Match` with a change, and nothing is changed that you have not seen.
        """
        return _shown(_read(request, deps, hook_id), deps, response)

    @router.patch(
        "/hooks/{hook_id}",
        responses=tagged(HTTPStatus.OK)
        | problems(
            HookNotFoundError(17),
            HookChangedError(17, 4),
            raised(normalise_target, "ftp://example.com", deps.target_policy),
        ),
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
        "/hooks/{hook_id}/disable",
        responses=tagged(HTTPStatus.OK) | problems(HookNotFoundError(17), HookChangedError(17, 4)),
        **BEARER,
    )
    def disable_hook(hook_id: IdOfHook, request: Request, response: Response, condition: IfMatch) -> HookAnswer:
        """Stop the deliveries of a hook. Events that arrive meanwhile stay pending, for as long as Kafka has them."""
        stored = _write(request, deps, lambda hooks, client: hooks.disable(hook_id, client=client, condition=condition))
        return _shown(stored, deps, response)

    @router.post(
        "/hooks/{hook_id}/enable",
        responses=tagged(HTTPStatus.OK)
        | problems(
            HookNotFoundError(17),
            HookChangedError(17, 4),
            deps.admission.busy(Question.ACKNOWLEDGEMENTS),
            BrokerClockError("the broker's clock cannot be read: no acknowledgement"),
        ),
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

    @router.delete(
        "/hooks/{hook_id}",
        status_code=HTTPStatus.NO_CONTENT,
        responses=problems(HookNotFoundError(17), HookChangedError(17, 4)),
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
