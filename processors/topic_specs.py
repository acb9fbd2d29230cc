"""Which topics a deployment has, and how each has to be made; `create_topics` and `check_topics` make it so.

What a topic is for, and why it is cut or compacted as it is: `docs/operations.md`. Every topic takes the broker's
clock (`LogAppendTime`): a backfilled event must not be deleted by its own age, and a replay's window means arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import TopicNames

_DAY_MS = 24 * 60 * 60 * 1000
_KIB = 1024

# A delivery is its event plus what the router adds; a dead letter is a delivery plus its reason and last answer.
DELIVERY_EXTRA_BYTES = 16 * _KIB
DEAD_LETTER_EXTRA_BYTES = 64 * _KIB

# A tombstone has to outlive the longest absence of a reader that still holds the row.
_TOMBSTONE_MS = 7 * _DAY_MS
# The active segment is never compacted, so it has to end now and then, or a quiet table would never shrink.
_COMPACTED_SEGMENT_MS = _DAY_MS
_COMPACTED_SEGMENT_BYTES = 64 * _KIB * _KIB


class Cleanup(StrEnum):
    """What the broker does with old records (`cleanup.policy`)."""

    DELETE = "delete"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicLimits:
    """What a deployment chooses about its topics. A replication factor of -1 is the broker's default."""

    partitions: int = 12
    replication_factor: int = -1
    max_event_bytes: int = _KIB * _KIB
    event_retention_days: float = 7.0
    dead_letter_retention_days: float = 30.0
    attempt_retention_days: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """One topic as it has to be. `config` holds Kafka's own keys."""

    name: str
    partitions: int
    cleanup: Cleanup
    config: Mapping[str, str] = field(default_factory=dict)


def event_topic_specs(names: TopicNames, namespaces: Iterable[str], limits: TopicLimits) -> tuple[TopicSpec, ...]:
    """The topics of the events of these namespaces."""
    week = limits.event_retention_days
    return tuple(
        _log(names.events(namespace), limits.partitions, week, limits.max_event_bytes) for namespace in namespaces
    )


def topic_specs(names: TopicNames, catalogue: Catalogue, limits: TopicLimits) -> tuple[TopicSpec, ...]:
    """Every topic of a deployment."""
    week = limits.event_retention_days
    delivery_bytes = limits.max_event_bytes + DELIVERY_EXTRA_BYTES
    return (
        *event_topic_specs(names, catalogue.all_envelopes, limits),
        _table(names.subscriptions, 1),
        _log(names.deliveries, limits.partitions, week, delivery_bytes),
        _log(names.replays, limits.partitions, week, delivery_bytes),
        _log(
            names.dead_letters,
            limits.partitions,
            limits.dead_letter_retention_days,
            limits.max_event_bytes + DEAD_LETTER_EXTRA_BYTES,
        ),
        _log(names.attempts, limits.partitions, limits.attempt_retention_days, _KIB * _KIB),
        _log(names.hook_notices, limits.partitions, week, _KIB * _KIB),
        _table(names.delivery_state, limits.partitions),
        _table(names.control, limits.partitions),
    )


def _log(name: str, partitions: int, retention_days: float, max_bytes: int) -> TopicSpec:
    config = {
        "retention.ms": str(round(retention_days * _DAY_MS)),
        "retention.bytes": "-1",  # nothing pending is cut by size
        "max.message.bytes": str(max_bytes),
    }
    return _spec(name, partitions, Cleanup.DELETE, config)


def _table(name: str, partitions: int) -> TopicSpec:
    config = {
        "delete.retention.ms": str(_TOMBSTONE_MS),
        "segment.ms": str(_COMPACTED_SEGMENT_MS),
        "segment.bytes": str(_COMPACTED_SEGMENT_BYTES),
        "min.cleanable.dirty.ratio": "0.1",
        "max.message.bytes": str(_KIB * _KIB),
    }
    return _spec(name, partitions, Cleanup.COMPACT, config)


def _spec(name: str, partitions: int, cleanup: Cleanup, config: Mapping[str, str]) -> TopicSpec:
    always = {"cleanup.policy": cleanup.value, "message.timestamp.type": "LogAppendTime"}
    return TopicSpec(name=name, partitions=partitions, cleanup=cleanup, config={**always, **config})
