"""The deadline of a question to Kafka, which is an error of Kafka's when it is over."""

from __future__ import annotations

from dataclasses import dataclass

from hookstream.producers.deadline import Deadline as _Deadline

from .errors import KafkaUnavailableError


@dataclass(frozen=True, slots=True)
class Deadline(_Deadline):
    """A point in monotonic time, and the clock that it is read on."""

    def left_s(self, most: float, doing: str) -> float:
        """How long one step may take: what is left, and at most that.

        Raises:
            KafkaUnavailableError: nothing is left; `doing` starts the message.
        """
        left = self.remaining_s
        if left <= 0:
            raise KafkaUnavailableError(f"{doing}: not done in time")
        return min(left, most)
