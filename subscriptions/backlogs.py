"""Backlogs of endpoints: what is known of them from Kafka, and what that means for each endpoint. Pure.

The numbers come from what the delivery workers have committed, so they are known while no worker runs, and a backlog
that left the window behind a cursor is among them: the consumer group's lag does not show it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId

from .choices import EndpointState
from .models import DisabledReason

# Workers commit what is settled within a second, and a look is at most a second old: what is older than this is
# held back, by its resource's failures or by an endpoint that is slow. Retries that are due soon stay in the window, of
# which a commit says no more than that they are pending.
LAGGING_AFTER_MS = 5_000
# Of an endpoint whose target is unknown: its hook's row is missing here.
_UNKNOWN_DIGEST = bytes(8)

NotBefore: TypeAlias = Callable[[Collection[ClientId]], Mapping[HookId, int]]
"""Of hooks of these clients: what arrived before then is skipped, and not pending. Others skip nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookBacklog:
    """What is pending for one hook. `oldest_ms` is when the first of it arrived, `due_ms` when the next retry is due.

    `pending` counts first deliveries, `replays` those of replays; where `exact` is false, some of the log was only
    sampled. `backlogged`: it is served from a backlog; `resources`: so many of its resources are, by themselves.
    `disabled_under` is the revision of the row under which a worker disabled it for itself.
    """

    client: ClientId
    event: str
    pending: int = 0
    replays: int = 0
    exact: bool = True
    oldest_ms: int | None = None
    due_ms: int | None = None
    backlogged: bool = False
    resources: int = 0
    disabled_under: int | None = None
    disabled_reason: DisabledReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenHealth:
    """How a worker saw an endpoint when it last committed; times are Unix milliseconds, 0 for none."""

    quarantined: bool = False
    probe_at_ms: int = 0
    retry_after_until_ms: int = 0
    failing_since_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlogs:
    """The backlogs of one client or of all; endpoints are named by client and their target's digest.

    `unknown` are partitions of which it is not known, each with the reason.
    """

    hooks: Mapping[HookId, HookBacklog] = field(default_factory=dict)
    health: Mapping[tuple[ClientId, bytes], SeenHealth] = field(default_factory=dict)
    unknown: Sequence[str] = ()

    @property
    def clients(self) -> set[ClientId]:
        """Clients of whom something is known."""
        return {hook.client for hook in self.hooks.values()} | {client for client, _ in self.health}


class BacklogReader(Protocol):
    """Reads backlogs in Kafka."""

    def read(self, client: ClientId | None, not_before: NotBefore) -> Backlogs:
        """The backlogs of one client, or of all, as of the workers' last commits.

        Raises:
            BacklogUnknownError: Kafka, or a schema's registry, does not answer.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHook:
    """What has to be known of a hook's row; `gone` where it is deleted."""

    id: HookId
    client: ClientId
    event: str
    target: str
    disabled_reason: DisabledReason | None
    disabled: bool
    gone: bool
    revision: int
    not_before_ms: int
    rate_limit_per_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookShare:
    """One hook's share of its endpoint."""

    id: HookId
    event: str
    disabled: bool
    disabled_reason: DisabledReason | None
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint, judged. `target` is None where the row of its hook is missing here.

    `next_attempt_ms` is None where nothing waits for a time: it is being served, or nothing is sent.
    """

    id: str
    client: ClientId
    target: str | None
    state: EndpointState
    pending: int
    replays: int
    exact: bool
    oldest_ms: int | None
    next_attempt_ms: int | None
    failing_since_ms: int | None
    hooks: Sequence[HookShare]


_NOTHING = HookBacklog(client=ClientId(""), event="")
_WELL = SeenHealth()


def judge_all(
    rows: Iterable[EndpointHook], backlogs: Backlogs, *, paused: Collection[tuple[ClientId, bytes]], now_ms: int
) -> list[Endpoint]:
    """Judge every endpoint of these rows, which are all that their clients have, and of hooks whose row is missing.

    The backlog of a deleted or replaced hook is cancelled, and not shown; absence of a row cancels nothing.
    """
    targets: dict[tuple[ClientId, str], list[EndpointHook]] = {}
    keys: dict[tuple[ClientId, str], HookId] = {}
    for row in rows:  # a hook has one subscription key; of two hooks of one key the higher id is the later one
        keys[row.client, row.event] = row.id
        if not row.gone:
            targets.setdefault((row.client, row.target), []).append(row)
    found = []
    for (client, target), hooks in targets.items():
        key = (client, target_digest(target))
        found.append(judge(hooks, backlogs, paused=key in paused, now_ms=now_ms))
    lost: dict[ClientId, dict[HookId, HookBacklog]] = {}
    for hook_id, hook in backlogs.hooks.items():
        if (hook.pending or hook.replays) and hook_id > keys.get((hook.client, hook.event), 0):
            lost.setdefault(hook.client, {})[hook_id] = hook
    return found + [_rowless(client, hooks) for client, hooks in lost.items()]


def judge(hooks: Sequence[EndpointHook], backlogs: Backlogs, *, paused: bool, now_ms: int) -> Endpoint:
    """Judge the endpoint that these hooks, one or more, share."""
    client, target = hooks[0].client, hooks[0].target
    digest = target_digest(target)
    shares = [(hook, backlogs.hooks.get(hook.id, _NOTHING)) for hook in hooks]
    health = backlogs.health.get((client, digest), _WELL)
    oldest_ms = min((share.oldest_ms for _, share in shares if share.oldest_ms is not None), default=None)
    state = EndpointState.PAUSED if paused else _state(shares, health, oldest_ms, now_ms)
    return Endpoint(
        id=endpoint_id(client, digest),
        client=client,
        target=target,
        state=state,
        pending=sum(share.pending for _, share in shares),
        replays=sum(share.replays for _, share in shares),
        exact=all(share.exact for _, share in shares),
        oldest_ms=oldest_ms,
        next_attempt_ms=_next_attempt(state, shares, health, now_ms),
        failing_since_ms=health.failing_since_ms or None,
        hooks=[_share(hook, share) for hook, share in shares],
    )


def _state(
    shares: Sequence[tuple[EndpointHook, HookBacklog]], health: SeenHealth, oldest_ms: int | None, now_ms: int
) -> EndpointState:
    served = [(hook, share) for hook, share in shares if not _disabled(hook, share)]
    if not served:
        return EndpointState.DISABLED
    if health.quarantined:
        return EndpointState.QUARANTINED
    quiet = health.retry_after_until_ms > now_ms
    if not quiet and any(share.backlogged and hook.rate_limit_per_s is None for hook, share in served):
        return EndpointState.CATCHING_UP
    held_up = quiet or any(share.backlogged or share.resources or share.due_ms is not None for _, share in served)
    old = oldest_ms is not None and now_ms - oldest_ms > LAGGING_AFTER_MS
    return EndpointState.LAGGING if held_up or old else EndpointState.HEALTHY


def _disabled(hook: EndpointHook, share: HookBacklog) -> bool:
    """A row of a higher revision ends what a worker decided under an older one."""
    return hook.disabled or (share.disabled_under is not None and share.disabled_under >= hook.revision)


def _next_attempt(
    state: EndpointState, shares: Sequence[tuple[EndpointHook, HookBacklog]], health: SeenHealth, now_ms: int
) -> int | None:
    if state in (EndpointState.DISABLED, EndpointState.PAUSED):
        return None
    if health.quarantined:
        return max(health.probe_at_ms, health.retry_after_until_ms) or now_ms
    if health.retry_after_until_ms > now_ms:
        return health.retry_after_until_ms
    dues = (share.due_ms for hook, share in shares if share.due_ms is not None and not _disabled(hook, share))
    return min(dues, default=None)


def _share(hook: EndpointHook, share: HookBacklog) -> HookShare:
    disabled = _disabled(hook, share)
    reason = hook.disabled_reason if hook.disabled else share.disabled_reason
    return HookShare(
        id=hook.id,
        event=hook.event,
        disabled=disabled,
        disabled_reason=reason if disabled else None,
        pending=share.pending + share.replays,
    )


def _rowless(client: ClientId, hooks: Mapping[HookId, HookBacklog]) -> Endpoint:
    """Backlogs of hooks of which only Kafka knows: their target is unknown."""
    shares = [
        HookShare(
            id=hook_id, event=hook.event, disabled=False, disabled_reason=None, pending=hook.pending + hook.replays
        )
        for hook_id, hook in hooks.items()
    ]
    return Endpoint(
        id=endpoint_id(client, _UNKNOWN_DIGEST),
        client=client,
        target=None,
        state=EndpointState.LAGGING,
        pending=sum(hook.pending for hook in hooks.values()),
        replays=sum(hook.replays for hook in hooks.values()),
        exact=all(hook.exact for hook in hooks.values()),
        oldest_ms=min((hook.oldest_ms for hook in hooks.values() if hook.oldest_ms is not None), default=None),
        next_attempt_ms=None,
        failing_since_ms=None,
        hooks=shares,
    )
