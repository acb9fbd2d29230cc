"""Processes of a simulated world: one may be killed in the middle of a step, while others take theirs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator


class KilledError(BaseException):
    """This process was killed: none of its code goes on."""


@dataclass
class SimulatedProcess:
    """A process that takes steps until it is killed."""

    alive: bool = True
    busy: bool = False


_Process = TypeVar("_Process", bound=SimulatedProcess)


@contextmanager
def one_step(process: _Process, running: list[_Process]) -> Iterator[None]:
    """A step of a process, one of the `running` meanwhile; where it is killed, the step ends and the world goes on."""
    process.busy = True
    running.append(process)
    try:
        yield
    except KilledError:
        pass
    finally:
        process.busy = False
        running.remove(process)
