"""What a worker has to know, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hookstream.processors.delivery.checkpoints.commit_metadata import VERSION
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.http.client import HttpClientConfig
from hookstream.processors.delivery.http.pool import PoolLimits
from hookstream.processors.delivery.http.resolver import Resolver
from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.secrets import SecretBox

from .internal_errors import InternalErrors

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.spans import AttemptSpans

# Many endpoints of many clients are often one origin (an automation service), so an origin may keep what it needs: with
# 64 kept for 640 in flight, two in five deliveries opened a connection, and a worker made a tenth of what it can.
POOL = PoolLimits(max_idle_per_origin=1024, max_idle=1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What a worker has to know. `drain_timeout_s` bounds how long it holds what it has to give away."""

    kafka: KafkaConfig
    topics: TopicNames
    catalogue: Catalogue
    policy: EnginePolicy = field(default_factory=EnginePolicy)
    http: HttpClientConfig = field(default_factory=lambda: HttpClientConfig(pool=POOL))
    targets: TargetRules = field(default_factory=TargetRules)
    max_event_bytes: int = 1_048_576
    drain_timeout_s: float = 20.0
    metadata_version: int = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDeps:
    """What a worker is given by its process. `spans` are recorded where traces are exported."""

    registry: SchemaRegistry
    secrets: SecretBox
    stop: StopSignal
    health: Health
    metrics: Metrics
    internal_errors: InternalErrors
    resolver: Resolver
    spans: AttemptSpans | None
