"""`/audit`: who did what, when; operators see everything, integrators what was done to their client's things."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from hookstream.schemas.bounded import long_of
from hookstream.subscriptions.audit import AuditEntry, AuditPosition, AuditQuery, list_audit
from hookstream.subscriptions.models import Role

from .admission import Question
from .audit_bodies import AuditAnswer, AuditFields
from .authentication import asking, principal_of, route_for, scope_of
from .delivery_bodies import HookIdFields
from .dependencies import ApiDependencies
from .ids import ClientQuery, asked_client, client_fields
from .openapi import BEARER, problems
from .paging import CursorParameter, decode_cursor, encode_cursor

_MAX_LONG = 2**63 - 1
_MAX_MS = 253_402_300_799_999  # the year 9999
_MAX_PAGE = 500
_DEFAULT_PAGE = 100
_MAX_ACTOR_CHARS = 250
_MAX_ACTION_CHARS = 60
# PostgreSQL has no text with a NUL, and no row has a control character.
_TEXT = r"^[^\x00-\x1f\x7f]*$"

Time = Annotated[int | None, Query(ge=0, le=_MAX_MS, description="Unix milliseconds")]


def audit_routes(deps: ApiDependencies) -> APIRouter:
    """Reading the audit; nothing changes it."""
    routes = route_for(deps, Role.INTEGRATOR, Role.OPERATOR)
    router = APIRouter(tags=["audit"], route_class=routes)

    @router.get("/audit", responses=problems(deps.admission.busy(Question.AUDIT)), **BEARER)
    def show_audit(  # noqa: PLR0913 - the framework reads one parameter an argument
        request: Request,
        *,
        client: ClientQuery = None,
        hook: Annotated[int | None, Query(ge=1, le=_MAX_LONG, description="about this hook alone")] = None,
        actor: Annotated[
            str | None,
            Query(max_length=_MAX_ACTOR_CHARS, pattern=_TEXT, description="as the audit shows it, or `token:<id>`"),
        ] = None,
        action: Annotated[
            str | None, Query(max_length=_MAX_ACTION_CHARS, pattern=_TEXT, examples=["hook.create"])
        ] = None,
        since_ms: Time = None,
        until_ms: Time = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _DEFAULT_PAGE,
        cursor: CursorParameter = None,
    ) -> AuditAnswer:
        """List who did what, the newest first. Operators see everything, integrators what concerns their client."""
        query = AuditQuery(
            viewer=principal_of(request).client,
            client=scope_of(request, asked_client(client, deps)),
            hook_id=hook,
            actor=actor,
            action=action,
            since_ms=since_ms,
            until_ms=until_ms,
            after=decode_cursor(cursor, _position),
            limit=limit + 1,
        )
        with asking(deps, request, Question.AUDIT), deps.reading() as session:
            found = list_audit(session, query)
        page = found[:limit]
        more = len(found) > limit
        return AuditAnswer(
            audit=[_fields(entry, deps) for entry in page],
            next_cursor=encode_cursor(f"{page[-1].at_ms}.{page[-1].row_id}") if more else None,
        )

    return router


def _position(text: str) -> AuditPosition | None:
    first, _, second = text.partition(".")
    at_ms, row_id = long_of(first), long_of(second)
    return None if at_ms is None or row_id is None else AuditPosition(at_ms, row_id)


def _fields(entry: AuditEntry, deps: ApiDependencies) -> AuditFields:
    return AuditFields(
        id=entry.row_id,
        at_ms=entry.at_ms,
        actor=entry.actor,
        action=entry.action,
        client=None if entry.client is None else client_fields(entry.client, deps),
        event=entry.event,
        hook=None if entry.hook_id is None else HookIdFields(id=entry.hook_id),
        detail=dict(entry.detail),
    )
