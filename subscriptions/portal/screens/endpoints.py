"""Endpoints, those with a problem first."""

from __future__ import annotations

from starlette.responses import Response

from hookstream.subscriptions.api.bodies import EndpointsAnswer
from hookstream.subscriptions.choices import EndpointState
from hookstream.subscriptions.portal.calls import Call
from hookstream.subscriptions.portal.navigation import EVERYONE
from hookstream.subscriptions.portal.visit import Screen, Visit

_PAGE = 50


async def list_endpoints(visit: Visit) -> Response:
    """One page of them, the oldest backlog first."""
    client, state, sort = visit.query("client"), visit.query("state"), visit.query("sort")
    call = Call.get("/endpoints", client=client, state=state, sort=sort, limit=_PAGE, cursor=visit.query("cursor"))
    answer = await visit.ask(EndpointsAnswer, call)
    options = [f"--client {client}"] if client and visit.is_operator else []
    options += [f"--state {state}"] if state else []
    return await visit.page(
        "endpoints.html",
        calls=[call],
        commands=[" ".join(["hookstream lag", *options])],
        answer=answer,
        states=list(EndpointState),
        state=state,
        client=client,
        sort=sort,
        visit=visit,
    )


ENDPOINT_SCREENS = (Screen(path="/endpoints", view=list_endpoints, roles=EVERYONE),)
