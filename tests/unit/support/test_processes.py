"""Child processes: their log is kept, their end is seen, and they do not outlive whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import Ports, Process, Processes, ProcessFailedError, clean_environment
from tests.support.wait import eventually

FOREVER = "import signal, sys; print('up', flush=True); signal.pause()"


@pytest.fixture
def forever(tmp_path: Path) -> Process:
    """Start a child that waits for a signal."""
    child = Process([sys.executable, "-c", FOREVER], log=tmp_path / "forever.log")
    child.wait_until(lambda: "up" in child.log_text(), what="it says so")
    return child


def test_sigterm_and_sigkill_end_it_with_their_codes(forever: Process) -> None:
    assert forever.exit_code is None
    assert forever.terminate() == -signal.SIGTERM
    forever.kill()  # a second end is no error


def test_a_child_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    child = Process([sys.executable, "-c", "raise SystemExit('out of luck')"], log=tmp_path / "early.log")
    with pytest.raises(ProcessFailedError, match=r"(?s)ended with 1 before: never.*out of luck"):
        child.wait_until(lambda: False, what="never")


def test_a_child_that_is_never_ready_is_reported_at_the_deadline(forever: Process) -> None:
    with pytest.raises(ProcessFailedError, match=r"(?s)not within 0 s: never.*up"):
        forever.wait_until(lambda: False, 0.0, what="never")
    forever.kill()


def test_children_see_no_setting_of_ours_but_those_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKSTREAM_DATABASE_URL", "inherited")
    environment = clean_environment({"HOOKSTREAM_API_PORT": "1"})
    assert "HOOKSTREAM_DATABASE_URL" not in environment
    assert environment["HOOKSTREAM_API_PORT"] == "1"


def test_what_a_test_leaves_behind_is_killed(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    child = processes.python("-c", FOREVER)
    processes.close()
    assert child.exit_code == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_child_dies_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    run = f"""
import pathlib, signal
from tests.support.processes import Process
child = Process(["sleep", "60"], log=pathlib.Path({str(tmp_path / "child.log")!r}))
pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))
signal.pause()
"""
    root = Path(__file__).parents[3]
    parent = subprocess.Popen([sys.executable, "-c", run], cwd=root, env=clean_environment())  # noqa: S603  # our own program, and no shell
    pid = int(eventually(lambda: pid_file.exists() and pid_file.read_text()) or 0)
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    eventually(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that is not reaped does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def test_no_port_is_given_twice_before_its_server_can_listen() -> None:
    """Two roles that got the same port: the second one ended, and the first one's answer was taken for its own."""
    ports = Ports()
    given = [ports.take(1) for _ in range(300)]
    first = ports.take(4)
    assert len(set(given)) == 300
    assert not {first, first + 1, first + 2, first + 3} & set(given)
