"""`POST /portal/links`: the platform's own site lets one person of a client into the portal, without a token."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from hookstream.schemas.event import ClientId
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.portal_sessions import create_link

from .authentication import principal_of, route_for
from .bodies import AnyId
from .dependencies import ApiDependencies
from .openapi import BEARER, problems
from .problems import Fault, ProblemError, invalid

_SHORTEST_S = 10
_LONGEST_S = 3600
_DEFAULT_S = 300


class PortalLinkRequestFields(BaseModel):
    """Whose hooks the portal shows, and for how long the link can be used, once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client: AnyId
    lifetime_seconds: Annotated[int, Field(strict=True, ge=_SHORTEST_S, le=_LONGEST_S)] = _DEFAULT_S


class PortalLinkBody(BaseModel):
    """`POST /portal/links`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    link: PortalLinkRequestFields


class PortalLinkFields(BaseModel):
    """A link: put the address at which browsers find this API before `path`. Its session lasts twelve hours at most."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(examples=["/portal/enter/C2FVsBQIhrscChlQIMVb5sSYspob7oDx0y4Qe1dH9wk"])
    expires_at_ms: int


class PortalLinkAnswer(BaseModel):
    """201 of `POST /portal/links`."""

    model_config = ConfigDict(frozen=True)

    link: PortalLinkFields


def portal_link_routes(deps: ApiDependencies) -> APIRouter:
    """For the platform's services, and operators."""
    routes = route_for(deps, Role.PLATFORM, Role.OPERATOR)
    router = APIRouter(tags=["portal"], route_class=routes)

    @router.post(
        "/portal/links",
        status_code=HTTPStatus.CREATED,
        responses=problems(_portal_off()),
        **BEARER,
    )
    def create_portal_link(body: PortalLinkBody, request: Request) -> PortalLinkAnswer:
        """Make a link that lets one person into the portal, once, as an integrator of this client.

        Whoever has the link gets in: hand it out over https, to the person alone. Revoking the token that made it ends
        its session.
        """
        if not deps.portal:
            raise _portal_off()
        if not deps.client_ids.takes(deps.client_ids.read(body.link.client)):
            raise invalid(Fault(pointer="#/link/client", detail=f"is not {deps.client_ids.meaning}"))
        principal, client = principal_of(request), ClientId(str(body.link.client))
        issued = transact(
            deps.sessions,
            lambda session: create_link(
                session, principal, client, lifetime_s=body.link.lifetime_seconds, now_ms=deps.now_ms()
            ),
        )
        fields = PortalLinkFields(path=f"/portal/enter/{issued.key}", expires_at_ms=issued.expires_at_ms)
        return PortalLinkAnswer(link=fields)

    return router


def _portal_off() -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "portal-off", "this deployment serves no portal")
