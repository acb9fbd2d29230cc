"""API tokens: 256 random bits, kept as a hash, for one role, until they expire or are revoked.

Issuing and revoking are audited in the same transaction; the audit names a token by its id, never by itself.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NewType

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hookstream.schemas.event import ClientId
from hookstream.schemas.ids import WHAT_A_TEXT_IS, is_id

from .errors import ExpiredTokenError, RevokedTokenError, UnknownTokenError
from .models import AuditRow, Role, TokenRow
from .secrets import RandomBytes

TokenId = NewType("TokenId", int)

# Scanners of repositories and logs find a leaked token by this.
TOKEN_PREFIX: Final = "hks_"  # noqa: S105  # the prefix, not a token
_TOKEN_BYTES = 32
_MAX_NAME_CHARS = 200
# Tokens of earlier releases have the longer prefix; they are valid as long as they always were.
_TOKEN = re.compile(rf"(?:{TOKEN_PREFIX}|hookstream_)[A-Za-z0-9_-]{{43}}", re.ASCII)


def token_actor(token_id: int, name: str) -> str:
    """How the audit calls a token."""
    return f"token:{token_id}:{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking: a token that was issued, has not expired and was not revoked.

    `session_id` is set where a link opened a session of the portal: then it is one of a client's people, and the token
    is that of who made the link.
    """

    token_id: TokenId
    role: Role
    client: ClientId | None
    name: str
    session_id: int | None = None

    @property
    def actor(self) -> str:
        """How the audit calls them."""
        token = token_actor(self.token_id, self.name)
        return token if self.session_id is None else f"portal:{self.session_id}:{token}"

    @property
    def caller(self) -> str:
        """Whose questions are counted together: those of a token, or of a session that a link opened."""
        return f"token:{self.token_id}" if self.session_id is None else f"portal:{self.session_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """What may be shown of a token: everything but itself. `expires_at_ms` is None for one that never does.

    `last_used_at_ms` is the minute of its last use, known up to a minute late; None before the first.
    """

    id: TokenId
    role: Role
    client: ClientId | None
    name: str
    created_at_ms: int
    last_used_at_ms: int | None
    expires_at_ms: int | None
    revoked_at_ms: int | None


@dataclass(frozen=True, slots=True)
class KnownToken:
    """A token as it was read from the database: neither unknown nor revoked at that moment."""

    principal: Principal
    expires_at_ms: int | None

    def holder(self, now_ms: int) -> Principal:
        """Say who holds it.

        Raises:
            ExpiredTokenError: its time is over.
        """
        if self.expires_at_ms is not None and self.expires_at_ms <= now_ms:
            raise ExpiredTokenError
        return self.principal


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A new token, shown once."""

    info: TokenInfo
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What the operator asks for. An integrator's token names its client, no other does.

    Raises:
        ValueError: a client where there should be none, or the reverse; an empty or very long name.
    """

    role: Role
    client: ClientId | None
    name: str
    expires_at_ms: int | None

    def __post_init__(self) -> None:
        """Check what the table would refuse with fewer words."""
        if (self.role is Role.INTEGRATOR) != (self.client is not None):
            msg = "an integrator's token needs a client, and no other role's has one"
            raise ValueError(msg)
        if self.client is not None and not is_id(self.client):
            msg = f"a client is {WHAT_A_TEXT_IS}"
            raise ValueError(msg)
        if not self.name.strip() or len(self.name) > _MAX_NAME_CHARS or not self.name.isprintable():
            msg = f"a token has a name of at most {_MAX_NAME_CHARS} printable characters"
            raise ValueError(msg)


def issue_token(
    session: Session, request: TokenRequest, *, actor: str, now_ms: int, random_bytes: RandomBytes = os.urandom
) -> IssuedToken:
    """Make a token. Only its hash is stored: 256 random bits need no slow hash."""
    token = TOKEN_PREFIX + base64.urlsafe_b64encode(random_bytes(_TOKEN_BYTES)).decode().rstrip("=")
    row = TokenRow(
        hash=token_digest(token),
        role=request.role.value,
        client=request.client,
        name=request.name,
        created_at_ms=now_ms,
        expires_at_ms=request.expires_at_ms,
    )
    session.add(row)
    session.flush()
    detail = {"role": row.role, "name": row.name, "expires_at_ms": row.expires_at_ms}
    _audit(session, row, "token.create", detail, actor=actor, now_ms=now_ms)
    return IssuedToken(info=_info(row), token=token)


def token_digest(token: str) -> bytes:
    """What a token is found by.

    Raises:
        UnknownTokenError: it has not our form, so it was never issued.
    """
    if not _TOKEN.fullmatch(token):
        raise UnknownTokenError
    return hashlib.sha256(token.encode("ascii")).digest()


def find_token(session: Session, digest: bytes) -> KnownToken:
    """Read a token; whether its time is over is asked later, for what was read is used again.

    Raises:
        UnknownTokenError: it was never issued.
        RevokedTokenError: it was withdrawn.
    """
    return _known(session.scalar(select(TokenRow).where(TokenRow.hash == digest)))


def authenticate(session: Session, token: str, *, now_ms: int) -> Principal:
    """Say who holds this token.

    Raises:
        UnknownTokenError, RevokedTokenError, ExpiredTokenError: it is no good.
    """
    return find_token(session, token_digest(token)).holder(now_ms)


def authenticate_id(session: Session, token_id: int, *, now_ms: int) -> Principal:
    """Say who holds the token of this id, for those who have shown the token before.

    Raises:
        TokenError: as `authenticate`.
    """
    return _known(session.get(TokenRow, token_id)).holder(now_ms)


def _known(row: TokenRow | None) -> KnownToken:
    if row is None:
        raise UnknownTokenError
    if row.revoked_at_ms is not None:
        raise RevokedTokenError
    info = _info(row)
    principal = Principal(token_id=info.id, role=info.role, client=info.client, name=info.name)
    return KnownToken(principal, info.expires_at_ms)


def revoke_token(session: Session, token_id: int, *, actor: str, now_ms: int) -> TokenInfo:
    """Withdraw a token; processes of the API look again within seconds. A second time changes nothing.

    Raises:
        UnknownTokenError: no token of that id.
    """
    row = session.get(TokenRow, token_id, with_for_update=True)
    if row is None:
        raise UnknownTokenError
    if row.revoked_at_ms is None:
        row.revoked_at_ms = now_ms
        _audit(session, row, "token.revoke", {"name": row.name}, actor=actor, now_ms=now_ms)
    return _info(row)


def list_tokens(session: Session) -> list[TokenInfo]:
    """Every token ever issued, oldest first."""
    return [_info(row) for row in session.scalars(select(TokenRow).order_by(TokenRow.id))]


def write_last_uses(session: Session, uses: Mapping[TokenId, int]) -> None:
    """Write when tokens were used last, unless another process wrote a later time."""
    # In one order, so that two processes wait for each other and not in a circle.
    for token_id, at_ms in sorted(uses.items()):
        earlier = TokenRow.last_used_at_ms.is_(None) | (TokenRow.last_used_at_ms < at_ms)
        change = update(TokenRow).where(TokenRow.id == token_id, earlier).values(last_used_at_ms=at_ms)
        session.execute(change.execution_options(synchronize_session=False))


def _audit(
    session: Session, row: TokenRow, action: str, detail: Mapping[str, object], *, actor: str, now_ms: int
) -> None:
    session.add(
        AuditRow(at_ms=now_ms, actor=actor, action=action, client=row.client, detail={"token": row.id, **detail})
    )
    session.flush()


def _info(row: TokenRow) -> TokenInfo:
    return TokenInfo(
        id=TokenId(row.id),
        role=Role(row.role),
        client=None if row.client is None else ClientId(row.client),
        name=row.name,
        created_at_ms=row.created_at_ms,
        last_used_at_ms=row.last_used_at_ms,
        expires_at_ms=row.expires_at_ms,
        revoked_at_ms=row.revoked_at_ms,
    )
