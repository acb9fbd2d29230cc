"""Everything that the router waits for, without losing its place in the group and without missing a failed report.

The numbers are those of `event_routing`. One thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog

from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import ProduceFailedError, StoppedError
from hookstream.processors.lifecycle import Health, StopSignal, until_available
from hookstream.producers.errors import RegistryRefusedError, RegistryUnavailableError

from .delivery_writer import DeliveryWriter
from .source_reader import SourceReader

# The group is served without reading when something else has been waited for this long.
_SERVE_GROUP_AFTER_S = 1.0
_TURN_S = 0.05
_REPORT_WITHIN_S = 1.0

_T = TypeVar("_T")

log = structlog.get_logger("hookstream.router")


class RouterWaits:
    """Waits for reports, for room in the producer's queue, and for the registry."""

    def __init__(
        self,
        source: SourceReader,
        writer: DeliveryWriter,
        *,
        stop: StopSignal,
        health: Health,
        monotonic_s: Callable[[], float],
        drain_timeout_s: float,
    ) -> None:
        """`health` is told what is waited for longer than a second."""
        self._source = source
        self._writer = writer
        self._stop = stop
        self._health = health
        self._monotonic_s = monotonic_s
        self._drain_timeout_s = drain_timeout_s

    def until_outstanding(self, most: int) -> None:
        """Wait until at most so many records have no report.

        Raises:
            ProduceFailedError, StoppedError: as `check_reports`; asked to stop.
        """
        self._until(lambda: self._writer.outstanding <= most, "does not acknowledge records")

    def write(self, write: Callable[[], bool]) -> None:
        """Write, waiting while the producer's queue is full.

        Raises:
            ProduceFailedError, StoppedError: as above.
        """
        while not self._handed_over(write):
            # Its queue is bounded in bytes too: with large records it is full long before so many are outstanding.
            before = max(1, self._writer.outstanding)
            self._until(lambda: self._writer.outstanding < before, "takes no more records")  # noqa: B023 - called at once

    def _handed_over(self, write: Callable[[], bool]) -> bool:
        """Hand a record over; a producer that has failed refuses it, and its report says why.

        Only here: a failure that a wait has found is noted already.
        """
        try:
            return write()
        except ProduceFailedError:
            self._writer.poll(_REPORT_WITHIN_S)
            self.check_reports()
            raise

    def until_registry_answers(self, ask: Callable[[], _T]) -> _T:
        """Ask until there is an answer; the group is served meanwhile.

        Raises:
            ProduceFailedError, StoppedError: as above.
        """
        try:
            return until_available(
                "schema registry",
                ask,
                stop=self._stop,
                health=self._health,
                retriable=(RegistryUnavailableError, RegistryRefusedError),
                sleep=self._serve_group,
            )
        finally:
            self._source.stalled = False

    def check_reports(self) -> None:
        """Take reports; the first failed one ends the process (4), after the records that were rejected were noted.

        Raises:
            ProduceFailedError: one failed.
        """
        self._writer.poll(0)
        if not self._writer.failed:
            return
        reason, rejected = self._writer.failures()
        owned = self._source.partitions
        sources = [owned[key] for key in rejected if key in owned]
        for source in sources:
            source.note_rejections(rejected[source.key])
        noted = self._source.commit_now(sources)
        count = sum(map(len, rejected.values()))
        log.error("a record was not acknowledged", reason=reason, rejected=count, noted=noted)
        message = f"a record was not acknowledged: {reason}; the router has to start again from its committed offsets"
        raise ProduceFailedError(message)

    def finish(self) -> None:
        """Wait for reports and commit. The group is not served inside its own `close`, so it is done before."""
        writer = self._writer
        self._source.stalled = True
        deadline = Deadline.after(self._drain_timeout_s, self._monotonic_s)
        while writer.outstanding and not writer.failed and not deadline.over:
            writer.poll(_TURN_S)
            self._source.keep_alive()
        self._source.commit_now(list(self._source.partitions.values()))

    def _until(self, condition: Callable[[], bool], reason: str) -> None:
        """Wait for reports; what takes long is shown by `/readyz`, and the group is served meanwhile."""
        if condition():
            return
        served_until = Deadline.after(_SERVE_GROUP_AFTER_S, self._monotonic_s)
        while not condition():
            if not served_until.over:
                self._writer.poll(_TURN_S)
                self.check_reports()
                self._check_stop()
            else:
                self._health.down("kafka", reason)
                self._serve_group(_TURN_S)
        if self._source.stalled:
            self._source.stalled = False
            self._health.up("kafka")

    def _serve_group(self, seconds: float) -> None:
        """Keep the membership and take reports, for so long, without reading."""
        self._source.stalled = True
        deadline = Deadline.after(seconds, self._monotonic_s)
        while not deadline.over:
            self._check_stop()
            self._writer.poll(min(deadline.remaining_s, _TURN_S))
            self.check_reports()
            self._source.keep_alive()
            self._source.commit_if_due()

    def _check_stop(self) -> None:
        if self._stop.asked:
            message = "asked to stop in the middle of a batch"
            raise StoppedError(message)
