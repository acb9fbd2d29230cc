"""The creation of a hook: once for each idempotency key, with a secret that is shown in the answer and nowhere else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from sqlalchemy import delete
from sqlalchemy.orm import Session

from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId

from .database import NowMs, Sessions, transact
from .errors import IdempotencyConflictError
from .models import IdempotencyRow
from .repository import HookRepository, NewHook
from .secrets import SecretBox, SigningSecret, hook_context
from .target_url import Target

# The first answer can be had again for as long as this.
_KEY_LIFETIME_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The answer to a creation. `repeated` where an earlier request made the hook."""

    hook_id: HookId
    client: ClientId
    event: str
    target: Target
    secret: str = field(repr=False)
    repeated: bool = False


def register_hook(
    sessions: Sessions, box: SecretBox, new: NewHook, *, actor: str, now_ms: NowMs, idempotency_key: str | None
) -> Registered:
    """Create the hook, or give the first answer again.

    Two requests with one key make one hook, also at the same moment: the second waits for the first one's row.

    Raises:
        HookExistsError: the slot has a hook, and not from this key.
        IdempotencyConflictError: the key came with another body before.
        DatabaseUnavailableError: nothing was written.
    """

    def work(session: Session) -> Registered:
        now = now_ms()
        if idempotency_key is None:
            return _create(box, new, HookRepository(session, actor, now))
        claim = _claim(session, new, idempotency_key, now)
        context = _context(new.client, idempotency_key)
        if claim.answer:
            return _opened(box.open(claim.answer, context=context))
        registered = _create(box, new, HookRepository(session, actor, now))
        claim.answer = box.seal(_packed(registered), context=context)
        return registered

    return transact(sessions, work)


def purge_idempotency_keys(session: Session, *, now_ms: int) -> None:
    """Forget the answers that nobody can have again."""
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at_ms <= now_ms - _KEY_LIFETIME_MS))


def _create(box: SecretBox, new: NewHook, hooks: HookRepository) -> Registered:
    secret = SigningSecret.new()

    def seal(hook_id: HookId) -> bytes:
        return box.seal(secret.key, context=hook_context(new.client, new.event, hook_id))

    hook = hooks.create(new, seal_secret=seal).hook
    return Registered(
        hook_id=hook.id, client=hook.client, event=hook.event, target=Target(hook.target), secret=secret.reveal()
    )


def _claim(session: Session, new: NewHook, key: str, now_ms: int) -> IdempotencyRow:
    """The key's row, locked, before anything else is: its holder decides alone what the answer is.

    A new row has no answer yet. Where another process inserts it at the same moment, the flush waits for that one and
    fails; `transact` begins again and finds the row with its answer.
    """
    digest = hashlib.sha256(json.dumps([new.event, new.target]).encode()).digest()
    row = session.get(IdempotencyRow, (new.client, key), with_for_update=True)
    if row is None:
        row = IdempotencyRow(client=new.client, key=key, request_hash=digest, answer=b"", created_at_ms=now_ms)
        session.add(row)
        session.flush()
    elif row.created_at_ms <= now_ms - _KEY_LIFETIME_MS:
        row.request_hash, row.answer, row.created_at_ms = digest, b"", now_ms
    elif row.request_hash != digest:
        msg = "this Idempotency-Key was used with another body"
        raise IdempotencyConflictError(msg)
    return row


def _context(client: int, key: str) -> bytes:
    return f"idempotency|{client}|{key}".encode()


def _packed(registered: Registered) -> bytes:
    answer = [registered.hook_id, registered.client, registered.event, registered.target, registered.secret]
    return json.dumps(answer).encode()


def _opened(data: bytes) -> Registered:
    hook_id, client, event, target, secret = json.loads(data)
    return Registered(hook_id=hook_id, client=client, event=event, target=target, secret=secret, repeated=True)
