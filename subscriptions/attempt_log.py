"""The attempt log: what became of every HTTP request, as far as the log has been read.

An attempt is written once, however often its record is read. How far each partition of `attempts` has been applied is
written in the same transaction, so that the two never disagree, and whoever has to be sure can ask first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, TextClause, case, delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session, defer

from hookstream.schemas.attempt import Attempt, AttemptResult
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, Revision

from .models import AttemptLogRow, AttemptRow

# Spelled as the partial indexes are, so that both databases see that they serve.
FAILED: Final = text("result <> 'delivered'")
DELIVERED: Final = text("result = 'delivered'")
_IDENTITY: Final = (
    "delivery_id",
    "started_at_ms",
    "number",
    "delivery_partition",
    "delivery_offset",
    "replay",
)


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """An attempt, and when its record was appended to the log. `row_id` is its row's, 0 while it has none."""

    attempt: Attempt
    logged_at_ms: int
    row_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogProgress:
    """How far one partition of `attempts` is in the table, and since when it is there without a gap.

    Every record below `next_offset` that was appended at or after `covers_from_ms` has its row.
    """

    partition: int
    topic_id: str
    next_offset: int
    appended_at_ms: int | None
    covers_from_ms: int


@dataclass(frozen=True, slots=True)
class PagePosition:
    """The last row of a page: the next one begins behind it."""

    started_at_ms: int
    row_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptedDelivery:
    """A delivery as its attempts know it. `position` is that of its record in `deliveries`, None for replays alone."""

    id: DeliveryId
    hook_id: HookId
    client: ClientId
    event: EventName
    namespace: str
    concept_id: str
    delivered: bool
    last_started_at_ms: int
    position: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptQuery:
    """Which attempts to list, the newest first; what is None does not matter.

    `failed` are those that were answered by anything but 2xx. Times are those of the attempts' starts, from the first
    on and before the second. Without `answers`, their bodies are not read, and empty.
    """

    client: ClientId | None = None
    hook_id: HookId | None = None
    delivery_id: DeliveryId | None = None
    result: AttemptResult | None = None
    failed: bool = False
    from_ms: int | None = None
    to_ms: int | None = None
    after: PagePosition | None = None
    limit: int = 50
    answers: bool = True


def write_attempts(session: Session, attempts: Sequence[LoggedAttempt], progress: Sequence[LogProgress]) -> None:
    """Write what was read, and how far that is. What is there already stays, and progress never goes back.

    Progress under another topic's id replaces what there is: its offsets have nothing to do with ours.
    """
    if attempts:
        session.execute(_insertion(session), [_values(logged) for logged in attempts])
    known = _locked_progress(session, progress)
    for found in progress:
        row = known[found.partition]
        if row.topic_id != found.topic_id or row.next_offset <= found.next_offset:
            _advance(row, found)
    session.flush()


def replace_progress(session: Session, progress: Sequence[LogProgress]) -> None:
    """Write how far partitions are whose log is another than the one that was read, or was cut."""
    known = _locked_progress(session, progress)
    for found in progress:
        _advance(known[found.partition], found)
    session.flush()


def log_progress(session: Session) -> Mapping[int, LogProgress]:
    """How far each partition is; one that is missing was never read."""
    return {
        row.partition: LogProgress(
            partition=row.partition,
            topic_id=row.topic_id,
            next_offset=row.next_offset,
            appended_at_ms=row.appended_at_ms,
            covers_from_ms=row.covers_from_ms,
        )
        for row in session.scalars(select(AttemptLogRow).order_by(AttemptLogRow.partition))
    }


def list_attempts(session: Session, query: AttemptQuery) -> list[LoggedAttempt]:
    """Attempts, the newest first.

    A hook's successes and its failures are read by an index each, and merged: of either there may be millions.
    """
    if query.hook_id is None or query.failed or query.result is not None:
        return _list(session, query)
    of_either = (replace(query, result=AttemptResult.DELIVERED), replace(query, failed=True))
    return _newest([attempt for each in of_either for attempt in _list(session, each)], query.limit)


def _newest(found: list[LoggedAttempt], limit: int) -> list[LoggedAttempt]:
    found.sort(key=lambda logged: (logged.attempt.started_at_ms, logged.row_id), reverse=True)
    return found[:limit]


def _list(session: Session, query: AttemptQuery) -> list[LoggedAttempt]:
    found = select(AttemptRow).order_by(AttemptRow.started_at_ms.desc(), AttemptRow.id.desc()).limit(query.limit)
    if query.client is not None:
        found = found.where(AttemptRow.client == query.client)
    if query.hook_id is not None:
        found = found.where(AttemptRow.hook_id == query.hook_id)
    if query.delivery_id is not None:
        found = found.where(AttemptRow.delivery_id == query.delivery_id)
    found = found.where(*_ended(query))
    if query.from_ms is not None:
        found = found.where(AttemptRow.started_at_ms >= query.from_ms)
    if query.to_ms is not None:
        found = found.where(AttemptRow.started_at_ms < query.to_ms)
    if query.after is not None:
        position = (query.after.started_at_ms, query.after.row_id)
        found = found.where(tuple_(AttemptRow.started_at_ms, AttemptRow.id) < position)
    if not query.answers:
        found = found.options(defer(AttemptRow.answer, raiseload=True))
    return [_logged(row, answers=query.answers) for row in session.scalars(found)]


def _ended(query: AttemptQuery) -> Iterator[ColumnElement[bool] | TextClause]:
    if query.result is AttemptResult.DELIVERED:
        yield DELIVERED
    elif query.result is not None:
        yield AttemptRow.result == query.result.value
    if query.failed or query.result not in (None, AttemptResult.DELIVERED):
        yield FAILED


def list_attempts_of(session: Session, hooks: Collection[HookId], query: AttemptQuery) -> list[LoggedAttempt]:
    """Attempts of any of these hooks, the newest first; each hook's indexes serve its own."""
    found = [attempt for hook in hooks for attempt in list_attempts(session, replace(query, hook_id=hook))]
    return _newest(found, query.limit)


def find_attempted(session: Session, delivery_id: DeliveryId, client: ClientId | None) -> AttemptedDelivery | None:
    """A delivery by its attempts; None where there is none, or where it is another client's."""
    ours = select(AttemptRow).where(AttemptRow.delivery_id == delivery_id)
    if client is not None:
        ours = ours.where(AttemptRow.client == client)
    last = session.scalar(ours.order_by(AttemptRow.started_at_ms.desc(), AttemptRow.id.desc()).limit(1))
    if last is None:
        return None
    live = session.scalar(ours.where(AttemptRow.replay == "").limit(1))
    delivered = session.scalar(ours.where(AttemptRow.result == AttemptResult.DELIVERED.value).limit(1))
    return AttemptedDelivery(
        id=delivery_id,
        hook_id=HookId(last.hook_id),
        client=ClientId(last.client),
        event=EventName(last.event),
        namespace=last.namespace,
        concept_id=last.concept_id,
        delivered=delivered is not None,
        last_started_at_ms=last.started_at_ms,
        position=None if live is None else (live.delivery_partition, live.delivery_offset),
    )


def were_delivered(session: Session, ids: Collection[DeliveryId]) -> Mapping[DeliveryId, bool]:
    """Which of these deliveries were attempted, and whether an attempt was answered 2xx. A few hundred at once."""
    delivered = func.max(case((AttemptRow.result == AttemptResult.DELIVERED.value, 1), else_=0))
    found = select(AttemptRow.delivery_id, delivered).where(AttemptRow.delivery_id.in_(ids))
    rows = session.execute(found.group_by(AttemptRow.delivery_id))
    return {DeliveryId(delivery_id): bool(success) for delivery_id, success in rows}


def delete_attempts(session: Session, *, before_ms: int, limit: int) -> int:
    """Delete attempts that were logged before then, oldest first, looking at so many; give their number.

    It goes by the order in which rows were written, and needs no index for that: rows of a partition that was read
    late go when what was written before them goes. Progress says from when on the log is whole, before anything goes.
    """
    oldest = select(AttemptRow.id, AttemptRow.logged_at_ms).order_by(AttemptRow.id).limit(limit)
    old = [row_id for row_id, logged_at_ms in session.execute(oldest) if logged_at_ms < before_ms]
    if not old:
        return 0
    lifted = update(AttemptLogRow).where(AttemptLogRow.covers_from_ms < before_ms).values(covers_from_ms=before_ms)
    session.execute(lifted)
    session.execute(delete(AttemptRow).where(AttemptRow.id.in_(old)))
    return len(old)


def _locked_progress(session: Session, progress: Sequence[LogProgress]) -> Mapping[int, AttemptLogRow]:
    """The partitions' rows, made where they are missing."""
    # In one order, so that two processes that overlap for a moment wait for each other and not in a circle.
    wanted = select(AttemptLogRow).where(AttemptLogRow.partition.in_([found.partition for found in progress]))
    rows = session.scalars(wanted.order_by(AttemptLogRow.partition).with_for_update())
    known = {row.partition: row for row in rows}
    for found in progress:
        if found.partition not in known:
            row = known[found.partition] = AttemptLogRow(
                partition=found.partition, topic_id="", next_offset=0, covers_from_ms=0
            )
            session.add(row)
    return known


def _advance(row: AttemptLogRow, found: LogProgress) -> None:
    row.topic_id = found.topic_id
    row.next_offset = found.next_offset
    row.appended_at_ms = found.appended_at_ms
    row.covers_from_ms = max(row.covers_from_ms, found.covers_from_ms)


def _insertion(session: Session) -> Any:  # noqa: ANN401  # the two dialects' classes have no common one that is typed
    insert = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
    return insert(AttemptRow).on_conflict_do_nothing(index_elements=_IDENTITY)


def _values(logged: LoggedAttempt) -> dict[str, object]:
    attempt = logged.attempt
    return {
        "delivery_id": attempt.delivery_id,
        "hook_id": attempt.hook_id,
        "hook_revision": attempt.hook_revision,
        "client": attempt.client,
        "event": attempt.event,
        "namespace": attempt.namespace,
        "concept_id": attempt.concept_id,
        "delivery_partition": attempt.partition,
        "delivery_offset": attempt.offset,
        "number": attempt.number,
        "probe": attempt.probe,
        "replay": attempt.replay or "",
        "started_at_ms": attempt.started_at_ms,
        "duration_ms": attempt.duration_ms,
        "result": attempt.result.value,
        "status": attempt.status,
        "answer": attempt.answer,
        "logged_at_ms": logged.logged_at_ms,
    }


def _logged(row: AttemptRow, *, answers: bool) -> LoggedAttempt:
    attempt = Attempt(
        delivery_id=DeliveryId(row.delivery_id),
        hook_id=HookId(row.hook_id),
        hook_revision=Revision(row.hook_revision),
        client=ClientId(row.client),
        event=EventName(row.event),
        namespace=row.namespace,
        concept_id=row.concept_id,
        partition=row.delivery_partition,
        offset=row.delivery_offset,
        number=row.number,
        probe=row.probe,
        replay=row.replay or None,
        started_at_ms=row.started_at_ms,
        duration_ms=row.duration_ms,
        result=AttemptResult(row.result),
        status=row.status,
        answer=row.answer if answers else b"",
    )
    return LoggedAttempt(attempt, row.logged_at_ms, row.id)
