"""As whom one acts who is signed in to the portal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hookstream.schemas.event import ClientId
from hookstream.subscriptions.database import Sessions, open_database, open_sessions, transact
from hookstream.subscriptions.models import Base, Role
from hookstream.subscriptions.portal_sessions import create_link, resume_session, use_link
from hookstream.subscriptions.tokens import Principal, TokenRequest, authenticate, issue_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

NOW_MS = 1_700_000_000_000
CLIENT = ClientId("434")


@pytest.fixture
def tables() -> Iterator[Sessions]:
    """Sessions of a database in memory with every table."""
    engine = open_database("sqlite://")
    Base.metadata.create_all(engine)
    yield open_sessions(engine)
    engine.dispose()


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.PLATFORM])
def test_one_who_came_by_a_link_acts_for_its_client_whoever_made_it(tables: Sessions, role: Role) -> None:
    def come(session: Session) -> tuple[Principal, Principal]:
        request = TokenRequest(role=role, client=None, name="maker", expires_at_ms=None)
        token = issue_token(session, request, actor="x", now_ms=NOW_MS).token
        maker = authenticate(session, token, now_ms=NOW_MS)
        link = create_link(session, maker, CLIENT, lifetime_s=60, now_ms=NOW_MS)
        opened = use_link(session, link.key, now_ms=NOW_MS)
        return maker, resume_session(session, opened.key, now_ms=NOW_MS)

    maker, person = transact(tables, come)
    assert (maker.role, maker.client) == (role, None)
    assert (person.role, person.client) == (Role.INTEGRATOR, CLIENT)
    assert person.caller != maker.caller, "and takes no request of the maker's limit"
