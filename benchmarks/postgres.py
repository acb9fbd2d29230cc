"""A PostgreSQL for a benchmark: one of our own, with the settings of the tests, or the one that the tests are given."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import machine
from tests.support.machine import Part, Source
from tests.support.postgres import PostgresContainer, PostgresServer, new_database

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def database() -> Iterator[str]:
    """URL of an empty database on a PostgreSQL of our own, or on the one that the tests are given."""
    given = machine.given(Part.POSTGRES)
    source = machine.choose(
        machine.own(machine.ORDER[Part.POSTGRES]), lambda each: machine.available(Part.POSTGRES, each)
    )
    with tempfile.TemporaryDirectory(prefix="hookstream-bench-") as directory, ExitStack() as stack:
        if given is None:
            server = _server(source, Path(directory))
            stack.callback(server.close)
            server.start()
            given = server.url
        yield from new_database(given)


def _server(source: Source | None, directory: Path) -> PostgresServer | PostgresContainer:
    if source is None:
        raise SystemExit(machine.missing(Part.POSTGRES))
    if source is Source.DOCKER:
        return PostgresContainer(directory)
    folder = machine.machine_postgres() if source is Source.MACHINE else machine.wheel_postgres()
    if folder is None:
        raise SystemExit(machine.missing(Part.POSTGRES))
    return PostgresServer(folder)
