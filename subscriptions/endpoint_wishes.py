"""What operators want of endpoints: every change locks the endpoint's row, raises its revision and is audited.

A wish is absolute, and a verb changes its own part of it: of a pause and a drain that meet, both hold; of a pause and a
resume, the one that committed last. The row is the outbox of the `control` topic, see `wish_publication`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from hookstream.schemas.control import EndpointWish, SkippedDelivery, endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookState

from .errors import EndpointNotFoundError, TooManySkipsError
from .models import AuditRow, EndpointWishRow, SlotRow

# A wish is one record, and a worker holds all of them. Who skips more wants to drain.
MAX_SKIPPED = 500
# Longer than a delivery is owed: a skip that is forgotten must not be one that was still waited for.
_SKIPPED_KEPT_MS = 60 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class EndpointKey:
    """An endpoint: a client and a target, which is named by its digest."""

    client: ClientId
    target_digest: bytes

    @property
    def id(self) -> str:
        """Its name for people and programs."""
        return endpoint_id(self.client, self.target_digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWish:
    """A wish, and whether Kafka has it: then the worker that owns the endpoint follows it, or will when it is back."""

    wish: EndpointWish
    published: bool
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class EndpointWishes:
    """The wishes, as one transaction sees and changes them. `actor` and `now_ms` go into what is written."""

    session: Session
    actor: str
    now_ms: int

    def get(self, endpoint: EndpointKey) -> StoredWish:
        """Read the present wish; nothing is wished where nobody ever wished anything.

        Raises:
            EndpointNotFoundError: no hook has this target, and no wish was made.
        """
        row = self.session.get(EndpointWishRow, (endpoint.client, endpoint.target_digest.hex()))
        if row is None:
            self._check_exists(endpoint)
            nothing = EndpointWish(client=endpoint.client, target_digest=endpoint.target_digest)
            return StoredWish(wish=nothing, published=True, updated_at_ms=0)
        return stored_wish(row)

    def pause(self, endpoint: EndpointKey, reason: str) -> StoredWish:
        """Send nothing to the endpoint; what arrives is owed.

        Raises:
            EndpointNotFoundError: as in `get`; the same holds for every verb.
        """
        row = self._locked(endpoint)
        row.paused = True
        return self._written(row, "pause", reason, {})

    def resume(self, endpoint: EndpointKey, reason: str) -> StoredWish:
        """Send again what is owed, in order."""
        row = self._locked(endpoint)
        row.paused = False
        return self._written(row, "resume", reason, {})

    def retry_now(self, endpoint: EndpointKey, reason: str) -> StoredWish:
        """Wait for no time any more: neither the endpoint nor one of its resources."""
        row = self._locked(endpoint)
        row.retry_at_ms = max(self.now_ms, row.retry_at_ms + 1)  # above the last one, whose clock may have been ahead
        return self._written(row, "retry-now", reason, {})

    def drain(self, endpoint: EndpointKey, reason: str, *, before_ms: int) -> StoredWish:
        """Move what is owed since before then (the broker's time) to the dead letters."""
        row = self._locked(endpoint)
        row.skip_before_ms = max(row.skip_before_ms, before_ms)  # what was drained once stays so
        row.drained_by, row.drain_reason = self.actor, reason
        return self._written(row, "drain", reason, {"skip_before_ms": row.skip_before_ms})

    def skip(self, endpoint: EndpointKey, reason: str, *, delivery_id: str, at_ms: int) -> StoredWish:
        """Move one delivery to the dead letters, if it is owed since before then (the broker's time).

        Raises:
            TooManySkipsError: so many are skipped one by one already.
        """
        row = self._locked(endpoint)
        kept = [
            skip
            for skip in _skipped(row)
            if skip.delivery_id != delivery_id and skip.at_ms > self.now_ms - _SKIPPED_KEPT_MS
        ]
        if len(kept) >= MAX_SKIPPED:
            raise TooManySkipsError(endpoint.id, MAX_SKIPPED)
        mine = SkippedDelivery(delivery_id=delivery_id, at_ms=at_ms, asked_by=self.actor, reason=reason)
        row.skipped = [asdict(skip) for skip in (*kept, mine)]
        return self._written(row, "skip", reason, {"delivery_id": delivery_id})

    def _locked(self, endpoint: EndpointKey) -> EndpointWishRow:
        key = (endpoint.client, endpoint.target_digest.hex())
        row = self.session.get(EndpointWishRow, key, with_for_update=True)
        if row is None:
            self._check_exists(endpoint)
            row = row_of(EndpointWish(client=endpoint.client, target_digest=endpoint.target_digest))
            self.session.add(row)
        return row

    def _check_exists(self, endpoint: EndpointKey) -> None:
        targets = select(SlotRow.target).where(SlotRow.client == endpoint.client, SlotRow.state != HookState.DELETED)
        if not any(target_digest(target) == endpoint.target_digest for target in self.session.scalars(targets)):
            raise EndpointNotFoundError(endpoint.id)

    def _written(self, row: EndpointWishRow, verb: str, reason: str, detail: Mapping[str, object]) -> StoredWish:
        row.revision += 1
        row.asked_by, row.reason = self.actor, reason
        row.updated_at_ms = self.now_ms
        wish = wish_of(row)
        self.session.add(
            AuditRow(
                at_ms=self.now_ms,
                actor=self.actor,
                action=f"endpoint.{verb}",
                client=row.client,
                detail={"endpoint": wish.endpoint, "revision": row.revision, "reason": reason, **detail},
            )
        )
        self.session.flush()
        return stored_wish(row)


def row_of(wish: EndpointWish) -> EndpointWishRow:
    """A new row that says the same, not published."""
    row = EndpointWishRow(client=wish.client, target_digest=wish.target_digest.hex(), published_revision=0)
    overwrite(row, wish)
    return row


def overwrite(row: EndpointWishRow, wish: EndpointWish) -> None:
    """Let a row say what a wish of its endpoint says."""
    row.paused = wish.paused
    row.skip_before_ms = wish.skip_before_ms
    row.retry_at_ms = wish.retry_at_ms
    row.skipped = [asdict(skip) for skip in wish.skipped]
    row.asked_by, row.reason = wish.asked_by, wish.reason
    row.drained_by, row.drain_reason = wish.drained_by, wish.drain_reason
    row.revision = wish.revision


def wish_of(row: EndpointWishRow) -> EndpointWish:
    """The row as the `control` topic holds it."""
    return EndpointWish(
        client=ClientId(row.client),
        target_digest=bytes.fromhex(row.target_digest),
        paused=row.paused,
        skip_before_ms=row.skip_before_ms,
        retry_at_ms=row.retry_at_ms,
        skipped=tuple(_skipped(row)),
        asked_by=row.asked_by,
        reason=row.reason,
        drained_by=row.drained_by,
        drain_reason=row.drain_reason,
        revision=row.revision,
    )


def stored_wish(row: EndpointWishRow) -> StoredWish:
    """The row as a value that outlives its session."""
    return StoredWish(
        wish=wish_of(row), published=row.published_revision == row.revision, updated_at_ms=row.updated_at_ms
    )


def merged(newer: EndpointWish, older: EndpointWish) -> EndpointWish:
    """Two wishes of one endpoint that do not know each other: what can only grow is both's, the rest the newer's."""
    mine = {skip.delivery_id for skip in newer.skipped}
    drained = newer if newer.skip_before_ms >= older.skip_before_ms else older
    return replace(
        newer,
        skip_before_ms=drained.skip_before_ms,
        drained_by=drained.drained_by,
        drain_reason=drained.drain_reason,
        retry_at_ms=max(newer.retry_at_ms, older.retry_at_ms),
        skipped=(*(skip for skip in older.skipped if skip.delivery_id not in mine), *newer.skipped)[-MAX_SKIPPED:],
    )


def _skipped(row: EndpointWishRow) -> list[SkippedDelivery]:
    return [SkippedDelivery(**skip) for skip in row.skipped]  # type: ignore[arg-type]  # as `asdict` made them
