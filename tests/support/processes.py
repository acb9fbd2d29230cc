"""Child processes of tests: their log is kept, they can be hurt, and they never outlive the test run."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.support.forks import ForkServer

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

# Below Linux's ephemeral range (32768-60999): a client that keeps connecting to a stopped server's port there would
# sooner or later be given that very port as its own source, connect to itself and keep the server from coming back.
_PORTS = range(15000, 32000)


class ProcessFailedError(AssertionError):
    """A child process ended, or did not get ready, when it should have; carries the end of its log."""


# Test processes side by side take ports from slices of their own.
_SLICES = 8


class Ports:
    """Ports in turn: none is given twice before all were, so two servers that are about to listen never share one."""

    def __init__(self) -> None:
        """Begin anywhere in the slice of this test process."""
        number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SLICES
        width = len(_PORTS) // _SLICES
        self._slice = _PORTS[number * width : (number + 1) * width]
        self._next = random.SystemRandom().randrange(width)
        self._lock = threading.Lock()

    def take(self, count: int) -> int:
        """The first of `count` ports in a row."""
        with self._lock:
            if self._next + count > len(self._slice):
                self._next = 0
            first = self._slice[self._next]
            self._next += count
            return first


_ports = Ports()


def free_port(*, neighbours: int = 0) -> int:
    """A loopback TCP port that is free now, with `neighbours` free ports right above it."""
    for _ in range(200):
        first = _ports.take(neighbours + 1)
        if all(_is_free(port) for port in range(first, first + neighbours + 1)):
            return first
    message = f"no free port in {_PORTS}"
    raise OSError(message)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def dies_with_parent(by: signal.Signals) -> Callable[[], None] | None:
    """What to run between fork and exec so that the kernel signals the child when the test run is gone."""
    libc = _LIBC
    if libc is None:  # macOS has no such thing: there, only an orderly end of the test run ends its children
        return None
    parent = os.getpid()

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(by), 0, 0, 0)
        if os.getppid() != parent:  # it ended before we were armed
            os._exit(1)

    return arm


class Child(Protocol):
    """What `Process` needs of a child: `subprocess.Popen` has it, and `tests.support.forks.Fork`."""

    @property
    def pid(self) -> int:
        """Process id."""

    def poll(self) -> int | None:
        """Exit code, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code."""

    def send_signal(self, sig: signal.Signals) -> None:
        """Send a signal."""


class Process:
    """One running child. It is killed when the thread that started it ends, so start it from the main thread."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
        on_parent_death: signal.Signals = signal.SIGKILL,
        forks: ForkServer | None = None,
    ) -> None:
        """Start `argv`, or have it forked; standard output and error are appended to `log`. `user` needs root."""
        self.log = log
        self.name = log.stem
        self._child: Child
        if forks is not None:
            with log.open("ab") as sink, Path(os.devnull).open("rb") as nothing:
                streams = (nothing.fileno(), sink.fileno(), sink.fileno())
                program = [str(part) for part in argv]
                self._child = forks.start(program, env=env or os.environ, folder=cwd or Path.cwd(), streams=streams)
            return
        with log.open("ab") as sink:
            self._child = subprocess.Popen(  # noqa: S603 - argv comes from tests
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=dict(env) if env is not None else None,
                cwd=cwd,
                user=user,
                start_new_session=True,  # Ctrl-C in the terminal is the test run's to handle
                preexec_fn=dies_with_parent(on_parent_death),  # noqa: PLW1509 - only a system call
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Exit status, minus the signal's number if it was killed, None while it runs."""
        return self._child.poll()

    def signal(self, sig: signal.Signals) -> None:
        """Send a signal; nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            self._child.send_signal(sig)

    def pause(self) -> None:
        """SIGSTOP: alive for the kernel, silent for all others."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def wait(self, deadline_s: float = WITHIN_S) -> int:
        """Wait until it has ended and return its exit code.

        Raises:
            ProcessFailedError: it was still running at the deadline.
        """
        try:
            return self._child.wait(deadline_s)
        except subprocess.TimeoutExpired as error:
            raise ProcessFailedError(self.complaint(f"still running after {deadline_s:g} s")) from error

    def terminate(self, deadline_s: float = WITHIN_S) -> int:
        """SIGTERM, then wait for its exit code; it is not killed if it does not obey."""
        self.signal(signal.SIGTERM)
        return self.wait(deadline_s)

    def kill(self) -> None:
        """`kill -9`; returns when the process is gone."""
        self.signal(signal.SIGKILL)
        self._child.wait()

    def log_text(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def complaint(self, what: str) -> str:
        """One message with the end of the log."""
        return f"{self.name} (pid {self.pid}): {what}\n--- end of {self.log} ---\n{self.log_tail()}"

    def wait_until(self, ready: Callable[[], bool], deadline_s: float = WITHIN_S, *, what: str) -> None:
        """Wait until `ready()`; gives up at once when the process ends.

        Raises:
            ProcessFailedError: it ended, or was not ready at the deadline.
        """
        ends = time.monotonic() + deadline_s
        while not ready():
            if not self.running:
                raise ProcessFailedError(self.complaint(f"ended with {self.exit_code} before: {what}"))
            if time.monotonic() >= ends:
                raise ProcessFailedError(self.complaint(f"not within {deadline_s:g} s: {what}"))
            time.sleep(0.05)

    def wait_ready(self, url: str, deadline_s: float = WITHIN_S) -> None:
        """Wait until `GET url` answers 200, as `/readyz` of a role does."""
        self.wait_until(lambda: http_status(url) == 200, deadline_s, what=f"200 from {url}")


def http_status(url: str, *, timeout_s: float = 2.0) -> int | None:
    """Status of one GET, None without an answer."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 - loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, ValueError):
        return None


def accepts_connections(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without any setting of hookstream, plus `extra`: a child sees what its test says."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOOKSTREAM_")}
    return {**inherited, "PYTHONUNBUFFERED": "1", **(extra or {})}


class Processes:
    """Every process that one test starts; `close` kills what is left."""

    def __init__(self, directory: Path, forks: ForkServer | None = None) -> None:
        """Keep logs in `directory`; with `forks`, modules and commands are forked instead of started."""
        self._directory = directory
        self.forks = forks
        self.started: list[Process] = []

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        name: str,
        env: Mapping[str, str] | None = None,
        forks: ForkServer | None = None,
    ) -> Process:
        """Start any program with `clean_environment(env)`."""
        log = self._directory / f"{name}-{len(self.started)}.log"
        process = Process(argv, log=log, env=clean_environment(env), forks=forks)
        self.started.append(process)
        return process

    def python(self, *args: str | Path, env: Mapping[str, str] | None = None, name: str = "python") -> Process:
        """Start this interpreter: `python("-m", "module")`, `python(script_path, "argument")`."""
        if args[0] == "-m" and self.forks is not None:
            return self.start(args, name=name, env=env, forks=self.forks)
        return self.start([sys.executable, *args], name=name, env=env)

    def hookstream(self, *args: str, env: Mapping[str, str] | None = None) -> Process:
        """Start the command: `hookstream("router", env={"HOOKSTREAM_...": "..."})`."""
        name = "-".join(("hookstream", *args[:1]))
        if self.forks is not None:
            return self.start(["hookstream", *args], name=name, env=env, forks=self.forks)
        return self.start([Path(sys.executable).with_name("hookstream"), *args], name=name, env=env)

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            process.kill()
