"""Replays: asked for with a form, counted, looked at, started, followed, paused and cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Final

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from hookstream.schemas.bounded import long_of
from hookstream.subscriptions.api.problems import Fault, Problem
from hookstream.subscriptions.api.replay_bodies import ReplayAnswer, ReplayFields, ReplaysAnswer
from hookstream.subscriptions.portal.calls import ApiProblemError, Call
from hookstream.subscriptions.portal.form_values import id_or_text, number_or_text, time_of
from hookstream.subscriptions.portal.navigation import EVERYONE
from hookstream.subscriptions.portal.visit import Screen, Visit

_PAGE: Final = 25
_HOOKS: Final = 100
_STATES: Final = ("counting", "planned", "running", "paused", "done", "cancelled", "failed")
_MOVING: Final = ("counting", "running")
# A stream ends by itself, and the browser asks again: so none outlives a session or a stop of the process by more.
_LOOKS: Final = 15
_FIELDS: Final = (
    "from",
    "to",
    "client",
    "hook_id",
    "event",
    "namespace",
    "concept_id",
    "source",
    "only",
    "rate_per_second",
    "rate_per_second_per_endpoint",
)
_CHANGES: Final = {"start": "running", "pause": "paused"}
_DONE: Final = {"start": "It runs.", "pause": "It pauses within some seconds.", "cancel": "It is cancelled."}
_DAY_CHARS: Final = len("2026-01-31T12:00")


async def list_replays(visit: Visit) -> Response:
    """One page of them, the newest first."""
    client, state = visit.query("client"), visit.query("state")
    call = Call.get("/replays", client=client, state=state, limit=_PAGE, cursor=visit.query("cursor"))
    answer = await visit.ask(ReplaysAnswer, call)
    return await visit.page(
        "replays.html",
        calls=[call],
        commands=["hookstream replay list"],
        replays=answer.replays,
        next_cursor=answer.next_cursor,
        states=_STATES,
        state=state,
        visit=visit,
    )


async def show_form(visit: Visit, *, problem: Problem | None = None) -> Response:
    """The form of a new replay; what is in the query, or was sent, stands in it."""
    values = {name: visit.form(name) or visit.query(name) or "" for name in _FIELDS}
    hours = long_of(visit.query("hours"))
    if hours is not None and not values["from"]:
        values["from"] = _input(visit.now_ms - min(hours, 10_000) * 3_600_000)
    return await visit.page(
        "new_replay.html",
        status=200 if problem is None else problem.status,
        calls=[Call.post("/replays", {"replay": {"from_ms": visit.now_ms - 3_600_000}})],
        commands=["hookstream replay --from 1h --dry-run"],
        values=values,
        problem=problem,
        visit=visit,
    )


async def create_replay(visit: Visit) -> Response:
    """Ask for a count; nothing is sent before it was looked at."""
    faults: list[Fault] = []
    body: dict[str, object] = {"from_ms": _time(visit, "from", faults)}
    if visit.form("to"):
        body["to_ms"] = _time(visit, "to", faults)
    if not faults:
        body |= {name: _value(name, visit.form(name)) for name in _FIELDS[2:] if visit.form(name)}
        try:
            answer = await visit.ask(ReplayAnswer, Call.post("/replays", {"replay": body}))
        except ApiProblemError as exc:
            return await show_form(visit, problem=exc.problem)
        return visit.redirect(f"/replays/{answer.replay.id}")
    detail = "a time is written as 2026-01-31T12:00, in UTC"
    return await show_form(
        visit, problem=Problem(type="", title="invalid request", status=422, detail=detail, errors=faults)
    )


async def show_replay(visit: Visit, *, problem: Problem | None = None) -> Response:
    """A replay: what was counted, how far it is, and what can be done with it now."""
    call = Call.get(f"/replays/{visit.path('replay')}")
    replay = (await visit.ask(ReplayAnswer, call)).replay
    return await visit.page(
        "replay.html",
        status=200 if problem is None else problem.status,
        calls=[call, *_next_calls(replay)],
        commands=[f"hookstream replay show {replay.id}", f"hookstream replay cancel {replay.id}"],
        replay=replay,
        hooks=[] if replay.count is None else replay.count.hooks[:_HOOKS],
        moving=replay.state in _MOVING,
        problem=problem,
        message=_DONE.get(visit.query("done") or ""),
        visit=visit,
    )


async def change_replay(visit: Visit, action: str) -> Response:
    """Start, pause or cancel it."""
    path = f"/replays/{visit.path('replay')}"
    try:
        if action == "cancel":
            await visit.do(Call(method="DELETE", path=path))
        else:
            await visit.do(Call(method="PATCH", path=path, body={"replay": {"state": _CHANGES[action]}}))
    except ApiProblemError as exc:
        if exc.status in (404, 503):
            raise
        return await show_replay(visit, problem=exc.problem)
    return visit.redirect(path, done=action)


async def follow_replay(visit: Visit) -> Response:
    """A stream of its progress for as long as it is in the state that the page shows, or half a minute."""
    visit.streams.check()
    call = Call.get(f"/replays/{visit.path('replay')}")
    first = (await visit.ask(ReplayAnswer, call)).replay
    return EventSourceResponse(_progress(visit, call, first, visit.query("seen")))


async def _progress(visit: Visit, call: Call, replay: ReplayFields, seen: str | None) -> AsyncIterator[ServerSentEvent]:
    with visit.streams.enter():
        for _ in range(_LOOKS):
            if replay.state != seen:
                yield ServerSentEvent(event="end", data="")
                return
            fragment = await visit.fragment("replay_progress.html", replay=replay)
            yield ServerSentEvent(event="fragment", data=fragment)
            await visit.streams.wait()
            try:
                replay = (await visit.ask(ReplayAnswer, call)).replay
            except ApiProblemError:  # the answer has begun, so it cannot say what is wrong: the browser asks again
                return


def _next_calls(replay: ReplayFields) -> list[Call]:
    path = f"/replays/{replay.id}"
    if replay.state in ("planned", "paused"):
        return [Call(method="PATCH", path=path, body={"replay": {"state": "running"}})]
    return [Call(method="PATCH", path=path, body={"replay": {"state": "paused"}})] if replay.state == "running" else []


def _time(visit: Visit, name: str, faults: list[Fault]) -> int | None:
    """A time of a form, which is in UTC, as Unix milliseconds."""
    at_ms = time_of(visit.form(name))
    if at_ms is None:
        faults.append(Fault(parameter=name, detail="is no time"))
    return at_ms


def _input(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()[:_DAY_CHARS]


def _value(name: str, text: str) -> object:
    """A field as JSON."""
    if name == "hook_id":
        return id_or_text(text)
    return number_or_text(text) if name.startswith("rate_") else text


REPLAY_SCREENS = (
    Screen(path="/replays", view=list_replays, roles=EVERYONE),
    Screen(path="/replays", view=create_replay, roles=EVERYONE, method="POST"),
    Screen(path="/replays/new", view=show_form, roles=EVERYONE),
    Screen(path="/replays/{replay}", view=show_replay, roles=EVERYONE),
    Screen(path="/replays/{replay}/progress", view=follow_replay, roles=EVERYONE),
    *(
        Screen(
            path=f"/replays/{{replay}}/{action}",
            view=partial(change_replay, action=action),
            roles=EVERYONE,
            method="POST",
        )
        for action in _DONE
    ),
)
