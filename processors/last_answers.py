"""How long ago Kafka, the schema registry and the database last answered this process.

Each component is asked every two seconds, on a connection of its own, by a thread of its own: a role that has nothing
to do, or that waits inside its client for a component that hangs, knows it too. `/readyz` shows a component that has
been silent for ten seconds; liveness stays, for a restart would not help.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum

import structlog
from confluent_kafka.admin import AdminClient

from .kafka import LOOKS_ONLY, KafkaConfig, cluster_of, make_admin

SILENT_AFTER_S = 10.0
"""A component that has not answered for so long is shown in `/readyz`."""
_ASK_EVERY_S = 2.0
# A connection on which nothing comes back for so long is given up: another broker may answer.
_ANSWER_WITHIN_S = 5.0

log = structlog.get_logger("hookstream.components")


class Component(StrEnum):
    """What a role may need, by its name in `/readyz`."""

    KAFKA = "kafka"
    REGISTRY = "schema registry"
    DATABASE = "database"


class LastAnswers:
    """Asks components, and knows when each last answered. `ages_s` and `silent` may be called from any thread.

    A question returns when the component has answered, whatever it said, and raises anything where there was no answer.
    """

    def __init__(
        self, questions: Mapping[Component, Callable[[], object]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; nothing is asked yet, and all count as having answered now. `clock` is monotonic seconds."""
        self._questions = questions
        self._clock = clock
        self._answered_at = dict.fromkeys(questions, clock())
        self._reported: set[Component] = set()
        self._ends = threading.Event()

    def start(self) -> None:
        """Ask from now on, each component in a thread of its own."""
        for component in self._questions:
            threading.Thread(target=self._run, args=(component,), name=f"asks {component}", daemon=True).start()

    def stop(self) -> None:
        """Ask no more; a question that is under way is left to itself."""
        self._ends.set()

    def ask(self, component: Component) -> None:
        """Ask a component once, and note its answer."""
        try:
            self._questions[component]()
        except Exception as exc:  # noqa: BLE001  # whatever a client raises, this component did not answer this time
            if component in self.silent() and component not in self._reported:
                self._reported.add(component)
                reason = type(exc).__name__  # a client's own words may hold a URL with a password
                log.warning("a component does not answer", component=component, reason=reason)
            return
        self._answered_at[component] = self._clock()
        if component in self._reported:
            self._reported.discard(component)
            log.info("a component answers again", component=component)

    def ages_s(self) -> Mapping[str, float]:
        """Seconds since the last answer of each component; since the start, of one that never answered."""
        now = self._clock()
        return {component: max(0.0, now - at) for component, at in self._answered_at.items()}

    def silent(self) -> dict[str, str]:
        """What does not answer, with a sentence for `/readyz`."""
        return {
            component: f"has not answered for {age_s:.0f} s"
            for component, age_s in self.ages_s().items()
            if age_s > SILENT_AFTER_S
        }

    def _run(self, component: Component) -> None:
        while not self._ends.is_set():
            self.ask(component)
            self._ends.wait(_ASK_EVERY_S)


def kafka_question(kafka: KafkaConfig, topic: str) -> Callable[[], object]:
    """Ask any broker of the cluster for the metadata of a topic: a cheap question that every broker answers.

    Raises, when it is asked:
        KafkaUnavailableError: no answer in time.
        KafkaRefusedError: a configuration that librdkafka refuses.
    """
    admins: list[AdminClient] = []

    def ask() -> object:
        if not admins:
            own = {**LOOKS_ONLY, "socket.timeout.ms": round(_ANSWER_WITHIN_S * 1000)}
            admins.append(make_admin(kafka, own=own))
        return cluster_of(admins[0], topic, timeout_s=_ANSWER_WITHIN_S)

    return ask
