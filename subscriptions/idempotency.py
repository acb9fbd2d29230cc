"""Once for each `Idempotency-Key`: the first answer to a request that made a secret can be had again for a day.

The answer is sealed, for it holds the secret. Two requests with one key do one deed, also at the same moment: the
second waits for the first one's row. A key ends with any of its hooks: the secret of a deleted one is not given again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from hookstream.schemas.hook import HookState

from .errors import IdempotencyConflictError, SecretError
from .models import IdempotencyRow, SubscriptionRow
from .secrets import SecretBox

# The first answer can be had again for as long as this.
_KEY_LIFETIME_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Claim:
    """A key's row, locked until the transaction ends, and the first answer; None where this request makes it.

    An answer is a list whose first value is the id of its hook, or a list of the ids of its hooks.
    """

    row: IdempotencyRow
    answer: Sequence[object] | None

    def keep(self, box: SecretBox, about: int | Sequence[int], *values: object) -> None:
        """Keep what is answered now, about this hook or these."""
        text = json.dumps([about, *values])
        self.row.answer = box.seal(text.encode(), context=answer_context(self.row.client, self.row.key))


def claim_key(
    session: Session, box: SecretBox, owner: tuple[str, str], request: Sequence[object], *, now_ms: int
) -> Claim:
    """Lock the row of a key, `owner` being its client and itself, before anything else: its holder alone answers.

    Where another process inserts it at the same moment, the flush waits for that one and fails; `transact` begins
    again and finds the row with its answer. A key whose time is over, whose hook is deleted, or whose answer no key of
    ours opens any more is as good as new.

    Raises:
        IdempotencyConflictError: the key came with another request before.
    """
    digest = hashlib.sha256(json.dumps(request).encode()).digest()
    client, key = owner
    row = session.get(IdempotencyRow, owner, with_for_update=True)
    if row is None:
        row = IdempotencyRow(client=client, key=key, request_hash=digest, answer=b"", created_at_ms=now_ms)
        session.add(row)
        session.flush()
        return Claim(row, None)
    answer = None if row.created_at_ms <= now_ms - _KEY_LIFETIME_MS else _living_answer(session, box, row)
    if answer is None:
        row.request_hash, row.answer, row.created_at_ms = digest, b"", now_ms
    elif row.request_hash != digest:
        raise IdempotencyConflictError
    return Claim(row, answer)


def answer_context(client: str, key: str) -> bytes:
    """Whose answer it is, for sealing it."""
    return f"idempotency|{client}|{key}".encode()


def purge_idempotency_keys(session: Session, *, now_ms: int) -> None:
    """Delete the answers that are too old to be given again."""
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at_ms <= now_ms - _KEY_LIFETIME_MS))


def _living_answer(session: Session, box: SecretBox, row: IdempotencyRow) -> Sequence[object] | None:
    """The answer that is kept, if each of its hooks still exists.

    The hooks are not locked: a deletion that commits after this look comes after this request, too.
    """
    try:
        answer = json.loads(box.open(row.answer, context=answer_context(row.client, row.key)))
    except SecretError:
        return None
    if not isinstance(answer, list) or not isinstance(answer[0], int | list):
        return None
    about = answer[0] if isinstance(answer[0], list) else [answer[0]]
    living = select(func.count()).where(
        SubscriptionRow.client == row.client,
        SubscriptionRow.hook_id.in_(about),
        SubscriptionRow.state != HookState.DELETED,
    )
    return answer if session.scalar(living) == len(about) else None
