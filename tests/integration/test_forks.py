"""The fork server gives tests what a process of the installed command is: settings, streams, exit codes, signals."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.deployment import hookstream
from tests.support.processes import Processes, clean_environment
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.forks import ForkServer


@pytest.fixture
def server(forks: ForkServer | None) -> ForkServer:
    if forks is None:
        pytest.skip("forks of libraries are safe on Linux alone")
    return forks


@pytest.mark.parametrize(
    ("args", "env"),
    [
        (("--version",), {}),
        (("topics", "check"), {}),
        (("nonsense",), {}),
        (("hooks", "list"), {"HOOKSTREAM_API_URL": "http://127.0.0.1:9", "HOOKSTREAM_API_TOKEN": "hookstream_x"}),
    ],
    ids=["done", "a setting is missing", "called wrongly", "failed"],
)
def test_a_command_does_what_the_installed_one_does(
    server: ForkServer, args: tuple[str, ...], env: dict[str, str]
) -> None:
    installed = hookstream(*args, env=env)
    code, out, err = server.run(*args, env=clean_environment(env))
    assert (code, out.decode(), err.decode()) == (installed.code, installed.out, installed.err)


def test_the_script_that_stands_for_the_command_passes_everything_on(server: ForkServer, tmp_path: Path) -> None:
    server.lay_command(tmp_path / "hookstream")
    env = clean_environment({"HOOKSTREAM_DATABASE_URL": "sqlite:///here.sqlite3"})
    done = subprocess.run([tmp_path / "hookstream", "migrate"], env=env, cwd=tmp_path, check=False)  # noqa: S603  # our own program, and no shell
    assert done.returncode == 0
    assert (tmp_path / "here.sqlite3").exists()
    done = subprocess.run([tmp_path / "hookstream", "nonsense"], capture_output=True, check=False)  # noqa: S603  # our own program, and no shell
    assert done.returncode == 2
    assert b"No such command 'nonsense'" in done.stderr


def test_a_fork_is_stopped_resumed_and_killed_like_any_process(server: ForkServer, tmp_path: Path) -> None:
    processes = Processes(tmp_path, server)
    fork = processes.python("-m", "http.server", "0", "--bind", "127.0.0.1", name="forked")
    fork.wait_until(lambda: "Serving HTTP" in fork.log_text(), what="listening")
    assert Path(f"/proc/{fork.pid}/environ").exists()
    fork.pause()
    eventually(lambda: Path(f"/proc/{fork.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    assert fork.running
    fork.resume()
    fork.kill()
    assert fork.exit_code == -signal.SIGKILL
    processes.close()


def test_an_error_that_is_not_caught_ends_a_fork_with_its_traceback(server: ForkServer, tmp_path: Path) -> None:
    fork = Processes(tmp_path, server).python("-m", "no.such.module", name="broken")
    assert fork.wait(30) == 1
    assert "ModuleNotFoundError" in fork.log_text()
