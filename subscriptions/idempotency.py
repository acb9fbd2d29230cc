"""Once for each `Idempotency-Key`: the first answer to a request that made a secret can be had again for a day.

The answer is sealed, for it holds the secret. Two requests with one key do one deed, also at the same moment: the
second waits for the first one's row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from sqlalchemy import delete
from sqlalchemy.orm import Session

from .errors import IdempotencyConflictError
from .models import IdempotencyRow

# The first answer can be had again for as long as this.
_KEY_LIFETIME_MS = 24 * 3600 * 1000


def claim_key(session: Session, client: int, key: str, request: Sequence[object], *, now_ms: int) -> IdempotencyRow:
    """The key's row, locked, before anything else is: its holder decides alone what the answer is.

    A new row has no answer yet. Where another process inserts it at the same moment, the flush waits for that one and
    fails; `transact` begins again and finds the row with its answer.

    Raises:
        IdempotencyConflictError: the key came with another request before.
    """
    digest = hashlib.sha256(json.dumps(request).encode()).digest()
    row = session.get(IdempotencyRow, (client, key), with_for_update=True)
    if row is None:
        row = IdempotencyRow(client=client, key=key, request_hash=digest, answer=b"", created_at_ms=now_ms)
        session.add(row)
        session.flush()
    elif row.created_at_ms <= now_ms - _KEY_LIFETIME_MS:
        row.request_hash, row.answer, row.created_at_ms = digest, b"", now_ms
    elif row.request_hash != digest:
        msg = "this Idempotency-Key was used with another body"
        raise IdempotencyConflictError(msg)
    return row


def answer_context(client: int, key: str) -> bytes:
    """Whose answer it is, for sealing it."""
    return f"idempotency|{client}|{key}".encode()


def purge_idempotency_keys(session: Session, *, now_ms: int) -> None:
    """Forget the answers that nobody can have again."""
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at_ms <= now_ms - _KEY_LIFETIME_MS))
