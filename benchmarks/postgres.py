"""A PostgreSQL for a benchmark: one of our own, with the settings of the tests, or the one that the tests are given."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import machine
from tests.support.machine import Part
from tests.support.postgres import new_database, server_of

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
            if source is None:
                raise SystemExit(machine.missing(Part.POSTGRES))
            server = server_of(source, Path(directory))
            stack.callback(server.close)
            server.start()
            given = server.url
        yield from new_database(given)
