"""How long ago Kafka, the schema registry and the database last answered this process.

Each part is asked every two seconds, on a connection of its own, by a thread of its own: a role that has nothing to do,
or that waits inside its client for a part which hangs, knows it all the same. `/readyz` says so once a part has been
silent for ten seconds; liveness stays, for a restart would not mend the part.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum

import structlog
from confluent_kafka.admin import AdminClient

from .kafka import KafkaConfig, make_admin, result_of, translated

SILENT_AFTER_S = 10.0
"""A component that has not answered for so long is shown in `/readyz`."""
_ASK_EVERY_S = 2.0
# A connection on which nothing comes back for so long is given up: another broker may answer.
_ANSWER_WITHIN_S = 5.0

log = structlog.get_logger("hookstream.parts")


class Part(StrEnum):
    """What a role may need, by its name in `/readyz`."""

    KAFKA = "kafka"
    REGISTRY = "schema registry"
    DATABASE = "database"


class LastAnswers:
    """Asks parts, and knows when each last answered. `ages_s` and `silent` may be called from any thread.

    A question returns when the part has answered, whatever it said, and raises anything where there was no answer.
    """

    def __init__(
        self, questions: Mapping[Part, Callable[[], object]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; nothing is asked yet, and every part counts as heard of now. `clock` is monotonic seconds."""
        self._questions = questions
        self._clock = clock
        self._answered_at = dict.fromkeys(questions, clock())
        self._told: set[Part] = set()
        self._ends = threading.Event()

    def start(self) -> None:
        """Ask from now on, each part in a thread of its own."""
        for part in self._questions:
            threading.Thread(target=self._run, args=(part,), name=f"asks {part}", daemon=True).start()

    def stop(self) -> None:
        """Ask no more; a question that is under way is left to itself."""
        self._ends.set()

    def ask(self, part: Part) -> None:
        """Ask a part once, and note its answer."""
        try:
            self._questions[part]()
        except Exception as exc:  # noqa: BLE001  # whatever a client raises, this part did not answer this time
            if part in self.silent() and part not in self._told:
                self._told.add(part)
                reason = type(exc).__name__  # a client's own words may hold a URL with a password
                log.warning("a part does not answer", part=part, reason=reason)
            return
        self._answered_at[part] = self._clock()
        if part in self._told:
            self._told.discard(part)
            log.info("a part answers again", part=part)

    def ages_s(self) -> Mapping[str, float]:
        """Seconds since the last answer of each part; since the start, of one that never answered."""
        now = self._clock()
        return {part: max(0.0, now - at) for part, at in self._answered_at.items()}

    def silent(self) -> dict[str, str]:
        """What does not answer, with a sentence for `/readyz`."""
        return {
            part: f"has not answered for {age_s:.0f} s"
            for part, age_s in self.ages_s().items()
            if age_s > SILENT_AFTER_S
        }

    def _run(self, part: Part) -> None:
        while not self._ends.is_set():
            self.ask(part)
            self._ends.wait(_ASK_EVERY_S)


def kafka_question(kafka: KafkaConfig) -> Callable[[], object]:
    """Ask any broker of the cluster what the cluster is: the cheapest question that every broker answers.

    Raises, when it is asked:
        KafkaUnavailableError: no answer in time.
        KafkaRefusedError: a configuration that librdkafka refuses.
    """
    doing = "cannot look the cluster up"
    admins: list[AdminClient] = []

    def ask() -> object:
        if not admins:
            admins.append(make_admin(kafka, own={"socket.timeout.ms": round(_ANSWER_WITHIN_S * 1000)}))
        with translated(doing):
            future = admins[0].describe_cluster(request_timeout=_ANSWER_WITHIN_S)
        return result_of(future, doing)

    return ask
