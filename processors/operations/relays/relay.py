"""One relay of the database to a topic: what is committed reaches the topic, and what stands there is compared with it.

One turn does, in an order that matters:

1. Compare with the database what an earlier turn has read and could not compare.
2. Read a batch of the topic and compare it. Until the end that the topic had at the start is reached nothing is
   written: only then is it known whether the database is as new as the topic.
3. Read and compare what was appended since, to its end.
4. Write what the database has and the topic has not.

kill -9 anywhere loses nothing: what was not committed as published is pending, and is published again under the same
revision. Any number of relays may run; a row is published by the one that locks it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

import structlog

from hookstream.processors.errors import ExpiredRecordsError, KafkaUnavailableError
from hookstream.producers.errors import RegistryError
from hookstream.subscriptions.errors import DatabaseError, NotPublishedError

# How long a stop waits for a batch while the past is read.
_LOADING_STEP_S = 0.2

_NOT_STARTED = "the relay has not started"

log = structlog.get_logger("hookstream.relay")


class TopicReader(Protocol):
    """Reads a topic from its first record; what it reads goes to the callback that it was made with."""

    @property
    def loaded(self) -> bool:
        """Whether everything was read that was there when it was opened."""
        ...

    def open(self) -> None:
        """Find the topic's end."""
        ...

    def step(self, timeout_s: float) -> int:
        """Read what is there and give the number of records."""
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn did. `loading`: the past is still being read. `blocked`: why nothing may be written now."""

    loading: bool = False
    blocked: str | None = None
    published: int = 0
    corrected: int = 0
    tombstoned: int = 0


class RelayStep(Protocol):
    """What is relayed: how records of the topic are compared with the database, and what is written."""

    what: str
    """What is relayed, for lines of log."""
    topic: str
    """Which topic it goes to, for lines of log."""

    def make_reader(self) -> TopicReader:
        """Make a reader that is not open yet; the step keeps what it reads."""
        ...

    def compare(self) -> None:
        """Compare with the database what was read since, then forget it. Call it again after a `DatabaseError`."""
        ...

    def write(self) -> Turn:
        """Write what the topic lacks; everything that it holds was compared.

        Raises:
            NotPublishedError: Kafka did not acknowledge.
            DatabaseError: no answer from the database.
        """
        ...

    def forget(self) -> None:
        """Forget what was read: the topic is read again from its start."""
        ...


class Relay:
    """Publishes one database to one topic. `wake` and `trouble` may be called from any thread, the rest from one."""

    def __init__(self, step: RelayStep, *, poll_interval_s: float = 0.1, retry_after_s: float = 1.0) -> None:
        """Prepare. `poll_interval_s` is how late a change made by another process is seen; `wake` is for one's own."""
        self._step = step
        self._poll_interval_s = poll_interval_s
        self._retry_after_s = retry_after_s
        self._reader: TopicReader | None = None
        self._woken = threading.Event()
        self._trouble: str | None = _NOT_STARTED

    def wake(self) -> None:
        """Say that something was committed just now."""
        self._woken.set()

    def trouble(self) -> str | None:
        """What keeps changes from reaching the topic, for `/readyz`; None where nothing does."""
        return self._trouble

    def run(self, stop: threading.Event) -> None:
        """Relay until `stop` is set. While Kafka, the registry or the database does not answer, it tries again."""
        try:
            while not stop.is_set():
                pause_s = self._turn()
                if pause_s:
                    self._woken.wait(pause_s)
                    self._woken.clear()
        finally:
            self.close()

    def close(self) -> None:
        """Stop reading the topic; `run` does it by itself. What was not published stays pending."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._step.forget()

    def run_once(self) -> Turn:
        """Do one turn, as the module says. It may be called again after any error.

        Raises:
            KafkaUnavailableError: no answer from Kafka.
            RegistryError: a schema cannot be had now.
            NotPublishedError: Kafka did not acknowledge.
            DatabaseError: no answer from the database, or it was not migrated yet.
        """
        self._step.compare()  # before more is read: while the database does not answer, no more is kept
        try:
            loaded = self._follow()
        except ExpiredRecordsError as exc:
            # Cut or re-created: what was seen of it says nothing any more.
            log.warning("a topic is read again from its start", topic=self._step.topic, reason=str(exc))
            self.close()
            raise KafkaUnavailableError(str(exc)) from exc
        return self._step.write() if loaded else Turn(loading=True)

    def _follow(self) -> bool:
        """Read what has come and compare it; give whether the past was read."""
        reader = self._reader or self._opened()
        reader.step(0.0 if reader.loaded else _LOADING_STEP_S)
        self._step.compare()
        if not reader.loaded:
            return False  # one batch a turn: a stop is seen in between
        while reader.step(0.0):
            self._step.compare()
        return True

    def _opened(self) -> TopicReader:
        reader = self._step.make_reader()
        reader.open()
        self._reader = reader
        return reader

    def _turn(self) -> float:
        """Do one turn and report what went wrong; give how long to wait for the next."""
        try:
            turn = self.run_once()
        except (KafkaUnavailableError, NotPublishedError, DatabaseError, RegistryError) as exc:
            self._report(str(exc))
            return self._retry_after_s
        if turn.loading:
            return 0.0
        self._report(turn.blocked)
        if turn.blocked is not None:
            return self._retry_after_s
        return 0.0 if turn.published or turn.corrected else self._poll_interval_s

    def _report(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            if trouble is None and self._trouble != _NOT_STARTED:  # the log says "again" only after a failure
                log.info("what is committed reaches the topic again", what=self._step.what, topic=self._step.topic)
            elif trouble is not None:
                log.error(
                    "what is committed does not reach the topic",
                    what=self._step.what,
                    topic=self._step.topic,
                    reason=trouble,
                )
        self._trouble = trouble
