"""What the attempt log does not know of: attempts that workers could not record, summed up by client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hookstream.schemas.attempt import AttemptGap
from hookstream.schemas.event import ClientId

from .models import AttemptGapRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientGap:
    """So many attempts of a client are missing, from the first to the last; times are Unix milliseconds, of telling."""

    client: ClientId
    attempts: int
    first_at_ms: int
    last_at_ms: int


def add_gaps(session: Session, gaps: Sequence[AttemptGap]) -> None:
    """Add what was read, in the transaction that says how far reading is: each record is then added once."""
    # In one order, so that two processes that overlap for a moment wait for each other and not in a circle.
    for gap in sorted(gaps, key=lambda each: each.client):
        row = session.get(AttemptGapRow, gap.client, with_for_update=True)
        if row is None:
            session.add(
                AttemptGapRow(client=gap.client, attempts=gap.attempts, first_at_ms=gap.at_ms, last_at_ms=gap.at_ms)
            )
            session.flush()
        else:
            row.attempts += gap.attempts
            row.first_at_ms = min(row.first_at_ms, gap.at_ms)
            row.last_at_ms = max(row.last_at_ms, gap.at_ms)
    session.flush()


def list_gaps(session: Session, client: ClientId | None, *, limit: int) -> list[ClientGap]:
    """What is missing of a client, or of all, the latest first."""
    found = select(AttemptGapRow).order_by(AttemptGapRow.last_at_ms.desc(), AttemptGapRow.client).limit(limit)
    if client is not None:
        found = found.where(AttemptGapRow.client == client)
    return [
        ClientGap(
            client=ClientId(row.client),
            attempts=row.attempts,
            first_at_ms=row.first_at_ms,
            last_at_ms=row.last_at_ms,
        )
        for row in session.scalars(found)
    ]


def delete_gaps(session: Session, *, before_ms: int) -> None:
    """Forget clients of whom nothing was missing since: the attempts around the gap are deleted as well."""
    session.execute(delete(AttemptGapRow).where(AttemptGapRow.last_at_ms < before_ms))
