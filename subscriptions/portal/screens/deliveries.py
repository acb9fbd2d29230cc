"""What was sent: the attempts of a hook, one delivery, and one attempt with its request."""

from __future__ import annotations

import re
from http import HTTPStatus

from starlette.responses import Response

from hookstream.schemas.attempt import AttemptResult
from hookstream.subscriptions.api.delivery_bodies import AttemptAnswer, AttemptsAnswer, DeliveryAnswer
from hookstream.subscriptions.api.problems import Problem
from hookstream.subscriptions.portal.calls import ApiProblemError, Call
from hookstream.subscriptions.portal.form_values import time_of
from hookstream.subscriptions.portal.navigation import EVERYONE
from hookstream.subscriptions.portal.visit import Screen, Visit

_PAGE = 50
OUTCOMES = ("delivered", "failed", *(each.value for each in AttemptResult if each is not AttemptResult.DELIVERED))
_DELIVERY_ID = re.compile(r"msg_[0-9a-f]{32}")


async def list_attempts(visit: Visit) -> Response:
    """One page of the attempts of a hook, the newest first."""
    hook, outcome = visit.path("hook"), visit.query("outcome")
    since, before = visit.query("from"), visit.query("to")
    call = Call.get(
        f"/hooks/{hook}/attempts",
        outcome=outcome,
        from_ms=unix_ms(since),
        to_ms=unix_ms(before),
        limit=_PAGE,
        cursor=visit.query("cursor"),
    )
    answer = await visit.ask(AttemptsAnswer, call)
    options = [f"--outcome {outcome}"] if outcome else []
    return await visit.page(
        "attempts.html",
        calls=[call],
        commands=[" ".join([f"hookstream hooks attempts {hook}", *options])],
        answer=answer,
        hook=hook,
        outcome=outcome,
        outcomes=OUTCOMES,
        since=since,
        before=before,
        visit=visit,
    )


async def find_delivery(visit: Visit) -> Response:
    """Go to the delivery that was asked for by its `webhook-id`."""
    wanted = (visit.query("id") or "").strip()
    if _DELIVERY_ID.fullmatch(wanted):
        return visit.redirect(f"/deliveries/{wanted}")
    return await visit.page("find_delivery.html", wanted=wanted, visit=visit)


async def show_delivery(visit: Visit) -> Response:
    """What became of one."""
    return await _show(visit)


async def _show(visit: Visit, *, problem: Problem | None = None, status: int = 200) -> Response:
    delivery = visit.path("delivery")
    call = Call.get(f"/deliveries/{delivery}", cursor=visit.query("cursor"))
    answer = await visit.ask(DeliveryAnswer, call)
    resend = Call.post(f"/deliveries/{delivery}/resend")
    return await visit.page(
        "delivery.html",
        status=status,
        calls=[call, resend],
        commands=[f"hookstream deliveries show {delivery}", f"hookstream deliveries resend {delivery}"],
        answer=answer,
        delivery=answer.delivery,
        problem=problem,
        visit=visit,
    )


async def resend(visit: Visit) -> Response:
    """Send it once more."""
    delivery = visit.path("delivery")
    try:
        await visit.do(Call.post(f"/deliveries/{delivery}/resend"))
    except ApiProblemError as exc:
        if exc.status == HTTPStatus.NOT_FOUND:
            raise
        return await _show(visit, problem=exc.problem, status=exc.status)
    return visit.redirect(f"/deliveries/{delivery}", done="resent")


async def show_attempt(visit: Visit) -> Response:
    """One attempt: the request as it was sent, and the answer."""
    delivery, started = visit.path("delivery"), visit.path("started")
    call = Call.get(f"/deliveries/{delivery}/attempts/{started}")
    answer = await visit.ask(AttemptAnswer, call)
    return await visit.page(
        "attempt.html",
        calls=[call],
        attempt=answer.attempt,
        request_=answer.request,
        missing=answer.request_missing,
    )


def unix_ms(text: str | None) -> int | None:
    """A time of a form, the first that there is for one before 1970; None for none, or for what is none."""
    at_ms = time_of(text)
    return None if at_ms is None else max(0, at_ms)


DELIVERY_SCREENS = (
    Screen(path="/hooks/{hook}/attempts", view=list_attempts, roles=EVERYONE),
    Screen(path="/deliveries", view=find_delivery, roles=EVERYONE),
    Screen(path="/deliveries/{delivery}", view=show_delivery, roles=EVERYONE),
    Screen(path="/deliveries/{delivery}/resend", view=resend, roles=EVERYONE, method="POST"),
    Screen(path="/deliveries/{delivery}/attempts/{started}", view=show_attempt, roles=EVERYONE),
)
