"""Forks of a process that has imported everything: a role or command of a test starts in a tenth of a second of CPU.

Importing takes one to two seconds, and tests start hundreds of processes. A fork has its own session, environment,
folder, streams, signals and exit code, as a process of the installed command has. As a program it is the server:
`python -m tests.support.fork_server SOCKET`. A request is three streams, and the JSON of arguments, environment and
folder; the answers are the fork's process id and, once it has ended, its exit code.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import sys
import threading
import traceback
from contextlib import suppress
from io import FileIO, TextIOWrapper
from typing import NoReturn

from tests.support.processes import dies_with_parent

READY = "forks can be asked for"
HOOKSTREAM = "hookstream"
MODULE = "-m"
NUMBER = struct.Struct("!i")
# What roles and commands import when they run, and the test's own programs.
_IMPORTED = (
    "alembic.command",
    "confluent_kafka.admin",
    "psycopg",
    "rich.live",
    "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "tests.support.delivery_stage",
    "tests.support.delivery_process",
    "tests.support.router_process",
)


def main() -> NoReturn:
    """Serve until killed; in a fork, run what was asked for."""
    _import_everything()
    gc.collect()
    gc.freeze()  # what is there already is not walked, and so not copied, in the forks
    program = _serve(sys.argv[1])
    code: object = 1
    try:
        _run(program)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  # as the interpreter does
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))  # taking all modules apart costs a second


def _import_everything() -> None:
    package = importlib.import_module("hookstream.processors.cli")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    for name in _IMPORTED:
        importlib.import_module(name)


def _serve(path: str) -> list[str]:
    """Fork for every request; returns in the forks, with the arguments of the program that each has to be."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    ended, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    die_with_this = dies_with_parent(signal.SIGKILL)
    running: dict[int, socket.socket] = {}
    print(READY, flush=True)  # noqa: T201  # the test reads it
    while True:
        ready, _, _ = select.select([listener.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _report_ended(running)
        if listener.fileno() in ready:
            connection, _ = listener.accept()
            request, streams = _received(connection)
            pid = os.fork()
            if not pid:
                if die_with_this is not None:
                    die_with_this()
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (listener, connection, *running.values()):
                    each.close()
                os.close(ended)
                os.close(wakes)
                return _become(request, streams)
            for stream in streams:
                os.close(stream)
            connection.sendall(NUMBER.pack(pid))
            running[pid] = connection


def _received(connection: socket.socket) -> tuple[bytes, list[int]]:
    head, streams, _, _ = socket.recv_fds(connection, NUMBER.size, 3)
    (length,) = NUMBER.unpack(head)
    request = b""
    while len(request) < length:
        request += connection.recv(length - len(request))
    return request, streams


def _report_ended(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as connection, suppress(OSError):  # whoever asked may be gone
            connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _become(request: bytes, streams: list[int]) -> list[str]:
    """Make this fork look like a process that was started with the request's arguments."""
    program, env, folder = json.loads(request)
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    # Unbuffered, as PYTHONUNBUFFERED of every process of a test says.
    sys.stdin = TextIOWrapper(FileIO(0, closefd=False), encoding="utf-8")
    sys.stdout = TextIOWrapper(FileIO(1, "w", closefd=False), encoding="utf-8", write_through=True)
    sys.stderr = TextIOWrapper(FileIO(2, "w", closefd=False), "utf-8", "backslashreplace", write_through=True)
    return list(program)


def _run(program: list[str]) -> None:
    if program[0] == MODULE:
        sys.argv = program[1:]
        sys.modules.pop(program[1], None)  # it is the main module now
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        importlib.import_module("hookstream.processors.cli.main").main()


if __name__ == "__main__":
    main()
