"""Hooks: the list, one of them with its settings, adding several, and what is done with one."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Literal

from starlette.responses import Response

from hookstream.subscriptions.api.bodies import HookAnswer, HooksAnswer
from hookstream.subscriptions.api.delivery_bodies import AttemptsAnswer, SentAnswer
from hookstream.subscriptions.api.problems import Problem
from hookstream.subscriptions.api.registration_bodies import CreatedHooksAnswer, RotatedHookAnswer
from hookstream.subscriptions.portal.calls import ApiProblemError, Call
from hookstream.subscriptions.portal.navigation import EVERYONE, INTEGRATORS
from hookstream.subscriptions.portal.visit import Screen, Visit

from .events import groups_of, known_events

_PAGE = 50
_LAST_ATTEMPTS = 5
# A test event is looked for among so many of the newest attempts; each may have an answer of 20 kB.
_NEWEST = 20
_CHANGED = (
    "Someone changed this hook after you opened the page that you sent from. Nothing was done. This page shows the hook"
    " as it is now: look at it, and decide again."
)


async def list_hooks(visit: Visit) -> Response:
    """One page of them, in the order of their creation."""
    client, event = visit.query("client"), visit.query("event")
    call = Call.get("/hooks", client=client, event=event, limit=_PAGE, cursor=visit.query("cursor"))
    answer = await visit.ask(HooksAnswer, call)
    options = [f"--client {client}"] if client and visit.is_operator else []
    options += [f"--event {event}"] if event else []
    command = " ".join(["hookstream hooks list", *options])
    return await visit.page(
        "hooks.html", calls=[call], commands=[command], answer=answer, client=client, event=event, visit=visit
    )


async def new_hooks(visit: Visit) -> Response:
    """The form for several."""
    return await _new(visit)


async def _new(visit: Visit, *, problem: Problem | None = None, status: int = 200) -> Response:
    chosen = visit.fields.get("event") or [event for event in (visit.query("event"),) if event]
    return await visit.page(
        "new_hooks.html",
        status=status,
        calls=[Call.post("/hooks", {"hooks": {"events": list(chosen), "target": visit.form("target")}})],
        groups=groups_of(await known_events(visit)),
        chosen=chosen,
        target=visit.form("target"),
        problem=problem,
        # Loading the answer again shows the same secret again, and registers nothing.
        once=visit.form("once") or secrets.token_urlsafe(16),
    )


async def add_hooks(visit: Visit) -> Response:
    """Register them, and show the secret of all of them once."""
    body = {"hooks": {"events": list(visit.fields.get("event", [])), "target": visit.form("target")}}
    call = Call.post("/hooks", body, idempotency_key=visit.form("once"))
    try:
        created = await visit.ask(CreatedHooksAnswer, call)
    except ApiProblemError as exc:
        return await _new(visit, problem=exc.problem, status=exc.status)
    return await visit.page("hook_secret.html", hooks=created.hooks, secret=created.secret, old_until_ms=None)


async def show_hook(visit: Visit) -> Response:
    """One, with its newest attempts, what is done with it, and the answer to a test event."""
    return await _show(visit)


async def _show(visit: Visit, *, problem: Problem | None = None, status: int = 200) -> Response:
    hook = visit.path("hook")
    call = Call.get(f"/hooks/{hook}")
    answer, seen = await visit.ask_tagged(HookAnswer, call)
    test = visit.query("test")
    newest = Call.get(f"/hooks/{hook}/attempts", limit=_NEWEST if test else _LAST_ATTEMPTS)
    attempts = await visit.ask(AttemptsAnswer, newest)
    return await visit.page(
        "hook.html",
        status=status,
        calls=[call, Call.post(f"/hooks/{hook}/ping")],
        commands=[f"hookstream hooks show {hook}", f"hookstream hooks ping {hook}"],
        hook=answer.hook,
        seen=seen,
        attempts=attempts.attempts[:_LAST_ATTEMPTS],
        test=test,
        tested=[each for each in attempts.attempts if each.delivery_id == test],
        problem=problem,
        target=visit.form("target") or answer.hook.target,
    )


async def send_test(visit: Visit) -> Response:
    """Send a test event; the page that follows shows what was answered."""
    hook = visit.path("hook")
    try:
        sent = await visit.ask(SentAnswer, Call.post(f"/hooks/{hook}/ping"))
    except ApiProblemError as exc:
        return await _refused(visit, exc)
    return visit.redirect(f"/hooks/{hook}", test=sent.delivery.id)


async def change_target(visit: Visit) -> Response:
    """Give it another target."""
    body = {"hook": {"target": visit.form("target")}}
    return await _do(visit, Call.patch(f"/hooks/{visit.path('hook')}", body, if_match=visit.seen))


async def enable(visit: Visit) -> Response:
    """Deliver again: what is pending, or what comes from now on."""
    backlog: Literal["resume", "skip"] = "skip" if visit.form("backlog") == "skip" else "resume"
    call = Call.post(f"/hooks/{visit.path('hook')}/enable", {"backlog": backlog}, if_match=visit.seen)
    return await _do(visit, call)


async def disable(visit: Visit) -> Response:
    """Deliver nothing."""
    return await _do(visit, Call.post(f"/hooks/{visit.path('hook')}/disable", if_match=visit.seen))


async def rotate(visit: Visit) -> Response:
    """Give it a new secret, which is shown once."""
    call = Call.post(f"/hooks/{visit.path('hook')}/secret/rotate", idempotency_key=visit.form("once"))
    try:
        rotated = (await visit.ask(RotatedHookAnswer, call)).hook
    except ApiProblemError as exc:
        return await _refused(visit, exc)
    return await visit.page(
        "hook_secret.html", hooks=[rotated], secret=rotated.secret, old_until_ms=rotated.old_secrets_until_ms
    )


async def ask_rotate(visit: Visit) -> Response:
    """Say what a new secret means, before there is one."""
    call = Call.get(f"/hooks/{visit.path('hook')}")
    hook = (await visit.ask(HookAnswer, call)).hook
    return await visit.page("rotate_secret.html", hook=hook, once=secrets.token_urlsafe(16))


async def ask_delete(visit: Visit) -> Response:
    """Say what is lost."""
    answer, seen = await visit.ask_tagged(HookAnswer, Call.get(f"/hooks/{visit.path('hook')}"))
    return await visit.page("delete_hook.html", hook=answer.hook, seen=seen)


async def delete(visit: Visit) -> Response:
    """Delete it."""
    try:
        await visit.do(Call.delete(f"/hooks/{visit.path('hook')}", if_match=visit.seen))
    except ApiProblemError as exc:
        return await _refused(visit, exc)
    return visit.redirect("/hooks", done="deleted")


async def _do(visit: Visit, call: Call) -> Response:
    try:
        await visit.do(call)
    except ApiProblemError as exc:
        return await _refused(visit, exc)
    return visit.redirect(f"/hooks/{visit.path('hook')}", done="changed")


async def _refused(visit: Visit, exc: ApiProblemError) -> Response:
    """The page of the hook with what is wrong; a hook that is not there has none."""
    if exc.status == HTTPStatus.NOT_FOUND:
        raise exc
    problem = exc.problem
    if exc.status == HTTPStatus.PRECONDITION_FAILED:
        problem = problem.model_copy(update={"title": "Not done: the hook has changed", "detail": _CHANGED})
    return await _show(visit, problem=problem, status=exc.status)


HOOK_SCREENS = (
    Screen(path="/hooks", view=list_hooks, roles=EVERYONE),
    Screen(path="/hooks/new", view=new_hooks, roles=INTEGRATORS),
    Screen(path="/hooks/new", view=add_hooks, roles=INTEGRATORS, method="POST"),
    Screen(path="/hooks/{hook}", view=show_hook, roles=EVERYONE),
    Screen(path="/hooks/{hook}/test", view=send_test, roles=EVERYONE, method="POST"),
    Screen(path="/hooks/{hook}/target", view=change_target, roles=EVERYONE, method="POST"),
    Screen(path="/hooks/{hook}/enable", view=enable, roles=EVERYONE, method="POST"),
    Screen(path="/hooks/{hook}/disable", view=disable, roles=EVERYONE, method="POST"),
    Screen(path="/hooks/{hook}/secret", view=ask_rotate, roles=EVERYONE),
    Screen(path="/hooks/{hook}/secret", view=rotate, roles=EVERYONE, method="POST"),
    Screen(path="/hooks/{hook}/delete", view=ask_delete, roles=EVERYONE),
    Screen(path="/hooks/{hook}/delete", view=delete, roles=EVERYONE, method="POST"),
)
