"""`/endpoints/{endpoint}/attempts`: the requests that were made to one endpoint, for any of its hooks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from hookstream.schemas.control import parse_endpoint_id, target_digest
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.endpoints import hooks_of
from hookstream.subscriptions.errors import EndpointNotFoundError
from hookstream.subscriptions.models import Role

from .admission import Question
from .authentication import asking, principal_of, route_for
from .deliveries import AttemptPage
from .delivery_bodies import AttemptsAnswer
from .dependencies import ApiDependencies
from .ids import IdOfEndpoint
from .openapi import BEARER, problems


def endpoint_attempt_routes(deps: ApiDependencies) -> APIRouter:
    """What stands below an endpoint."""
    routes = route_for(deps, Role.INTEGRATOR, Role.OPERATOR)
    router = APIRouter(tags=["endpoints"], route_class=routes)

    @router.get(
        "/endpoints/{endpoint}/attempts",
        responses=problems(EndpointNotFoundError("434-4d1f6f0c2b6a9e11"), deps.admission.busy(Question.ATTEMPTS)),
        **BEARER,
    )
    def list_endpoint_attempts(
        endpoint: IdOfEndpoint, request: Request, page: Annotated[AttemptPage, Depends()]
    ) -> AttemptsAnswer:
        """List the requests that were made to an endpoint, for the hooks that have its target now, the newest first."""
        hooks = _hooks(endpoint, request, deps)
        with asking(deps, request, Question.ATTEMPTS):
            attempts, after = page.read(deps, principal_of(request).client, hooks=hooks)
        return AttemptsAnswer(attempts=attempts, next_cursor=after)

    return router


def _hooks(endpoint: str, request: Request, deps: ApiDependencies) -> list[HookId]:
    """The hooks that share an endpoint of the caller's.

    Raises:
        EndpointNotFoundError: none does, or they are another client's.
    """
    named, own = parse_endpoint_id(endpoint), principal_of(request).client
    if named is None or own not in (None, named[0]):
        raise EndpointNotFoundError(endpoint)
    client, digest = named
    with deps.reading() as session:
        hooks = [h.id for h in hooks_of(session, [client]) if not h.gone and target_digest(h.target) == digest]
    if not hooks:
        raise EndpointNotFoundError(endpoint)
    return hooks
