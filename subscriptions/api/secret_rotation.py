"""`…/secret/rotate`: a new secret for one hook, or for all hooks of an endpoint."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request, Response

from hookstream.schemas.control import parse_endpoint_id
from hookstream.subscriptions.endpoint_settings import EndpointKey
from hookstream.subscriptions.errors import (
    EndpointNotFoundError,
    HookNotFoundError,
    IdempotencyConflictError,
    TooManySecretsError,
)
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.secret_rotation import (
    EndpointRotated,
    Rotated,
    RotationRequest,
    rotate_endpoint_secret,
    rotate_secret,
)

from .authentication import principal_of, route_for
from .dependencies import ApiDependencies
from .entity_tags import tag, tagged
from .hooks import IdOfHook
from .ids import IdOfEndpoint, client_fields
from .openapi import BEARER, problems
from .registration import IdempotencyKey
from .registration_bodies import (
    RotatedEndpointAnswer,
    RotatedEndpointFields,
    RotatedHookAnswer,
    RotatedHookFields,
    RotatedHookOfEndpointFields,
)

_CONFLICTS: Final = (TooManySecretsError(17, 1_795_550_400_000), IdempotencyConflictError())


def secret_rotation_routes(deps: ApiDependencies) -> APIRouter:
    """Integrators rotate their client's secrets, operators every client's."""
    router = APIRouter(route_class=route_for(deps, Role.INTEGRATOR, Role.OPERATOR))

    @router.post(
        "/hooks/{hook_id}/secret/rotate",
        tags=["hooks"],
        responses=tagged(HTTPStatus.OK) | problems(HookNotFoundError(17), *_CONFLICTS),
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
        tag(response, rotated.stored)
        _finish(response, deps, repeated=rotated.repeated)
        return _rotated(rotated, deps)

    @router.post(
        "/endpoints/{endpoint}/secret/rotate",
        tags=["endpoints"],
        responses=problems(EndpointNotFoundError("434-4d1f6f0c2b6a9e11"), *_CONFLICTS),
        **BEARER,
    )
    def rotate_endpoint_secrets(
        endpoint: IdOfEndpoint, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> RotatedEndpointAnswer:
        """Give all hooks of an endpoint one new secret, which is shown in this answer alone.

        For 24 hours every delivery is signed with its hook's old secret too. All hooks get the new one, or none. With
        an `Idempotency-Key`, the same request within 24 hours gets the first answer again, secret included.
        """
        principal, found = principal_of(request), parse_endpoint_id(endpoint)
        if found is None or principal.client not in (None, found[0]):
            raise EndpointNotFoundError(endpoint)
        key = EndpointKey(*found)
        rotated = rotate_endpoint_secret(
            deps.sessions,
            deps.secret_box,
            key,
            actor=principal.actor,
            now_ms=deps.now_ms,
            idempotency_key=idempotency_key,
        )
        _finish(response, deps, repeated=rotated.repeated)
        return _endpoint_rotated(key, rotated, deps)

    return router


def _finish(response: Response, deps: ApiDependencies, *, repeated: bool) -> None:
    deps.changed()
    response.headers["Cache-Control"] = "no-store"
    if repeated:
        response.headers["Idempotent-Replayed"] = "true"


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


def _endpoint_rotated(key: EndpointKey, rotated: EndpointRotated, deps: ApiDependencies) -> RotatedEndpointAnswer:
    hooks = [stored.hook for stored in rotated.hooks]
    return RotatedEndpointAnswer(
        endpoint=RotatedEndpointFields(
            id=key.id,
            client=client_fields(key.client, deps),
            target=hooks[0].target,
            hooks=[RotatedHookOfEndpointFields(id=hook.id, event=hook.event) for hook in hooks],
            secret=rotated.secret,
            old_secrets_until_ms=rotated.old_until_ms,
        )
    )
