"""Who is signed in to the portal: sessions that end with their token, and links that open one session each.

A session acts for a token: revoking the token, or its expiry, ends the session. A link is made with a token of the
platform or of an operator, and its session sees one client, as an integrator does. Of both, only hashes are stored.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hookstream.schemas.event import ClientId

from .errors import SessionEndedError, SpentLinkError, TokenError
from .models import AuditRow, PortalLinkRow, PortalSessionRow, Role
from .secrets import RandomBytes
from .tokens import Principal, TokenId, authenticate, authenticate_id

SESSION_S: Final = 12 * 3600
_KEY_BYTES = 32
_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
# Expired rows that go whenever one is added: more than are added, so that their number does not grow.
_SWEPT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """The key of a new session or link, shown once, and its end in Unix milliseconds."""

    key: str = field(repr=False)
    expires_at_ms: int


def open_session(session: Session, token: str, *, now_ms: int, random_bytes: RandomBytes = os.urandom) -> IssuedKey:
    """Exchange a token for a session.

    Raises:
        TokenError: as `authenticate`.
    """
    principal = authenticate(session, token, now_ms=now_ms)
    return _open(session, principal.token_id, None, now_ms=now_ms, random_bytes=random_bytes)


def create_link(
    session: Session,
    issuer: Principal,
    client: ClientId,
    *,
    lifetime_s: int,
    now_ms: int,
    random_bytes: RandomBytes = os.urandom,
) -> IssuedKey:
    """Make a link that opens one session of this client within so many seconds; audited."""
    key, expires_at_ms = new_key(random_bytes), now_ms + lifetime_s * 1000
    _sweep(session, PortalLinkRow, now_ms)
    session.add(
        PortalLinkRow(
            hash=_hash(key),
            token_id=issuer.token_id,
            client=client,
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
        )
    )
    session.add(
        AuditRow(
            at_ms=now_ms,
            actor=issuer.actor,
            action="portal.link",
            client=client,
            detail={"expires_at_ms": expires_at_ms},
        )
    )
    session.flush()
    return IssuedKey(key=key, expires_at_ms=expires_at_ms)


def use_link(session: Session, key: str, *, now_ms: int, random_bytes: RandomBytes = os.urandom) -> IssuedKey:
    """Exchange a link for a session; of two that try at once, one does.

    Raises:
        SpentLinkError: it was used, its time is over, its token is not valid any more, or it was never made.
    """
    row = session.get(PortalLinkRow, _hash(key), with_for_update=True) if _KEY.fullmatch(key) else None
    if row is None or row.expires_at_ms <= now_ms:
        raise SpentLinkError
    try:
        authenticate_id(session, row.token_id, now_ms=now_ms)
    except TokenError:
        raise SpentLinkError from None
    session.delete(row)
    return _open(session, TokenId(row.token_id), ClientId(row.client), now_ms=now_ms, random_bytes=random_bytes)


def resume_session(session: Session, key: str, *, now_ms: int) -> Principal:
    """Say who is signed in with this key.

    Raises:
        SessionEndedError: its time is over, it was signed out, its token is not valid any more, or it never was.
    """
    row = _find(session, key)
    if row is None or row.expires_at_ms <= now_ms:
        raise SessionEndedError
    try:
        issuer = authenticate_id(session, row.token_id, now_ms=now_ms)
    except TokenError:
        raise SessionEndedError from None
    if row.client is None:
        return issuer
    return Principal(
        token_id=issuer.token_id,
        role=Role.INTEGRATOR,
        client=ClientId(row.client),
        name=issuer.name,
        session_id=row.id,
    )


def close_session(session: Session, key: str) -> None:
    """End a session; one that has ended stays so."""
    row = _find(session, key)
    if row is not None:
        session.delete(row)
        session.flush()


def new_key(random_bytes: RandomBytes = os.urandom) -> str:
    """256 random bits as text that fits into a cookie and a path."""
    return base64.urlsafe_b64encode(random_bytes(_KEY_BYTES)).decode().rstrip("=")


def _open(
    session: Session, token_id: TokenId, client: ClientId | None, *, now_ms: int, random_bytes: RandomBytes
) -> IssuedKey:
    key, expires_at_ms = new_key(random_bytes), now_ms + SESSION_S * 1000
    _sweep(session, PortalSessionRow, now_ms)
    session.add(
        PortalSessionRow(
            hash=_hash(key), token_id=token_id, client=client, created_at_ms=now_ms, expires_at_ms=expires_at_ms
        )
    )
    session.flush()
    return IssuedKey(key=key, expires_at_ms=expires_at_ms)


def _find(session: Session, key: str) -> PortalSessionRow | None:
    if not _KEY.fullmatch(key):
        return None
    return session.scalar(select(PortalSessionRow).where(PortalSessionRow.hash == _hash(key)))


def _sweep(session: Session, table: type[PortalLinkRow | PortalSessionRow], now_ms: int) -> None:
    """Delete some rows whose time is over; those that another transaction deletes now are left to it."""
    expired = select(table.hash).where(table.expires_at_ms <= now_ms).order_by(table.expires_at_ms).limit(_SWEPT)
    hashes = session.scalars(expired.with_for_update(skip_locked=True)).all()
    if hashes:
        session.execute(delete(table).where(table.hash.in_(hashes)))


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
