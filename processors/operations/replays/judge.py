"""Which deliveries were made already, by the attempt log: and whether it knows.

It is asked only once it has the attempts of the whole window, as far as Kafka had them when the run began. Where it
began later than the window, or does not catch up, a replay of what was not delivered is refused: it would repeat what
was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hookstream.processors.kafka import KafkaConfig, make_consumer, partitions_of, reader_config
from hookstream.processors.offsets import watermarks
from hookstream.processors.topics import topic_ids
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.attempt_log import LogProgress, log_progress, were_delivered
from hookstream.subscriptions.choices import ReplayOnly
from hookstream.subscriptions.database import Sessions, reading
from hookstream.subscriptions.replays import NewReplay

from .selection import Selected

# What workers wrote a moment ago is on its way into the table.
CATCH_UP_WITHIN_S = 20.0


class AttemptJudge:
    """Judges for one run. One thread."""

    def __init__(self, kafka: KafkaConfig, topics: TopicNames, sessions: Sessions, asked: NewReplay) -> None:
        """Prepare; nothing is asked yet."""
        self._kafka = kafka
        self._topic = topics.attempts
        self._sessions = sessions
        self._asked = asked
        self._ends: dict[int, tuple[int, int]] | None = None
        self._topic_id: str | None = None

    @property
    def wants_all(self) -> bool:
        """Whether it wants whatever is selected."""
        return self._asked.only is ReplayOnly.ALL

    def trouble(self) -> tuple[str, bool] | None:
        """Why it cannot judge, and whether waiting may help; None where it can.

        Raises:
            KafkaUnavailableError: no answer.
            DatabaseUnavailableError: no answer.
        """
        if self.wants_all:
            return None
        ends = self._ends
        if ends is None:
            ends = self._ends = self._look_up()
        with reading(self._sessions) as session:
            progress = log_progress(session)
        return log_trouble(ends, progress, from_ms=self._asked.wanted.from_ms, topic_id=self._topic_id)

    def wanted(self, selected: Sequence[Selected]) -> Sequence[Selected]:
        """Those that shall be sent again.

        Raises:
            DatabaseUnavailableError: no answer.
        """
        only = self._asked.only
        if only is ReplayOnly.ALL or not selected:
            return selected
        with reading(self._sessions) as session:
            delivered = were_delivered(session, [each.delivery.id for each in selected])
        if only is ReplayOnly.FAILED:
            return [each for each in selected if delivered.get(each.delivery.id) is False]
        return [each for each in selected if not delivered.get(each.delivery.id, False)]

    def _look_up(self) -> dict[int, tuple[int, int]]:
        self._topic_id = topic_ids(self._kafka, [self._topic])[self._topic]
        consumer = make_consumer(reader_config(self._kafka))
        try:
            return {each: watermarks(consumer, self._topic, each) for each in partitions_of(consumer, self._topic)}
        finally:
            consumer.close()


def log_trouble(
    bounds: Mapping[int, tuple[int, int]],
    known: Mapping[int, LogProgress],
    *,
    from_ms: int,
    topic_id: str | None,
) -> tuple[str, bool] | None:
    """Why the attempt log does not know what became of everything since `from_ms`, and whether waiting may help."""
    for partition, (_, end) in bounds.items():
        found = known.get(partition)
        if found is None or topic_id not in (None, found.topic_id):
            if end:
                return (
                    f"it has not read partition {partition} of the attempts: does `hookstream attempt-log` run?",
                    True,
                )
        elif found.covers_from_ms > from_ms:
            return "it begins later than the window", False
    behind = sum(max(0, end - known[part].next_offset) for part, (_, end) in bounds.items() if part in known)
    return (f"it is {behind} attempts behind", True) if behind else None
