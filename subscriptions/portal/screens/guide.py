"""The guide for integrators: verifying a delivery of their own hook, in five languages, and what each answer causes."""

from __future__ import annotations

from starlette.responses import Response

from hookstream.subscriptions.api.bodies import HookAnswer, HookFields, HooksAnswer
from hookstream.subscriptions.api.delivery_bodies import AttemptAnswer, AttemptsAnswer
from hookstream.subscriptions.portal.calls import Call
from hookstream.subscriptions.portal.navigation import EVERYONE
from hookstream.subscriptions.portal.verify_examples import LANGUAGES, SignedDelivery, example_in
from hookstream.subscriptions.portal.visit import Screen, Visit

_HOOKS = 100


async def answers(visit: Visit) -> Response:
    """What is done on each status."""
    return await visit.page("answers.html")


async def verify(visit: Visit) -> Response:
    """A program for each language that verifies the newest delivery of a hook, with the secret from the environment."""
    hooks = (await visit.ask(HooksAnswer, Call.get("/hooks", limit=_HOOKS))).hooks
    wanted, language = visit.query("hook"), visit.query("language") or LANGUAGES[0].name
    chosen: HookFields | None = None
    if wanted and wanted.isascii() and wanted.isdecimal():
        chosen = (await visit.ask(HookAnswer, Call.get(f"/hooks/{wanted}"))).hook
    elif hooks:
        chosen = hooks[0]
    found = next((each for each in LANGUAGES if each.name == language), LANGUAGES[0])
    delivery = None if chosen is None else await _newest(visit, chosen.id)
    return await visit.page(
        "verify.html",
        hooks=hooks,
        chosen=chosen,
        languages=LANGUAGES,
        language=found,
        delivery=delivery,
        program=None if delivery is None else example_in(found, delivery),
        visit=visit,
    )


async def _newest(visit: Visit, hook: int) -> SignedDelivery | None:
    """The newest delivery of a hook whose request can be shown."""
    attempts = (await visit.ask(AttemptsAnswer, Call.get(f"/hooks/{hook}/attempts", limit=1))).attempts
    if not attempts:
        return None
    call = Call.get(f"/deliveries/{attempts[0].delivery_id}/attempts/{attempts[0].started_at_ms}")
    request = (await visit.ask(AttemptAnswer, call)).request
    if request is None:
        return None
    headers = {each.name: each.value for each in request.headers}
    return SignedDelivery(
        id=headers["webhook-id"],
        timestamp=headers["webhook-timestamp"],
        signature=headers["webhook-signature"],
        body=request.body,
    )


async def guide(visit: Visit) -> Response:
    """It begins with what people come for."""
    return visit.redirect("/guide/verify")


GUIDE_SCREENS = (
    Screen(path="/guide", view=guide, roles=EVERYONE),
    Screen(path="/guide/verify", view=verify, roles=EVERYONE),
    Screen(path="/guide/answers", view=answers, roles=EVERYONE),
)
