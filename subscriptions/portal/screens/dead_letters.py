"""Dead letters by reason, and sending some of them again after a look at what would be sent."""

from __future__ import annotations

from collections import Counter
from typing import Final

from starlette.responses import Response

from hookstream.schemas.delivery import DeadLetterReason
from hookstream.subscriptions.api.dead_letter_bodies import (
    DeadLetterAnswer,
    DeadLetterFields,
    DeadLettersAnswer,
    ResentAnswer,
)
from hookstream.subscriptions.api.problems import Problem
from hookstream.subscriptions.portal.calls import ApiProblemError, Call
from hookstream.subscriptions.portal.navigation import EVERYONE
from hookstream.subscriptions.portal.visit import Screen, Visit

_PAGE: Final = 50
_FILTERS: Final = ("client", "hook", "event", "reason")


async def list_dead_letters(visit: Visit) -> Response:
    """One page of them."""
    call, answer = await _page(visit)
    options = [f"--{name} {visit.query(name)}" for name in _FILTERS if visit.query(name)]
    return await visit.page(
        "dead_letters.html",
        calls=[call],
        commands=[" ".join(["hookstream dead-letters list", *options])],
        dead_letters=answer.dead_letters,
        next_cursor=answer.next_cursor,
        reasons=list(DeadLetterReason),
        filtered=bool(options),
        resent=visit.query("resent"),
        visit=visit,
    )


async def show_plan(visit: Visit, *, problem: Problem | None = None) -> Response:
    """What a resend of the chosen dead letters, or of all of a page, would send: a dry run."""
    _, answer = await _page(visit)
    chosen = set(visit.request.query_params.getlist("id"))
    dead_letters = [each for each in answer.dead_letters if not chosen or each.id in chosen]
    return await _plan(visit, dead_letters, problem=problem)


async def show_dead_letter(visit: Visit) -> Response:
    """One dead letter, with the start of its last answer."""
    call = Call.get(f"/dead-letters/{visit.path('dead_letter')}")
    dead_letter = (await visit.ask(DeadLetterAnswer, call)).dead_letter
    return await visit.page(
        "dead_letter.html",
        calls=[call, Call.post("/dead-letters/resend", {"ids": [dead_letter.id]})],
        commands=[f"hookstream dead-letters show {dead_letter.id}", f"hookstream dead-letters resend {dead_letter.id}"],
        dead_letter=dead_letter,
        visit=visit,
    )


async def resend_dead_letters(visit: Visit) -> Response:
    """Send them again, and say how many."""
    ids = list(visit.form_list("id"))
    try:
        answer = await visit.ask(ResentAnswer, Call.post("/dead-letters/resend", {"ids": ids}))
    except ApiProblemError as exc:
        if exc.status != 422:  # noqa: PLR2004  # what was asked for is not possible
            raise
        return await _plan(visit, [], problem=exc.problem)
    return await visit.page("resent.html", answer=answer, visit=visit)


async def _page(visit: Visit) -> tuple[Call, DeadLettersAnswer]:
    query = {name: visit.query(name) for name in _FILTERS}
    call = Call.get("/dead-letters", **query, limit=_PAGE, cursor=visit.query("cursor"))
    return call, await visit.ask(DeadLettersAnswer, call)


async def _plan(visit: Visit, dead_letters: list[DeadLetterFields], *, problem: Problem | None) -> Response:
    fit = [each for each in dead_letters if each.resendable]
    groups = Counter((each.client, each.event, each.hook_id, each.reason.value) for each in fit)
    return await visit.page(
        "resend.html",
        status=200 if problem is None else problem.status,
        calls=[Call.post("/dead-letters/resend", {"ids": [each.id for each in fit]})] if fit else [],
        commands=[" ".join(["hookstream dead-letters resend", *(each.id for each in fit)])] if fit else [],
        groups=groups.most_common(),
        fit=fit,
        unfit=[each for each in dead_letters if not each.resendable],
        problem=problem,
        visit=visit,
    )


DEAD_LETTER_SCREENS = (
    Screen(path="/dead-letters", view=list_dead_letters, roles=EVERYONE),
    Screen(path="/dead-letters/resend", view=show_plan, roles=EVERYONE),
    Screen(path="/dead-letters/resend", view=resend_dead_letters, roles=EVERYONE, method="POST"),
    Screen(path="/dead-letters/{dead_letter}", view=show_dead_letter, roles=EVERYONE),
)
