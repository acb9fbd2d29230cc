"""The audit: who did what, when, the newest first."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from hookstream.subscriptions.api.audit_bodies import AuditAnswer
from hookstream.subscriptions.portal.calls import Call
from hookstream.subscriptions.portal.navigation import EVERYONE
from hookstream.subscriptions.portal.rendering import utc
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
        entries=[(each, _pairs(each.detail)) for each in answer.audit],
        next_cursor=answer.next_cursor,
        filtered=bool(options),
        visit=visit,
    )


def _pairs(detail: Mapping[str, object]) -> list[tuple[str, str]]:
    """What an entry tells beside itself; times as people read them."""
    return [
        (name.removesuffix("_ms"), f"{utc(value)} UTC")
        if name.endswith("_ms") and isinstance(value, int)
        else (name, str(value))
        for name, value in detail.items()
        if value not in (None, "")
    ]


AUDIT_SCREENS = (Screen(path="/audit", view=show_audit, roles=EVERYONE),)
