"""What the runs of one replayer share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.tables.subscription_reader import SubscriptionReader
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import NowMs, Sessions, database_now_ms
from hookstream.subscriptions.replays import Lease, StoredReplay

from .selection import Selection
from .window import WindowLookup
from .writer import ReplayWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDeps:
    """What every run of a replayer shares. `clock` is monotonic seconds; leases last by the clock of the database."""

    kafka: KafkaConfig
    topics: TopicNames
    sessions: Sessions
    lookup: WindowLookup
    table: SubscriptionTable
    reader: SubscriptionReader
    writer: ReplayWriter
    selection: Callable[[StoredReplay], Selection]
    stop: StopSignal
    lease: Lease
    now_ms: NowMs
    clock: Callable[[], float]
    lease_now_ms: Callable[[Session], int] = database_now_ms
