"""The creation of hooks: once for each idempotency key, with a secret that is shown in the answer and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from sqlalchemy.orm import Session

from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, Revision

from .database import NowMs, Sessions, transact
from .errors import IdempotencyConflictError
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHooks:
    """What an integrator asks for at once: a hook for each of the events, all of one target."""

    client: ClientId
    events: tuple[EventName, ...]
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredHooks:
    """The answer to a creation of many: ids by the event, and the secret of all of them."""

    hook_ids: dict[str, int]
    client: ClientId
    target: Target
    secret: str = field(repr=False)
    repeated: bool = False


def register_hook(
    sessions: Sessions,
    box: SecretBox,
    new: NewHook,
    *,
    actor: str,
    now_ms: NowMs,
    idempotency_key: str | None,
    secret: SigningSecret | None = None,
) -> Registered:
    """Create the hook, or give the first answer again. `secret` is one that its owner has already.

    Two requests with one key make one hook, also at the same moment: the second waits for the first one's row. After
    the hook is deleted, its key makes a new one.

    Raises:
        HookExistsError: the subscription key has a hook, and it was not made with this idempotency key.
        IdempotencyConflictError: the key came with another body before.
        DatabaseUnavailableError: nothing was written.
    """

    def work(session: Session) -> Registered:
        now = now_ms()
        hooks = HookRepository(session, actor, now)
        if idempotency_key is None:
            return _create(box, new, hooks, secret)
        request = [new.event, new.target, *_brought(secret)]
        claim = claim_key(session, box, (new.client, idempotency_key), request, now_ms=now)
        if claim.answer is not None:
            registered = _repeated(claim.answer)
            _check_secret(secret, registered.secret)
            return registered
        made = _create(box, new, hooks, secret)
        claim.keep(box, made.hook_id, made.client, made.event, made.target, made.secret, made.revision)
        return made

    return transact(sessions, work)


def register_hooks(
    sessions: Sessions,
    box: SecretBox,
    new: NewHooks,
    *,
    actor: str,
    now_ms: NowMs,
    idempotency_key: str | None,
    secret: SigningSecret | None = None,
) -> RegisteredHooks:
    """Create a hook for each event, all under one secret, or none of them; or give the first answer again.

    Once one of the hooks is deleted, the key is as good as new.

    Raises:
        HooksExistError: some of the subscription keys have a hook.
        IdempotencyConflictError: the key came with another body before.
        DatabaseUnavailableError: nothing was written.
    """

    def work(session: Session) -> RegisteredHooks:
        now = now_ms()
        hooks = HookRepository(session, actor, now)
        if idempotency_key is None:
            return _create_all(box, new, hooks, secret)
        request = ["hooks", new.target, sorted(new.events), *_brought(secret)]
        claim = claim_key(session, box, (new.client, idempotency_key), request, now_ms=now)
        if claim.answer is not None:
            ids, events, target, kept = cast("tuple[list[int], list[str], str, str]", tuple(claim.answer))
            _check_secret(secret, kept)
            hook_ids = dict(zip(events, ids, strict=True))
            return RegisteredHooks(
                hook_ids=hook_ids, client=new.client, target=Target(target), secret=kept, repeated=True
            )
        made = _create_all(box, new, hooks, secret)
        claim.keep(box, list(made.hook_ids.values()), list(made.hook_ids), made.target, made.secret)
        return made

    return transact(sessions, work)


def _create(box: SecretBox, new: NewHook, hooks: HookRepository, brought: SigningSecret | None) -> Registered:
    secret = brought or SigningSecret.new()

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


def _create_all(box: SecretBox, new: NewHooks, hooks: HookRepository, brought: SigningSecret | None) -> RegisteredHooks:
    secret = brought or SigningSecret.new()

    def seal(event: EventName, hook_id: HookId) -> bytes:
        return box.seal(secret.key, context=hook_context(new.client, event, hook_id))

    made = hooks.create_all(new.client, new.events, new.target, seal_secret=seal)
    hook_ids: dict[str, int] = {stored.hook.event: stored.hook.id for stored in made}
    return RegisteredHooks(hook_ids=hook_ids, client=new.client, target=new.target, secret=secret.reveal())


def _brought(secret: SigningSecret | None) -> list[str]:
    """What the hash of a request says of a secret that was brought: that there is one.

    The row's hash is not sealed, and a secret that a person chose may be found by trying.
    """
    return [] if secret is None else ["secret"]


def _check_secret(brought: SigningSecret | None, kept: str) -> None:
    if brought is not None and brought.reveal() != kept:
        raise IdempotencyConflictError


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
