"""The audit: who did what, when, the newest first."""

from __future__ import annotations

import shlex
from typing import Final

from starlette.responses import Response

from hookstream.subscriptions.api.audit_bodies import AuditAnswer
from hookstream.subscriptions.portal.calls import Call
from hookstream.subscriptions.portal.navigation import EVERYONE
from hookstream.subscriptions.portal.visit import Screen, Visit

_PAGE: Final = 50
_FILTERS: Final = ("client", "hook", "actor", "action")


async def show_audit(visit: Visit) -> Response:
    """One page of it."""
    query = {name: visit.query(name) for name in _FILTERS}
    call = Call.get("/audit", **query, limit=_PAGE, cursor=visit.query("cursor"))
    answer = await visit.ask(AuditAnswer, call)
    options = [f"--{name} {shlex.quote(value)}" for name, value in query.items() if value]
    return await visit.page(
        "audit.html",
        calls=[call],
        commands=[" ".join(["hookstream audit", *options])],
        entries=answer.audit,
        next_cursor=answer.next_cursor,
        filtered=bool(options),
        visit=visit,
    )


AUDIT_SCREENS = (Screen(path="/audit", view=show_audit, roles=EVERYONE),)
