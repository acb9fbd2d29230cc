"""Something that runs and can be started again on the same data: a process of ours, or a container of Docker's."""

from __future__ import annotations

import resource
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from tests.support.machine import has_image
from tests.support.processes import Process, ProcessFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from testcontainers.core.container import DockerContainer


# Test processes side by side start their servers at the same moment, on a machine that others may use too.
START_WITHIN_S = 180.0


class Runner(Protocol):
    """What a part of a test's own stands on."""

    log: Path

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""

    def start(self) -> None:
        """Start it, again on the same data; nothing happens while it runs."""

    def stop(self, deadline_s: float = 60.0) -> None:
        """Ask it to end, and wait; nothing happens when it has ended."""

    def kill(self) -> None:
        """SIGKILL, and wait."""

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""

    def resume(self) -> None:
        """Thaw it."""

    def fill_disk(self) -> None:
        """Let none of its files grow any more, until it is started again."""

    def close(self) -> None:
        """End it for good."""


def no_room(pid: int) -> None:
    """Let every write of a process that would make a file longer fail, as on a full disk."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))


def wait_until(runner: Runner, ready: Callable[[], bool], deadline_s: float, *, what: str) -> None:
    """Wait until `ready()`; gives up at once when the runner has ended.

    Raises:
        ProcessFailedError: it ended, or was not ready at the deadline.
    """
    ends = time.monotonic() + deadline_s
    while not ready():
        ended = not runner.running
        if ended or time.monotonic() >= ends:
            tail = runner.log.read_text(errors="replace")[-4000:] if runner.log.exists() else ""
            reason = "ended before" if ended else f"not within {deadline_s:g} s"
            message = f"{runner.log.stem}: {reason}: {what}\n--- end of {runner.log} ---\n{tail}"
            raise ProcessFailedError(message)
        time.sleep(0.05)


class Server:
    """A server of a test's own. Its address and its data survive everything but `close`."""

    def __init__(self, runner: Runner) -> None:
        """Have it run by this runner; nothing is started yet."""
        self._runner = runner

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self._runner.log

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._runner.running

    def stop(self) -> None:
        """End it in order."""
        self._runner.stop()

    def kill(self) -> None:
        """Crash it."""
        self._runner.kill()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._runner.pause()

    def resume(self) -> None:
        """Thaw it."""
        self._runner.resume()

    def fill_disk(self) -> None:
        """Leave it no room for what it is sent, until it is started again."""
        self._runner.fill_disk()

    def close(self) -> None:
        """End it for good."""
        self._runner.close()


class ProcessRunner:
    """A child process; it dies with the test run."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path,
        user: int | None = None,
        stop_by: signal.Signals = signal.SIGTERM,
        kill_by: signal.Signals = signal.SIGKILL,
    ) -> None:
        """`stop_by` and `kill_by` are for a program that has its own signals for a shutdown and a crash."""
        self.log = log
        self._argv = argv
        self._cwd = cwd
        self._user = user
        self._stop_by = stop_by
        self._kill_by = kill_by
        self._process: Process | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Start it; nothing happens while it runs."""
        if not self.running:
            self._process = Process(
                self._argv, log=self.log, cwd=self._cwd, user=self._user, on_parent_death=self._kill_by
            )

    def stop(self, deadline_s: float = 60.0) -> None:
        """Signal it and wait."""
        self._end(self._stop_by, deadline_s)

    def kill(self) -> None:
        """Kill it and wait."""
        self._end(self._kill_by, 30.0)

    def pause(self) -> None:
        """SIGSTOP."""
        if self._process is not None:
            self._process.pause()

    def resume(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.resume()

    def fill_disk(self) -> None:
        """Let none of its files grow any more."""
        if self._process is not None:
            no_room(self._process.pid)

    def close(self) -> None:
        """End it for good."""
        self.kill()

    def _end(self, by: signal.Signals, deadline_s: float) -> None:
        if self._process is not None and self._process.running:
            self._process.signal(by)
            self._process.resume()
            self._process.wait(deadline_s)


class ContainerRunner:
    """A container on this machine's own network, so that its addresses are those of a process."""

    def __init__(self, image: str, *, log: Path, env: Mapping[str, str], command: Sequence[str] = ()) -> None:
        self.log = log
        self._image = image
        self._env = env
        self._command = list(command)
        self._container: DockerContainer | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        if self._container is None:
            return False
        inner = self._container.get_wrapped_container()
        inner.reload()
        return str(inner.status) in {"running", "paused"}

    def start(self) -> None:
        """Create it, or start it again with its own file system."""
        if self.running:
            return
        if self._container is None:
            self._container = new_container(self._image, self._env, self._command)
        else:
            self._container.get_wrapped_container().start()
        threading.Thread(target=self._copy_log, name=f"log of {self._image}", daemon=True).start()

    def stop(self, deadline_s: float = 60.0) -> None:
        """SIGTERM, and SIGKILL at the deadline."""
        if self._container is not None:
            self.resume()
            self._container.get_wrapped_container().stop(timeout=int(deadline_s))

    def kill(self) -> None:
        """SIGKILL."""
        if self._container is not None and self.running:
            self.resume()
            self._container.get_wrapped_container().kill()
            self._container.get_wrapped_container().wait(timeout=30)

    def pause(self) -> None:
        """Freeze its control group."""
        if self._container is not None:
            self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        """Thaw it; nothing happens where it is not frozen."""
        if self._container is not None:
            inner = self._container.get_wrapped_container()
            inner.reload()
            if inner.status == "paused":
                inner.unpause()

    def fill_disk(self) -> None:
        """Let none of its files grow any more; only root may do that to a container."""
        if self._container is not None:
            inner = self._container.get_wrapped_container()
            inner.reload()
            no_room(int(inner.attrs["State"]["Pid"]))

    def close(self) -> None:
        """Remove it with its data."""
        if self._container is not None:
            self._container.stop()
            self._container = None

    def _copy_log(self) -> None:
        assert self._container is not None
        with suppress(OSError), self.log.open("wb") as sink:
            for chunk in self._container.get_wrapped_container().logs(stream=True, follow=True):
                sink.write(chunk)
                sink.flush()


def new_container(image: str, env: Mapping[str, str], command: Sequence[str]) -> DockerContainer:
    """Create and start a container that testcontainers removes even when the test run is killed."""
    from testcontainers.core.config import testcontainers_config  # noqa: PLC0415 - only where Docker is
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415

    if not has_image(testcontainers_config.ryuk_image):  # without its reaper, only an orderly end removes containers
        testcontainers_config.ryuk_disabled = True
    container = DockerContainer(image).with_envs(**env).with_kwargs(network_mode="host")
    if command:
        container = container.with_command(list(command))
    return container.start()
