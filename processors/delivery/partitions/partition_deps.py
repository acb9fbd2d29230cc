"""What the partitions of a worker share. Functions are called in the loop's thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.lines import AttemptLines
    from hookstream.processors.delivery.attempts.spans import AttemptSpans
    from hookstream.processors.delivery.engine.dispatcher import Dispatcher
    from hookstream.processors.delivery.engine.hook_table import HookRow, HookTable
    from hookstream.processors.delivery.engine.model import TrackedHook
    from hookstream.processors.delivery.engine.operator_settings import SettingsTable
    from hookstream.processors.delivery.engine.policy import EnginePolicy
    from hookstream.processors.metrics import Metrics
    from hookstream.schemas.delivery import Delivery
    from hookstream.schemas.hook import NoticeKind
    from hookstream.schemas.notices import Notice

    from .dead_letters import DeadLetters


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryCodec:
    """How deliveries are decoded and encoded, by the schemas that are known."""

    decode: Callable[[bytes | None], Delivery]
    decode_backlog: Callable[[bytes], Delivery]
    undecodable: Callable[[bytes], bool]
    encode: Callable[[Delivery], bytes]
    fetch_schema: Callable[[int, Callable[[], None]], None]
    """Fetch one that is not known, then call back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionDeps:
    """What the engine of a partition works with, and what is made of its decisions."""

    policy: EnginePolicy
    topics: tuple[str, str]
    table: HookTable
    settings: SettingsTable | None
    dispatcher: Dispatcher
    codec: DeliveryCodec
    dead_letters: DeadLetters
    notify: Callable[[TrackedHook, HookRow, NoticeKind], None]
    tell: Callable[[Notice, Callable[[bool], None]], None]
    """Write a notice, then say whether Kafka has acknowledged it."""
    wake: Callable[[], None]
    random: Callable[[], float]
    lines: AttemptLines
    spans: AttemptSpans | None
    metrics: Metrics
