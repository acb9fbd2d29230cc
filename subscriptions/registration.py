"""The creation of a hook: once for each idempotency key, with a secret that is shown in the answer and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from sqlalchemy.orm import Session

from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId, Revision

from .database import NowMs, Sessions, transact
from .idempotency import claim_key
from .repository import HookRepository, NewHook
from .secrets import SecretBox, SigningSecret, hook_context
from .target_url import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The answer to a creation. `repeated` where an earlier request made the hook.

    `revision` is that of the new hook; None where an earlier release made it.
    """

    hook_id: HookId
    client: ClientId
    event: str
    target: Target
    revision: Revision | None
    secret: str = field(repr=False)
    repeated: bool = False


def register_hook(
    sessions: Sessions, box: SecretBox, new: NewHook, *, actor: str, now_ms: NowMs, idempotency_key: str | None
) -> Registered:
    """Create the hook, or give the first answer again.

    Two requests with one key make one hook, also at the same moment: the second waits for the first one's row. After
    the hook is deleted, its key makes a new one.

    Raises:
        HookExistsError: the subscription key has a hook, and it was not made with this idempotency key.
        IdempotencyConflictError: the key came with another body before.
        DatabaseUnavailableError: nothing was written.
    """

    def work(session: Session) -> Registered:
        now = now_ms()
        if idempotency_key is None:
            return _create(box, new, HookRepository(session, actor, now))
        claim = claim_key(session, box, (new.client, idempotency_key), [new.event, new.target], now_ms=now)
        if claim.answer is not None:
            return _repeated(claim.answer)
        made = _create(box, new, HookRepository(session, actor, now))
        claim.keep(box, made.hook_id, made.client, made.event, made.target, made.secret, made.revision)
        return made

    return transact(sessions, work)


def _create(box: SecretBox, new: NewHook, hooks: HookRepository) -> Registered:
    secret = SigningSecret.new()

    def seal(hook_id: HookId) -> bytes:
        return box.seal(secret.key, context=hook_context(new.client, new.event, hook_id))

    hook = hooks.create(new, seal_secret=seal).hook
    return Registered(
        hook_id=hook.id,
        client=hook.client,
        event=hook.event,
        target=Target(hook.target),
        revision=hook.revision,
        secret=secret.reveal(),
    )


def _repeated(answer: Sequence[object]) -> Registered:
    hook_id, client, event, target, secret, *revision = cast("tuple[int, object, str, str, str, int]", tuple(answer))
    return Registered(
        hook_id=HookId(hook_id),
        client=ClientId(str(client)),  # answers of 0.1 have it as an integer
        event=event,
        target=Target(target),
        revision=Revision(revision[0]) if revision else None,
        secret=secret,
        repeated=True,
    )
