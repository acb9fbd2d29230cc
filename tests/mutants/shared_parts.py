"""One Kafka, one registry and one PostgreSQL for all bugs of a run, started when a test first needs real parts."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from tests.support import machine
from tests.support.kafka_broker import KafkaBroker
from tests.support.machine import GIVEN, ORDER, Part, Source
from tests.support.postgres import PostgresContainer, PostgresServer
from tests.support.registry import ApicurioRegistry

if TYPE_CHECKING:
    from pathlib import Path


class SharedParts:
    """Starts each part that the environment does not name yet; a part that cannot be had is left to the tests."""

    def __init__(self, folder: Path) -> None:
        """Their data and logs go into `folder`; nothing is started yet."""
        self._folder = folder
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._environment: dict[str, str] | None = None

    def __enter__(self) -> Self:
        """Use as a context: its end stops what was started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop what was started."""
        self._stack.close()

    def environment(self) -> dict[str, str]:
        """The variables that name the parts."""
        with self._lock:
            if self._environment is None:
                self._environment = {GIVEN[part]: address for part in Part if (address := self._start(part))}
            return self._environment

    def _start(self, part: Part) -> str | None:
        source = machine.choose(ORDER[part], lambda each: machine.available(part, each))
        if source in (None, Source.GIVEN):
            return None
        assert source is not None
        if part is Part.KAFKA:
            broker = KafkaBroker(source, self._folder / "kafka")
            self._stack.callback(broker.close)
            broker.start()
            return broker.bootstrap_servers
        if part is Part.REGISTRY:
            registry = ApicurioRegistry(source, self._folder / "registry")
            self._stack.callback(registry.close)
            registry.start()
            return registry.url
        server = self._postgres(source)
        self._stack.callback(server.close)
        server.start()
        return server.url

    def _postgres(self, source: Source) -> PostgresServer | PostgresContainer:
        if source is Source.DOCKER:
            return PostgresContainer(self._folder)
        folder = machine.machine_postgres() if source is Source.MACHINE else machine.wheel_postgres()
        assert folder is not None
        return PostgresServer(folder)
