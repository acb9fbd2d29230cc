"""What the API is given: every clock, client and policy comes from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeAlias

from sqlalchemy.orm import Session

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.ids import IdKind
from hookstream.subscriptions.backlogs import BacklogReader
from hookstream.subscriptions.changes import BrokerClock, EventPublisher, RouterProgress
from hookstream.subscriptions.database import NowMs, Sessions, reading
from hookstream.subscriptions.dead_letters import DeadLetterLog
from hookstream.subscriptions.deliveries import DeliveryLog, DeliveryPublisher, RequestRebuilder
from hookstream.subscriptions.secrets import SecretBox
from hookstream.subscriptions.target_policy import TargetPolicy
from hookstream.subscriptions.token_uses import TokenUses

from .admission import Admission
from .known_tokens import KnownTokens
from .rate_limit import Refusals
from .token_rates import Rate, TokenRates

ReadinessCheck: TypeAlias = Callable[[], str | None]
"""None where the part is ready, else a sentence for the operator; called in the event loop, so it waits for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPage:
    """What `/metrics` answers."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiLimits:
    """What one request may ask for: bytes of its body, where it publishes events, and elsewhere."""

    max_events_body_bytes: int = 1024 * 1024
    # The longest body that is not a list of events has 500 ids of dead letters.
    max_body_bytes: int = 16 * 1024
    publish_timeout_s: float = 10.0
    # Of some forty threads; each waits for Kafka or for a long query.
    slow_of_one_caller: int = 2
    slow_of_one_kind: int = 4
    publishing_at_once: int = 24
    query_within_s: float = 5.0
    list_within_s: float = 8.0
    # Of one token to one process; None is no limit. Those of platform services publish.
    token_rate: Rate | None = None
    publish_rate: Rate | None = None
    refused_after_s: float = 0.25


def _none_known() -> Mapping[str, str]:
    """For deployments whose events all have envelopes."""
    return {}


def _ignored() -> None:
    """For deployments whose relay runs elsewhere: it finds the change by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDependencies:
    """Everything that the API needs.

    `changed` is called after a hook was committed, `settings_changed` after endpoint settings were. `source_schemas`
    gives what is known of the latest schemas of topics that other services write, by namespace, and waits for nothing.
    `portal`: whether the portal is served, too.
    """

    sessions: Sessions
    secret_box: SecretBox
    now_ms: NowMs
    target_policy: TargetPolicy
    catalogue: Catalogue
    client_ids: IdKind
    events: EventPublisher
    router_progress: RouterProgress
    broker_clock: BrokerClock
    dead_letters: DeadLetterLog
    delivery_log: DeliveryLog
    delivery_publisher: DeliveryPublisher
    sent_requests: RequestRebuilder
    backlogs: BacklogReader
    readiness: Mapping[str, ReadinessCheck]
    metrics: Callable[[], MetricsPage]
    source_schemas: Callable[[], Mapping[str, str]] = _none_known
    changed: Callable[[], None] = _ignored
    settings_changed: Callable[[], None] = _ignored
    monotonic_s: Callable[[], float] = monotonic
    portal: bool = True
    limits: ApiLimits = field(default_factory=ApiLimits)
    token_uses: TokenUses = field(default_factory=TokenUses)
    admission: Admission = field(init=False)
    known_tokens: KnownTokens = field(init=False)
    token_rates: TokenRates = field(init=False)
    refusals: Refusals = field(init=False)

    def __post_init__(self) -> None:
        """Begin to count."""
        limits = self.limits
        admission = Admission(of_one_caller=limits.slow_of_one_caller, of_one_kind=limits.slow_of_one_kind)
        object.__setattr__(self, "admission", admission)
        object.__setattr__(self, "known_tokens", KnownTokens(self.monotonic_s))
        object.__setattr__(self, "token_rates", TokenRates(self.monotonic_s))
        object.__setattr__(self, "refusals", Refusals(limits.refused_after_s))

    def reading(self) -> AbstractContextManager[Session]:
        """A transaction that writes nothing, and in which no query takes longer than a request may."""
        return reading(self.sessions, within_s=self.limits.query_within_s)
