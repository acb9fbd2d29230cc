"""The relay of a service's outbox as it runs."""

from __future__ import annotations

import threading

from sqlalchemy import Engine, inspect

from hookstream.processors.cli.console import CommandError
from hookstream.processors.cli.deps import Deps, event_producer
from hookstream.processors.lifecycle import RETRIABLE, until_available
from hookstream.processors.operations.relays.outbox import OutboxRelay
from hookstream.processors.operations.relays.outbox_lock import shares_sessions
from hookstream.producers.errors import DeliveryFailedError, NotRegisteredError
from hookstream.producers.event_producer import EventProducer
from hookstream.producers.outbox import OUTBOX
from hookstream.subscriptions.database import translated
from hookstream.subscriptions.errors import DatabaseUnavailableError

from .process import Running, ThreadGroup

_WARM_UP_S = 5.0
_LOOK_S = 0.2


def run_outbox_relay(deps: Deps, engine: Engine, running: Running) -> None:
    """Relay until asked to stop.

    Raises:
        CommandError: the database has no outbox, or hands its sessions round.
        ProducerError: Kafka takes nothing more; start it again.
    """
    running.health.down("database", "starting")
    with event_producer(deps, source="/hookstream/outbox-relay", deadline_s=_WARM_UP_S) as producer:
        until_available(
            "database",
            lambda: check_outbox(engine),
            stop=running.stop,
            health=running.health,
            retriable=(DatabaseUnavailableError,),
        )
        until_available(
            "kafka",
            producer.warm_up,
            stop=running.stop,
            health=running.health,
            retriable=(*RETRIABLE, NotRegisteredError, DeliveryFailedError),
        )
        _relay(engine, producer, running, deps.settings.stop_timeout_s)


def _relay(engine: Engine, producer: EventProducer, running: Running, stop_timeout_s: float) -> None:
    ends = threading.Event()
    threads = ThreadGroup(running.stop)
    threads.start("outbox relay", lambda: OutboxRelay(engine, producer).run(ends))
    while not running.stop.wait(_LOOK_S):
        pass
    ends.set()
    threads.join(stop_timeout_s)


def check_outbox(engine: Engine) -> None:
    """Check that the relay can work on this database.

    Raises:
        DatabaseUnavailableError: it does not answer.
        CommandError: it has no outbox, or hands its sessions round.
    """
    with translated():
        found = inspect(engine).has_table(OUTBOX.name)
        shared = shares_sessions(engine)
    if not found:
        message = f"the database has no table {OUTBOX.name}: hookstream.producers.outbox.METADATA describes it"
        raise CommandError(message)
    if shared:
        message = (
            "the outbox relay needs a session of its own, and a pooler shares them here: "
            "connect without it, or let it pool sessions (PgBouncer: pool_mode = session)"
        )
        raise CommandError(message)
