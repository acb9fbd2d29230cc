"""Backlogs of endpoints: what is known of them from Kafka, and what that means for each endpoint. Pure.

The numbers come from what the delivery workers have committed, so they are known while no worker runs, and a backlog
that left the window behind a cursor is among them: the consumer group's lag does not show it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

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
# The revision of a missing row: no worker's decision disables its hook.
_ABOVE_ALL = 2**63 - 1

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


class EndpointHook(NamedTuple):
    """What has to be known of a hook's row; `gone` where it is deleted. A tuple: tens of thousands are made at once."""

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


_Share: TypeAlias = tuple[EndpointHook, HookBacklog]


class Endpoint:
    """One endpoint, judged. `target` is None where the row of its hook is missing here.

    Of ten thousand a page shows some dozens: what neither sorts nor counts them is computed when it is asked for.
    """

    __slots__ = (
        "_digest",
        "_health",
        "_now_ms",
        "_shares",
        "client",
        "exact",
        "oldest_ms",
        "pending",
        "replays",
        "state",
        "target",
    )

    def __init__(  # what `judge_all` has looked up for each of them
        self,
        client: ClientId,
        target: str | None,
        digest: bytes,
        shares: Sequence[_Share],
        *,
        health: SeenHealth,
        paused: bool,
        now_ms: int,
    ) -> None:
        """Judge the endpoint that these hooks, one or more, share."""
        self.client = client
        self.target = target
        self._digest = digest
        self._shares = shares
        self._health = health
        self._now_ms = now_ms
        self.pending = self.replays = 0
        self.exact = True
        self.oldest_ms: int | None = None
        for _, share in shares:
            if share is _NOTHING:
                continue
            self.pending += share.pending
            self.replays += share.replays
            self.exact = self.exact and share.exact
            if share.oldest_ms is not None and (self.oldest_ms is None or share.oldest_ms < self.oldest_ms):
                self.oldest_ms = share.oldest_ms
        self.state = EndpointState.PAUSED if paused else self._state()

    @property
    def id(self) -> str:
        """The name by which everyone names it."""
        return endpoint_id(self.client, self._digest)

    @property
    def failing_since_ms(self) -> int | None:
        """Since when it only fails, as its worker saw it."""
        return self._health.failing_since_ms or None

    @property
    def next_attempt_ms(self) -> int | None:
        """When the next attempt is due; None where nothing waits for a time: it is being served, or nothing is sent."""
        health = self._health
        if self.target is None or self.state in (EndpointState.DISABLED, EndpointState.PAUSED):
            return None
        if health.quarantined:
            return max(health.probe_at_ms, health.retry_after_until_ms) or self._now_ms
        if health.retry_after_until_ms > self._now_ms:
            return health.retry_after_until_ms
        dues = (share.due_ms for hook, share in self._shares if share.due_ms is not None and not _disabled(hook, share))
        return min(dues, default=None)

    @property
    def first_hook(self) -> HookId:
        """The lowest id of its hooks."""
        return min(hook.id for hook, _ in self._shares)

    @property
    def switched_off(self) -> bool:
        """Whether the rows of all of its hooks are disabled, whatever a worker has decided."""
        return all(hook.disabled for hook, _ in self._shares)

    @property
    def hooks(self) -> Sequence[HookShare]:
        """What each hook has of it."""
        return [_share(hook, share) for hook, share in self._shares]

    def _state(self) -> EndpointState:
        if self.target is None:
            return EndpointState.LAGGING
        health, now_ms = self._health, self._now_ms
        served = [each for each in self._shares if not _disabled(*each)]
        if not served:
            return EndpointState.DISABLED
        if health.quarantined:
            return EndpointState.QUARANTINED
        held_up = quiet = health.retry_after_until_ms > now_ms
        for hook, share in served:
            if share.backlogged and not quiet and hook.rate_limit_per_s is None:
                return EndpointState.CATCHING_UP
            held_up = held_up or share.backlogged or share.resources > 0 or share.due_ms is not None
        old = self.oldest_ms is not None and now_ms - self.oldest_ms > LAGGING_AFTER_MS
        return EndpointState.LAGGING if held_up or old else EndpointState.HEALTHY


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
    found = [_judge(hooks, backlogs, paused=paused, now_ms=now_ms) for hooks in targets.values()]
    lost: dict[ClientId, list[_Share]] = {}
    for hook_id, hook in backlogs.hooks.items():
        if (hook.pending or hook.replays) and hook_id > keys.get((hook.client, hook.event), 0):
            lost.setdefault(hook.client, []).append((_rowless(hook_id, hook), hook))
    return found + [
        Endpoint(client, None, _UNKNOWN_DIGEST, shares, health=_WELL, paused=False, now_ms=now_ms)
        for client, shares in lost.items()
    ]


def judge(hooks: Sequence[EndpointHook], backlogs: Backlogs, *, paused: bool, now_ms: int) -> Endpoint:
    """Judge the endpoint that these hooks, one or more, share."""
    client, target = hooks[0].client, hooks[0].target
    return _judge(hooks, backlogs, paused=[(client, target_digest(target))] if paused else (), now_ms=now_ms)


def _judge(
    hooks: Sequence[EndpointHook], backlogs: Backlogs, *, paused: Collection[tuple[ClientId, bytes]], now_ms: int
) -> Endpoint:
    client, target = hooks[0].client, hooks[0].target
    digest = target_digest(target)
    key = client, digest
    return Endpoint(
        client,
        target,
        digest,
        [(hook, backlogs.hooks.get(hook.id, _NOTHING)) for hook in hooks],
        health=backlogs.health.get(key, _WELL),
        paused=key in paused,
        now_ms=now_ms,
    )


def _disabled(hook: EndpointHook, share: HookBacklog) -> bool:
    """A row of a higher revision ends what a worker decided under an older one."""
    return hook.disabled or (share.disabled_under is not None and share.disabled_under >= hook.revision)


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


def _rowless(hook_id: HookId, hook: HookBacklog) -> EndpointHook:
    """A hook of which only Kafka knows: its target is unknown, and nothing disables it."""
    return EndpointHook(
        id=hook_id,
        client=hook.client,
        event=hook.event,
        target="",
        disabled_reason=None,
        disabled=False,
        gone=False,
        revision=_ABOVE_ALL,
        not_before_ms=0,
        rate_limit_per_s=None,
    )
