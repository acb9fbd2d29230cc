"""The portal's calls of the API: they are its caller's, and have its limits."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hookstream.schemas.event import ClientId
from hookstream.subscriptions.api import ApiLimits, Rate, create_app
from hookstream.subscriptions.api.bodies import EventTypesAnswer
from hookstream.subscriptions.database import open_database, open_sessions
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.portal.calls import Api, ApiProblemError, Call
from hookstream.subscriptions.tokens import Principal, TokenId
from tests.support.subscriptions_api import api_dependencies

BY_LINK = Principal(token_id=TokenId(1), role=Role.INTEGRATOR, client=ClientId("434"), name="x", session_id=7)
BY_TOKEN = replace(BY_LINK, session_id=None)


def test_requests_of_the_portal_have_the_limit_of_their_session_or_token() -> None:
    limits = ApiLimits(token_rate=Rate(2, 5), refused_after_s=0.0)
    deps = replace(api_dependencies(open_sessions(open_database("sqlite://"))), limits=limits, monotonic_s=lambda: 1.0)
    app = create_app(deps)

    async def ask(principal: Principal) -> None:
        await Api(app, principal).ask(EventTypesAnswer, Call.get("/event-types"))

    async def run() -> None:
        for principal in (BY_LINK, replace(BY_LINK, session_id=8), BY_TOKEN):
            await ask(principal)
            await ask(principal)
            with pytest.raises(ApiProblemError) as refused:
                await ask(principal)
            assert refused.value.status == 429

    asyncio.run(run())
