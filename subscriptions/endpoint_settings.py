"""What operators want of endpoints: every change locks the endpoint's row, raises its revision and is audited.

Settings are absolute, and an action changes its own part of them: of a pause and a drain that meet, both hold; of a
pause and a resume, the one that committed last. The row is the outbox of the `control` topic, see
`endpoint_settings_publication`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from hookstream.schemas.control import EndpointSettings, SkippedDelivery, endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookState

from .errors import EndpointNotFoundError, TooManySkipsError
from .models import AuditRow, EndpointSettingsRow, SubscriptionRow

# Settings are one record, and a worker holds all of them. Who skips more wants to drain.
MAX_SKIPPED = 500
# Longer than a delivery is pending: a skip that is forgotten must not be one that was still waited for.
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
class StoredSettings:
    """Settings, and whether Kafka has them: then the endpoint's worker follows them, or will when it runs."""

    wanted: EndpointSettings
    published: bool
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class EndpointSettingsChanges:
    """The settings, as one transaction sees and changes them. `actor` and `now_ms` go into what is written."""

    session: Session
    actor: str
    now_ms: int

    def get(self, endpoint: EndpointKey) -> StoredSettings:
        """Read the present settings; they are empty where no operator ever set any.

        Raises:
            EndpointNotFoundError: no hook has this target, and no settings were made.
        """
        row = self.session.get(EndpointSettingsRow, (endpoint.client, endpoint.target_digest.hex()))
        if row is None:
            self._check_exists(endpoint)
            nothing = EndpointSettings(client=endpoint.client, target_digest=endpoint.target_digest)
            return StoredSettings(wanted=nothing, published=True, updated_at_ms=0)
        return stored_settings(row)

    def pause(self, endpoint: EndpointKey, reason: str) -> StoredSettings:
        """Send nothing to the endpoint; what arrives stays pending.

        Raises:
            EndpointNotFoundError: as in `get`; the same holds for every action.
        """
        row = self._locked(endpoint)
        row.paused = True
        return self._written(row, "pause", reason, {})

    def resume(self, endpoint: EndpointKey, reason: str) -> StoredSettings:
        """Send the backlog again, in order."""
        row = self._locked(endpoint)
        row.paused = False
        return self._written(row, "resume", reason, {})

    def retry_now(self, endpoint: EndpointKey, reason: str) -> StoredSettings:
        """Wait for no time any more: neither the endpoint nor one of its resources."""
        row = self._locked(endpoint)
        row.retry_at_ms = max(self.now_ms, row.retry_at_ms + 1)  # above the last one, whose clock may have been ahead
        return self._written(row, "retry-now", reason, {})

    def drain(self, endpoint: EndpointKey, reason: str, *, before_ms: int) -> StoredSettings:
        """Move what is pending since before then (the broker's time) to the dead letters."""
        row = self._locked(endpoint)
        row.skip_before_ms = max(row.skip_before_ms, before_ms)  # what was drained once stays so
        row.drained_by, row.drain_reason = self.actor, reason
        return self._written(row, "drain", reason, {"skip_before_ms": row.skip_before_ms})

    def skip(self, endpoint: EndpointKey, reason: str, *, delivery_id: str, at_ms: int) -> StoredSettings:
        """Move one delivery to the dead letters, if it is pending since before then (the broker's time).

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

    def _locked(self, endpoint: EndpointKey) -> EndpointSettingsRow:
        key = (endpoint.client, endpoint.target_digest.hex())
        row = self.session.get(EndpointSettingsRow, key, with_for_update=True)
        if row is None:
            self._check_exists(endpoint)
            row = row_of(EndpointSettings(client=endpoint.client, target_digest=endpoint.target_digest))
            self.session.add(row)
        return row

    def _check_exists(self, endpoint: EndpointKey) -> None:
        if target_of(self.session, endpoint) is None:
            raise EndpointNotFoundError(endpoint.id)

    def _written(
        self, row: EndpointSettingsRow, action: str, reason: str, detail: Mapping[str, object]
    ) -> StoredSettings:
        row.revision += 1
        row.asked_by, row.reason = self.actor, reason
        row.updated_at_ms = self.now_ms
        wanted = settings_of(row)
        self.session.add(
            AuditRow(
                at_ms=self.now_ms,
                actor=self.actor,
                action=f"endpoint.{action}",
                client=row.client,
                detail={"endpoint": wanted.endpoint, "revision": row.revision, "reason": reason, **detail},
            )
        )
        self.session.flush()
        return stored_settings(row)


def target_of(session: Session, endpoint: EndpointKey) -> str | None:
    """The target that an endpoint's digest stands for; None where no hook of the client has it."""
    targets = select(SubscriptionRow.target).where(
        SubscriptionRow.client == endpoint.client, SubscriptionRow.state != HookState.DELETED
    )
    return next((text for text in session.scalars(targets) if target_digest(text) == endpoint.target_digest), None)


def row_of(wanted: EndpointSettings) -> EndpointSettingsRow:
    """A new row that says the same, not published."""
    row = EndpointSettingsRow(client=wanted.client, target_digest=wanted.target_digest.hex(), published_revision=0)
    overwrite(row, wanted)
    return row


def overwrite(row: EndpointSettingsRow, wanted: EndpointSettings) -> None:
    """Let a row say what settings of its endpoint says."""
    row.paused = wanted.paused
    row.skip_before_ms = wanted.skip_before_ms
    row.retry_at_ms = wanted.retry_at_ms
    row.skipped = [asdict(skip) for skip in wanted.skipped]
    row.asked_by, row.reason = wanted.asked_by, wanted.reason
    row.drained_by, row.drain_reason = wanted.drained_by, wanted.drain_reason
    row.revision = wanted.revision


def settings_of(row: EndpointSettingsRow) -> EndpointSettings:
    """The row as the `control` topic holds it."""
    return EndpointSettings(
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


def stored_settings(row: EndpointSettingsRow) -> StoredSettings:
    """The row as a value that outlives its session."""
    return StoredSettings(
        wanted=settings_of(row), published=row.published_revision == row.revision, updated_at_ms=row.updated_at_ms
    )


def merged(newer: EndpointSettings, older: EndpointSettings) -> EndpointSettings:
    """Two settings of one endpoint that do not know each other: what can only grow is both's, the rest the newer's."""
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


def _skipped(row: EndpointSettingsRow) -> list[SkippedDelivery]:
    return [SkippedDelivery(**skip) for skip in row.skipped]  # type: ignore[arg-type]  # as `asdict` made them
