"""The endpoints of hooks, as the database knows them: which there are, and what became of their latest attempts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId, HookState

from .attempt_log import DELIVERED, FAILED
from .backlogs import EndpointHook
from .database import one_of
from .models import DISABLED, LIVING, AttemptRow, DisabledReason, EndpointSettingsRow, SubscriptionRow

# So many are named in one statement; both databases take more.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointQuery:
    """Which hooks to look at for a list of endpoints: those above `after`, of one client where it is set.

    `disabled`: only those that are disabled, or enabled; None: both.
    """

    client: ClientId | None
    disabled: bool | None = None
    after: int = 0
    limit: int = 100


def hooks_of(session: Session, clients: Collection[ClientId]) -> Iterator[EndpointHook]:
    """Every subscription row of these clients, deleted hooks' too."""
    if clients:
        yield from _read(session, _COLUMNS.where(one_of(session, SubscriptionRow.client, clients)))


def hooks_by_id(session: Session, hooks: Collection[HookId]) -> Mapping[HookId, EndpointHook]:
    """The rows of these hooks; those that were replaced since are missing."""
    if not hooks:
        return {}
    return {row.id: row for row in _read(session, _COLUMNS.where(one_of(session, SubscriptionRow.hook_id, hooks)))}


def next_hooks(session: Session, query: EndpointQuery) -> Sequence[EndpointHook]:
    """Living hooks in the order of their ids; whether one is its endpoint's first is not looked at."""
    found = _COLUMNS.where(LIVING, SubscriptionRow.hook_id > query.after)
    if query.client is not None:
        found = found.where(SubscriptionRow.client == query.client)
    if query.disabled is not None:
        found = found.where(DISABLED if query.disabled else ~DISABLED)
    return list(_read(session, found.order_by(SubscriptionRow.hook_id).limit(query.limit)))


def endpoints_of(
    session: Session, hooks: Collection[EndpointHook]
) -> Mapping[tuple[ClientId, str], Sequence[EndpointHook]]:
    """All living hooks of the endpoints that these are hooks of, by client and target."""
    groups: dict[tuple[ClientId, str], list[EndpointHook]] = {(hook.client, hook.target): [] for hook in hooks}
    for hook in hooks_of(session, {hook.client for hook in hooks}):
        if not hook.gone and (hook.client, hook.target) in groups:
            groups[hook.client, hook.target].append(hook)
    return groups


def paused_endpoints(session: Session, client: ClientId | None) -> set[tuple[ClientId, bytes]]:
    """Endpoints of one client, or of all, that operators have paused: client and target digest."""
    found = select(EndpointSettingsRow.client, EndpointSettingsRow.target_digest).where(EndpointSettingsRow.paused)
    if client is not None:
        found = found.where(EndpointSettingsRow.client == client)
    return {(ClientId(whose), bytes.fromhex(digest)) for whose, digest in session.execute(found)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFailure:
    """How the last attempt ended that was answered by anything but 2xx."""

    at_ms: int
    result: AttemptResult
    status: int | None


@dataclass(frozen=True, slots=True)
class LastOutcomes:
    """When an attempt last succeeded, and how one last failed, as far as the attempt log knows."""

    success_ms: int | None = None
    failure: LastFailure | None = None

    def joined(self, other: LastOutcomes) -> LastOutcomes:
        """The later ones of two."""
        successes = [ms for ms in (self.success_ms, other.success_ms) if ms is not None]
        failures = [failure for failure in (self.failure, other.failure) if failure is not None]
        return LastOutcomes(max(successes, default=None), max(failures, key=lambda each: each.at_ms, default=None))


def last_outcomes(session: Session, hooks: Collection[HookId]) -> Mapping[HookId, LastOutcomes]:
    """The last outcomes of some hundred hooks; the attempt log's indexes serve each with a few rows."""
    of_hook = AttemptRow.hook_id == SubscriptionRow.hook_id
    latest = (AttemptRow.started_at_ms.desc(), AttemptRow.id.desc())
    success = select(AttemptRow.started_at_ms).where(of_hook, DELIVERED)
    failure = select(AttemptRow.id).where(of_hook, FAILED)
    found = select(
        SubscriptionRow.hook_id,
        success.order_by(*latest).limit(1).scalar_subquery(),
        failure.order_by(*latest).limit(1).scalar_subquery(),
    )
    outcomes: dict[HookId, LastOutcomes] = {}
    left = iter(hooks)
    while chunk := list(islice(left, _AT_ONCE)):
        rows = session.execute(found.where(SubscriptionRow.hook_id.in_(chunk))).all()
        ids = [failed for _, _, failed in rows if failed is not None]
        columns = select(AttemptRow.id, AttemptRow.started_at_ms, AttemptRow.result, AttemptRow.status)
        failures = {
            row_id: LastFailure(at_ms=at_ms, result=AttemptResult(result), status=status)
            for row_id, at_ms, result, status in session.execute(columns.where(AttemptRow.id.in_(ids)))
        }
        for hook_id, success_ms, failed in rows:
            outcomes[HookId(hook_id)] = LastOutcomes(success_ms, failures.get(failed))
    return outcomes


_COLUMNS = select(
    SubscriptionRow.hook_id,
    SubscriptionRow.client,
    SubscriptionRow.event,
    SubscriptionRow.target,
    SubscriptionRow.state,
    SubscriptionRow.disabled_reason,
    SubscriptionRow.revision,
    SubscriptionRow.not_before_ms,
    SubscriptionRow.rate_limit_per_s,
)


def _read(
    session: Session, found: Select[int, str, str, str, str, str | None, int, int, float | None]
) -> Iterator[EndpointHook]:
    # By position, and without the constructors of the ids: tens of thousands of rows are read for one page.
    disabled, deleted = HookState.DISABLED.value, HookState.DELETED.value
    for hook_id, client, event, target, state, reason, revision, not_before_ms, rate in session.execute(found):
        yield EndpointHook(
            hook_id,  # type: ignore[arg-type]
            client,  # type: ignore[arg-type]
            event,
            target,
            None if reason is None else DisabledReason(reason),
            state == disabled,
            state == deleted,
            revision,
            not_before_ms,
            rate,
        )
