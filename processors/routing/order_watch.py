"""Notes resources whose events come from two partitions of a topic, which keeps no order for them."""

from __future__ import annotations

import structlog

from hookstream.processors.metrics import Metrics
from hookstream.schemas.sources.readers import ReadEvent
from hookstream.schemas.sources.record import SourceRecord

from .resource_partitions import ResourcePartitions

log = structlog.get_logger("hookstream.router")


class OrderWatch:
    """Counts such events, and logs the first of each topic."""

    def __init__(self, metrics: Metrics) -> None:
        """Nothing was seen."""
        self._metrics = metrics
        self._resource_partitions = ResourcePartitions()
        self._topics_out_of_order: set[str] = set()

    def see(self, record: SourceRecord, event: ReadEvent) -> None:
        """Note where an event stands that is delivered."""
        if not self._resource_partitions.moved((event.client_id, event.namespace, event.concept_id), record.partition):
            return
        self._metrics.router.order_not_kept += 1
        if record.topic not in self._topics_out_of_order:
            self._topics_out_of_order.add(record.topic)
            log.warning(
                "events of one resource come from two partitions: the topic keeps no order for it, so nor do we",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
            )
