"""Runs a worker anew in the same process after an exception of our own code that no single request explains.

A process that ended instead would be started again by its process manager, at once, and lose what it counted: its
metrics begin at zero, and an alert on their increase sees nothing. Here the group is left in order, so that another
worker may try, the reason stands in `/readyz`, and each further try waits twice as long. What an operator or a process
manager has to decide (a refused start, a producer that has failed) is not tried again here: it ends the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import structlog

from hookstream.processors.delivery.http.errors import DeliveryError
from hookstream.processors.delivery.http.exchange import ReportError
from hookstream.processors.errors import ProcessorError
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.producers.errors import ProducerError

FIRST_WAIT_S, LAST_WAIT_S = 1.0, 60.0
# Who ran for so long has recovered: the next exception is another one.
RECOVERED_AFTER_S = 600.0
_KNOWN = (ProcessorError, ProducerError, DeliveryError, MemoryError)

log = structlog.get_logger("hookstream.deliver")


class Worker(Protocol):
    """What is run."""

    def run(self) -> None:
        """Run until the process is asked to stop."""

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more: no thread, no member of the group."""


def run_with_restarts(
    make: Callable[[], Worker],
    *,
    stop: StopSignal,
    health: Health,
    report_error: ReportError,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run what `make` makes until it ends by itself or by asking `stop`; `report_error` is given each exception.

    Raises:
        Exception: one that is no bug, or one after which the worker could not be ended.
    """
    wait_s = FIRST_WAIT_S
    while True:
        worker, began = make(), clock()
        try:
            worker.run()
        except _KNOWN:
            raise
        except Exception as exc:
            report_error("worker", exc)
            if not worker.ended:
                raise
        else:
            return
        if clock() - began >= RECOVERED_AFTER_S:
            wait_s = FIRST_WAIT_S
        health.down("worker", "ended by an internal error: see the log; it is started again")
        log.error("the worker ended by an internal error; it is started again", after_s=wait_s)
        if stop.wait(wait_s):
            return
        health.up("worker")
        wait_s = min(2 * wait_s, LAST_WAIT_S)
