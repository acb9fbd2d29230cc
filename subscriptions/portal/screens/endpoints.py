"""Endpoints, those with a problem first, and one endpoint with what operators want of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from starlette.responses import Response

from hookstream.subscriptions.api.bodies import (
    EndpointAnswer,
    EndpointsAnswer,
    EndpointSettingsAnswer,
    EndpointSettingsFields,
)
from hookstream.subscriptions.api.delivery_bodies import AttemptsAnswer
from hookstream.subscriptions.api.problems import Problem
from hookstream.subscriptions.choices import EndpointState
from hookstream.subscriptions.portal.calls import ApiProblemError, Call
from hookstream.subscriptions.portal.navigation import EVERYONE, OPERATORS
from hookstream.subscriptions.portal.timeline import draw, draw_trend
from hookstream.subscriptions.portal.visit import Screen, Visit

_PAGE: Final = 50
_DRAWN: Final = 400
_ERRORS: Final = 10
# What is done with an endpoint: the API's action, and what the page says then.
_DONE: Final[Mapping[str, str]] = {
    "pause": "It is paused: what arrives stays pending.",
    "resume": "It is served again: its backlog first, in order.",
    "retry-now": "Whatever waits for a time is tried now.",
    "drain": "Its backlog goes to the dead letters, from where it can be resent.",
    "skip": "The delivery goes to the dead letters when its turn comes.",
}


async def list_endpoints(visit: Visit) -> Response:
    """One page of them, the worst first."""
    client, state, sort = visit.query("client"), visit.query("state"), visit.query("sort")
    query = {"client": client, "state": state, "sort": sort, "limit": _PAGE}
    call = Call.get("/endpoints", **query, cursor=visit.query("cursor"), totals="true")
    answer = await visit.ask(EndpointsAnswer, call)
    options = [f"--client {client}"] if client and visit.is_operator else []
    options += [f"--state {state}"] if state else []
    return await visit.page(
        "endpoints.html",
        calls=[call],
        commands=[" ".join(["hookstream lag", *options])],
        answer=answer,
        totals=answer.totals,
        trend=draw_trend((answer.totals and answer.totals.trend) or []),
        states=list(EndpointState),
        client=client,
        sort=sort,
        visit=visit,
    )


async def show_endpoint(visit: Visit, *, problem: Problem | None = None) -> Response:
    """One endpoint: its backlog, its attempts, its last errors, and what operators want of it."""
    name = visit.path("endpoint")
    call = Call.get(f"/endpoints/{name}")
    endpoint = (await visit.ask(EndpointAnswer, call)).endpoint
    attempts_call = Call.get(f"/endpoints/{name}/attempts", limit=_DRAWN, answers="false")
    errors_call = Call.get(f"/endpoints/{name}/attempts", limit=_ERRORS, outcome="failed")
    trouble = None
    try:
        attempts = (await visit.ask(AttemptsAnswer, attempts_call)).attempts
        errors = (await visit.ask(AttemptsAnswer, errors_call)).attempts
    except ApiProblemError as exc:  # no hook has this target any more, or the log is slow: the rest is worth showing
        attempts, errors, trouble = [], [], exc.problem.detail
    settings, settings_call = None, Call.get(f"/endpoints/{name}/settings")
    if visit.is_operator and endpoint.target is not None:
        settings = await _settings(visit, settings_call)
    done = visit.query("done")
    return await visit.page(
        "endpoint.html",
        status=200 if problem is None else problem.status,
        calls=[call, attempts_call, *([] if settings is None else [settings_call])],
        commands=[
            f"hookstream lag --client {endpoint.client.id}",
            *([f"hookstream pause {name} --reason '…'"] if visit.is_operator else []),
        ],
        endpoint=endpoint,
        settings=settings,
        drawing=draw(attempts),
        errors=errors,
        trouble=trouble,
        problem=problem,
        message=_DONE.get(done or ""),
        reason=visit.form("reason"),
        delivery=visit.form("delivery"),
        visit=visit,
    )


async def show_drain(visit: Visit, *, problem: Problem | None = None) -> Response:
    """What a drain would move: a dry run, before the button that does it."""
    name = visit.path("endpoint")
    call = Call.get(f"/endpoints/{name}")
    answer = await visit.ask(EndpointAnswer, call)
    return await visit.page(
        "drain.html",
        status=200 if problem is None else problem.status,
        calls=[call, Call.post(f"/endpoints/{name}/drain", {"reason": "…"})],
        commands=[f"hookstream drain {name} --reason '…' --dry-run", f"hookstream drain {name} --reason '…'"],
        endpoint=answer.endpoint,
        problem=problem,
        reason=visit.form("reason"),
    )


async def change_endpoint(visit: Visit, action: str) -> Response:
    """Let an endpoint be paused, resumed, tried at once, drained, or let it skip one delivery."""
    name = visit.path("endpoint")
    body = {"reason": visit.form("reason")}
    if action == "skip":
        body["delivery"] = visit.form("delivery")
    try:
        await visit.do(Call.post(f"/endpoints/{name}/{action}", body))
    except ApiProblemError as exc:
        if exc.status in (404, 503):
            raise
        show = show_drain if action == "drain" else show_endpoint
        return await show(visit, problem=exc.problem)
    return visit.redirect(f"/endpoints/{name}", done=action)


async def _settings(visit: Visit, call: Call) -> EndpointSettingsFields | None:
    try:
        return (await visit.ask(EndpointSettingsAnswer, call)).settings
    except ApiProblemError:  # the last hook of this target is gone, and no operator ever wanted anything
        return None


ENDPOINT_SCREENS = (
    Screen(path="/endpoints", view=list_endpoints, roles=EVERYONE),
    Screen(path="/endpoints/{endpoint}", view=show_endpoint, roles=EVERYONE),
    Screen(path="/endpoints/{endpoint}/drain", view=show_drain, roles=OPERATORS),
    *(
        Screen(
            path=f"/endpoints/{{endpoint}}/{action}",
            view=partial(change_endpoint, action=action),
            roles=OPERATORS,
            method="POST",
        )
        for action in _DONE
    ),
)
