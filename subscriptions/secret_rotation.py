"""A new secret for a hook, while receivers still check with the old one.

For a day both sign every delivery, newest first; then the relay drops the old one. An answer that was lost costs
nothing: the old secret is still in use, and with an `Idempotency-Key` the same answer can be had again.

Source: Standard Webhooks 1.0, "Signature scheme" (several signatures, separated by spaces, for rotation without
downtime).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import Hook

from .changes import StoredHook
from .database import NowMs, Sessions, reading, transact
from .endpoint_settings import EndpointKey, target_of
from .errors import EndpointNotFoundError, SecretError
from .idempotency import claim_key
from .models import SubscriptionRow
from .repository import HookRepository
from .secrets import SecretBox, SigningSecret, hook_context

SECRET_OVERLAP_MS = 24 * 3600 * 1000
_ACTOR = "relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The answer to a rotation. `repeated` where an earlier request made the secret."""

    stored: StoredHook
    old_until_ms: int
    secret: str = field(repr=False)
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRequest:
    """Whose secret; `client` None may be any client's."""

    hook_id: int
    client: ClientId | None
    idempotency_key: str | None


def rotate_secret(sessions: Sessions, box: SecretBox, wanted: RotationRequest, *, actor: str, now_ms: NowMs) -> Rotated:
    """Make a new secret, or give the first answer again.

    Raises:
        HookNotFoundError: none, deleted, or another client's.
        TooManySecretsError: rotated again and again within a day.
        IdempotencyConflictError: the key came with another request before.
        DatabaseUnavailableError: nothing was written.
    """

    def work(session: Session) -> Rotated:
        now = now_ms()
        hooks = HookRepository(session, actor, now)
        key = wanted.idempotency_key
        if key is None:
            return _rotate(hooks, box, wanted)
        owner = hooks.get(wanted.hook_id, client=wanted.client)
        claim = claim_key(session, box, (owner.hook.client, key), ["secret.rotate", wanted.hook_id], now_ms=now)
        if claim.answer is not None:
            _, secret, old_until_ms = cast("tuple[int, str, int]", tuple(claim.answer))
            stored = hooks.get(wanted.hook_id, client=wanted.client)
            return Rotated(stored=stored, old_until_ms=old_until_ms, secret=secret, repeated=True)
        rotated = _rotate(hooks, box, wanted)
        claim.keep(box, wanted.hook_id, rotated.secret, rotated.old_until_ms)
        return rotated

    return transact(sessions, work)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRotated:
    """The answer to a rotation of all hooks of an endpoint. `repeated` where an earlier request made the secret."""

    hooks: Sequence[StoredHook]
    old_until_ms: int
    secret: str = field(repr=False)
    repeated: bool = False


def rotate_endpoint_secret(
    sessions: Sessions,
    box: SecretBox,
    endpoint: EndpointKey,
    *,
    actor: str,
    now_ms: NowMs,
    idempotency_key: str | None,
) -> EndpointRotated:
    """Make one new secret for every hook of an endpoint, or for none; or give the first answer again.

    Raises:
        EndpointNotFoundError: no hook of the client has this target.
        TooManySecretsError: one of the hooks was rotated again and again within a day.
        IdempotencyConflictError: the key came with another request before.
        DatabaseUnavailableError: nothing was written.
    """

    def work(session: Session) -> EndpointRotated:
        now, key = now_ms(), idempotency_key
        hooks = HookRepository(session, actor, now)
        target = target_of(session, endpoint)
        if target is None:
            raise EndpointNotFoundError(endpoint.id)
        request = ["endpoint.secret.rotate", endpoint.id]
        claim = None if key is None else claim_key(session, box, (endpoint.client, key), request, now_ms=now)
        if claim is not None and claim.answer is not None:
            ids, secret, old_until_ms = cast("tuple[list[int], str, int]", tuple(claim.answer))
            stored = [hooks.get(hook_id, client=endpoint.client) for hook_id in ids]
            return EndpointRotated(hooks=stored, old_until_ms=old_until_ms, secret=secret, repeated=True)
        new, old_until_ms = SigningSecret.new(), now + SECRET_OVERLAP_MS
        rotated = hooks.rotate_secrets(
            endpoint.client, target, renew=partial(_renewed, box, new), old_until_ms=old_until_ms
        )
        if not rotated:  # the last one was retargeted or deleted while this one waited for its row
            raise EndpointNotFoundError(endpoint.id)
        if claim is not None:
            claim.keep(box, [stored.hook.id for stored in rotated], new.reveal(), old_until_ms)
        return EndpointRotated(hooks=rotated, old_until_ms=old_until_ms, secret=new.reveal())

    return transact(sessions, work)


def drop_old_secrets(sessions: Sessions, *, now_ms: int, limit: int) -> int:
    """Drop the old secrets whose time is over; give the number of hooks.

    Raises:
        DatabaseUnavailableError: call it again.
    """
    with reading(sessions) as session:
        if (
            session.scalar(
                select(SubscriptionRow.hook_id).where(SubscriptionRow.old_secrets_until_ms <= now_ms).limit(1)
            )
            is None
        ):
            return 0
    return transact(sessions, lambda session: HookRepository(session, _ACTOR, now_ms).drop_old_secrets(limit=limit))


def _rotate(hooks: HookRepository, box: SecretBox, wanted: RotationRequest) -> Rotated:
    secret = SigningSecret.new()
    old_until_ms = hooks.now_ms + SECRET_OVERLAP_MS
    stored = hooks.rotate_secret(
        wanted.hook_id, client=wanted.client, renew=partial(_renewed, box, secret), old_until_ms=old_until_ms
    )
    return Rotated(stored=stored, old_until_ms=old_until_ms, secret=secret.reveal())


def _renewed(box: SecretBox, new: SigningSecret, hook: Hook) -> tuple[bytes, ...]:
    """What a hook is signed with from now on: the new secret, and those of its present ones that are of any use."""
    context = hook_context(hook.client, hook.event, hook.id)
    old = [sealed for sealed in hook.secrets if _opens(box, sealed, context)]
    return (box.seal(new.key, context=context), *old)


def _opens(box: SecretBox, sealed: bytes, context: bytes) -> bool:
    """Whether it is of any use: with one whose master key is lost the whole hook could not be signed for."""
    try:
        box.open(sealed, context=context)
    except SecretError:
        return False
    return True
