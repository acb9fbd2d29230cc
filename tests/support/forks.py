"""The fork server as tests use it: starts it, asks for forks, and treats each like a child process."""

from __future__ import annotations

import json
import math
import os
import select
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support import fork_client
from tests.support.fork_server import HOOKSTREAM, MODULE, NUMBER, READY
from tests.support.processes import Process, clean_environment
from tests.support.repository import ROOT

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_START_S = 120.0


class Fork:
    """A fork that runs, or has run; what `subprocess.Popen` says of a child, as far as `Process` asks."""

    def __init__(self, connection: socket.socket) -> None:
        """Wait until it is there."""
        self._connection = connection
        self.pid: int = self._number()
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._ended_within(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def send_signal(self, sig: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def _ended_within(self, seconds: float | None) -> int | None:
        if self._code is None and self._answered_within(seconds):
            self._code = self._number()
            self._connection.close()
        return self._code

    def _answered_within(self, seconds: float | None) -> bool:
        """Not by `select.select`, which takes no descriptor above 1,023."""
        look = select.poll()
        look.register(self._connection, select.POLLIN)
        return bool(look.poll(None if seconds is None else math.ceil(seconds * 1000)))

    def _number(self) -> int:
        answer = self._connection.recv(NUMBER.size, socket.MSG_WAITALL)
        assert len(answer) == NUMBER.size, "the fork server has ended"
        number: int = NUMBER.unpack(answer)[0]
        return number


class ForkServer:
    """One process for a whole test run. Use it in a `with` block of the main thread."""

    def __init__(self, folder: Path) -> None:
        """Start it; `folder` keeps its log."""
        # A socket's path may have some hundred bytes, and a test's folder may have more.
        self._place = tempfile.TemporaryDirectory(prefix="hookstream-forks-")
        self.path = Path(self._place.name) / "socket"
        argv = [sys.executable, "-m", "tests.support.fork_server", str(self.path)]
        self._process = Process(argv, log=folder / "forks.log", env=clean_environment(), cwd=ROOT)

    @property
    def log(self) -> Path:
        """What it says of itself; forks write to streams of their own."""
        return self._process.log

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        """Kill it, and with it what is left of its forks."""
        self._process.kill()
        self._place.cleanup()

    def start(self, program: Sequence[str], *, env: Mapping[str, str], folder: Path, streams: Sequence[int]) -> Fork:
        """Fork; `program` begins with `hookstream`, or with `-m` and a module."""
        assert program[0] in (HOOKSTREAM, MODULE)
        self._wait_ready()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.path))
        request = json.dumps([list(program), dict(env), str(folder)]).encode()
        socket.send_fds(connection, [NUMBER.pack(len(request))], list(streams))
        connection.sendall(request)
        return Fork(connection)

    def lay_command(self, path: Path) -> None:
        """Write a script that runs `hookstream` in a fork."""
        self._wait_ready()
        client = shlex.join([sys.executable, "-I", "-S", fork_client.__file__, str(self.path)])
        path.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
        path.chmod(0o755)

    def _wait_ready(self) -> None:
        self._process.wait_until(lambda: READY in self._process.log_text(), _START_S, what=READY)

    def run(
        self, *args: str, env: Mapping[str, str], given: bytes = b"", timeout_s: float = 300.0
    ) -> tuple[int, bytes, bytes]:
        """Run `hookstream` to its end; give its exit code, standard output and standard error."""
        with tempfile.TemporaryFile() as into, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            into.write(given)
            into.seek(0)
            streams = [each.fileno() for each in (into, out, err)]
            fork = self.start([HOOKSTREAM, *args], env=env, folder=Path.cwd(), streams=streams)
            try:
                code = fork.wait(timeout_s)
            finally:
                if fork.poll() is None:
                    os.kill(fork.pid, 9)
            out.seek(0)
            err.seek(0)
            return code, out.read(), err.read()
