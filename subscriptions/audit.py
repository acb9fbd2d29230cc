"""The audit: who did what, when. A row is written in the transaction of its deed, or before a deed that Kafka does.

An actor is `token:<id>:<name>`, `portal:<session>:<the token that made its link>`, `cli <user>@<host>` for commands
that work on the database or on Kafka directly, or a part of hookstream itself. What an integrator is shown of actors
that are not its own tokens is their kind alone, and of its people in the portal the session.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, delete, false, or_, select, tuple_
from sqlalchemy.orm import Session

from hookstream.schemas.event import ClientId

from .database import Sessions, reading, transact
from .models import AuditRow, TokenRow
from .tokens import token_actor

OPERATOR: Final = "operator"
ITSELF: Final = "hookstream"
"""What integrators are shown of others: someone who operates the platform, and hookstream by itself."""

_TOKEN: Final = re.compile(r"token:([0-9]{1,18})(:.*)?", re.ASCII | re.DOTALL)
_PORTAL: Final = re.compile(r"portal:[0-9]{1,18}", re.ASCII)
_PEOPLE: Final = ("token:", "cli ", "portal:")


class AuditPosition(NamedTuple):
    """The last row of a page: the next one begins behind it."""

    at_ms: int
    row_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which rows to list, the newest first; what is None does not matter. `since_ms` is included, `until_ms` is not.

    `viewer` is the integrator's client that asks: it sees its own rows. `actor` is what rows show, or `token:<id>`.
    """

    viewer: ClientId | None = None
    client: ClientId | None = None
    hook_id: int | None = None
    actor: str | None = None
    action: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    after: AuditPosition | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One deed. `client`, `event` and `hook_id` are None where it was about none, or about several."""

    row_id: int
    at_ms: int
    actor: str
    action: str
    client: ClientId | None
    event: str | None
    hook_id: int | None
    detail: Mapping[str, object]


def list_audit(session: Session, query: AuditQuery) -> list[AuditEntry]:
    """Deeds, the newest first."""
    own = None if query.viewer is None else _actors_of(session, query.viewer)
    found = select(AuditRow).order_by(AuditRow.at_ms.desc(), AuditRow.id.desc()).limit(query.limit)
    for client in (query.viewer, query.client):
        if client is not None:
            found = found.where(AuditRow.client == client)
    if query.hook_id is not None:
        found = found.where(AuditRow.hook_id == query.hook_id)
    if query.actor is not None:
        found = found.where(_by(session, query.actor, own))
    if query.action is not None:
        found = found.where(AuditRow.action == query.action)
    if query.since_ms is not None:
        found = found.where(AuditRow.at_ms >= query.since_ms)
    if query.until_ms is not None:
        found = found.where(AuditRow.at_ms < query.until_ms)
    if query.after is not None:
        found = found.where(tuple_(AuditRow.at_ms, AuditRow.id) < query.after)
    return [_entry(row, own) for row in session.scalars(found)]


def record(session: Session, action: str, detail: Mapping[str, object], *, actor: str, now_ms: int) -> None:
    """Write a deed that is about no hook and no client."""
    session.add(AuditRow(at_ms=now_ms, actor=actor, action=action, detail=dict(detail)))
    session.flush()


def delete_audit(sessions: Sessions, *, before_ms: int, limit: int) -> int:
    """Delete rows from before then, the oldest first, at most so many in one transaction; give their number."""
    due = select(AuditRow.id).where(AuditRow.at_ms < before_ms).order_by(AuditRow.at_ms, AuditRow.id).limit(limit)
    with reading(sessions) as session:
        if session.scalar(due.limit(1)) is None:  # mostly, and a writer would wait for the lock
            return 0

    def forget(session: Session) -> int:
        found = session.scalars(due.with_for_update(skip_locked=True)).all()
        session.execute(delete(AuditRow).where(AuditRow.id.in_(found)))
        return len(found)

    return transact(sessions, forget)


def _actors_of(session: Session, client: ClientId) -> frozenset[str]:
    """A client's own tokens, as the audit calls them."""
    return frozenset(
        token_actor(row_id, name)
        for row_id, name in session.execute(select(TokenRow.id, TokenRow.name).where(TokenRow.client == client))
    )


def _by(session: Session, asked: str, own: frozenset[str] | None) -> ColumnElement[bool]:
    """Rows of one actor; to integrators others are `operator` and `hookstream`, and have no name to ask for."""
    if own is not None:
        people = or_(*(AuditRow.actor.startswith(kind) for kind in _PEOPLE))
        if asked == OPERATOR:
            return people & AuditRow.actor.not_in(own) & ~AuditRow.actor.startswith("portal:")
        if asked == ITSELF:
            return ~people
        if _PORTAL.fullmatch(asked):
            return AuditRow.actor.startswith(f"{asked}:")
    token = _TOKEN.fullmatch(asked)
    if token is not None:
        name = session.scalar(select(TokenRow.name).where(TokenRow.id == int(token[1])))
        called = None if name is None else token_actor(int(token[1]), name)
        asked = called if called is not None and token[2] is None else asked
    return AuditRow.actor == asked if own is None or asked in own else false()


def _entry(row: AuditRow, own: frozenset[str] | None) -> AuditEntry:
    return AuditEntry(
        row_id=row.id,
        at_ms=row.at_ms,
        actor=row.actor if own is None or row.actor in own else _kind_of(row.actor),
        action=row.action,
        client=None if row.client is None else ClientId(row.client),
        event=row.event,
        hook_id=row.hook_id,
        detail=row.detail,
    )


def _kind_of(actor: str) -> str:
    """What an integrator is shown of an actor that is none of its tokens."""
    portal = _PORTAL.match(actor)
    if portal is not None:
        return portal[0]
    return OPERATOR if actor.startswith(_PEOPLE) else ITSELF
