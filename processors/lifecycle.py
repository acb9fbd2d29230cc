"""How a role starts, says how it is, and stops.

Start: components that do not answer are waited for without end, with a line of log for each failure; readiness is false
meanwhile, and nothing crash-loops.
Stop: the first SIGTERM or SIGINT asks, the second forces.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TypeVar

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential
from tenacity.stop import stop_base, stop_never

from hookstream.producers.errors import RegistryUnavailableError

from .errors import KafkaUnavailableError, StoppedError

_T = TypeVar("_T")
RETRIABLE: tuple[type[Exception], ...] = (KafkaUnavailableError, RegistryUnavailableError)

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0

log = structlog.get_logger("hookstream.lifecycle")


def spare_garbage_collection() -> None:
    """Let searches for garbage pass over what is there from the start; call it when a role is about to work.

    A search through all that a role has imported takes some 150 ms, in which every thread waits, and tens of thousands
    of new objects, as a page about 10,000 endpoints needs, cause one.
    """
    gc.unfreeze()  # of a role that ran before in this process
    gc.collect()
    gc.freeze()


class StopSignal:
    """The request to stop, which loops look at and waits end by. May be used from any thread."""

    def __init__(self) -> None:
        """Not asked yet."""
        self._asked = threading.Event()

    @property
    def asked(self) -> bool:
        """Whether it was asked."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask to stop."""
        self._asked.set()

    def wait(self, timeout_s: float) -> bool:
        """Sleep, at most until it is asked; says whether it was."""
        return self._asked.wait(timeout_s)

    def catch_signals(self, *, notify: Callable[[], None] | None = None) -> None:
        """Let SIGTERM and SIGINT ask, and the second one end the process at once. Main thread only.

        `notify` is called in the signal handler after the first, for a loop that has to be woken.
        """

        def handle(number: int, _frame: FrameType | None) -> None:
            if self.asked:
                os._exit(128 + number)  # forced: no more goodbyes
            self.ask()
            if notify is not None:
                notify()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)


class Health:
    """Whether this process should be given work, and why not. May be used from any thread."""

    def __init__(self, *unready: str) -> None:
        """Name the components that are not ready from the start."""
        self._reasons = dict.fromkeys(unready, "starting")
        self._lock = threading.Lock()
        self._silent: Callable[[], Mapping[str, str]] = dict

    def watch(self, silent: Callable[[], Mapping[str, str]]) -> None:
        """Take in what does not answer, too: it is called whenever `/readyz` is read."""
        self._silent = silent

    @property
    def reasons(self) -> dict[str, str]:
        """Parts that are not ready, with the reason. Empty: ready."""
        silent = self._silent()
        with self._lock:
            return {**silent, **self._reasons}

    @property
    def ready(self) -> bool:
        """Whether every component is ready."""
        return not self.reasons

    def up(self, component: str) -> None:
        """Component is ready."""
        with self._lock:
            self._reasons.pop(component, None)

    def down(self, component: str, reason: str) -> None:
        """Component is not ready; the reason is shown by `/readyz`."""
        with self._lock:
            self._reasons[component] = reason


def until_available(
    what: str,
    attempt: Callable[[], _T],
    *,
    stop: StopSignal,
    health: Health | None = None,
    retriable: tuple[type[Exception], ...] = RETRIABLE,
    give_up_after_s: float | None = None,
    sleep: Callable[[float], None] | None = None,
) -> _T:
    """Try until `attempt` gives an answer; each failure is one line of log, and the reason in `health`.

    `sleep` does something useful for so long instead of sleeping; it has to look at `stop` itself.

    Raises:
        StoppedError: the process was asked to stop.
        Exception: what `attempt` raised, if it is not retriable, or if `give_up_after_s` is over.
    """

    def complain(state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome is not None else None
        log.warning("waiting", what=what, reason=str(failure), attempt=state.attempt_number)
        if health is not None:
            health.down(what, str(failure))

    def wait(seconds: float) -> None:
        if stop.wait(seconds):
            message = f"asked to stop while waiting for {what}"
            raise StoppedError(message)

    limit: stop_base = stop_never if give_up_after_s is None else stop_after_delay(give_up_after_s)
    retrying = Retrying(
        retry=retry_if_exception_type(retriable),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
        stop=limit,
        sleep=wait if sleep is None else sleep,
        before_sleep=complain,
        reraise=True,
    )
    answer: _T = retrying(attempt)
    if health is not None:
        health.up(what)
    return answer
