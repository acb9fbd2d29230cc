"""A real PostgreSQL server of our own, and fresh databases on any server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from tests.support.machine import IMAGES, Part, Source, machine_postgres, wheel_postgres
from tests.support.processes import free_port
from tests.support.runners import START_WITHIN_S, ContainerRunner, ProcessRunner, Server, wait_until
from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    # A test's data has to survive a killed server, not a killed machine. (Without synchronous_commit it would not:
    # a commit of the last half second dies with the server.)
    "fsync": "off",
    "full_page_writes": "off",
}
_SUPERUSER = "hookstream"


class Postgres(Protocol):
    """A server of a test's own. Address and data survive every one of these."""

    @property
    def url(self) -> str:
        """Its maintenance database, as an SQLAlchemy URL; `new_database(url)` makes one for a test."""

    def start(self) -> None:
        """Start on the same data; returns when it answers."""

    def stop(self) -> None:
        """End every connection and shut down in order."""

    def kill(self) -> None:
        """Crash it."""


class PostgresServer(Server):
    """`initdb` and `postgres` from one folder of binaries, as an unprivileged user where we are root."""

    def __init__(self, binaries: Path, *, kept: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        """Make the data directory; nothing is started yet.

        A directory that is `kept` is made where it is missing, used as it is otherwise, and stays after `close`.
        """
        self.port = free_port()
        self._user = _unprivileged_user()
        # Not below pytest's directory, which is closed to other users.
        self._directory = kept or Path(tempfile.mkdtemp(prefix="hookstream-postgres-"))
        self._directory.mkdir(parents=True, exist_ok=True)
        self._kept = kept is not None
        self._data = self._directory / "data"
        if self._user is not None:
            os.chown(self._directory, self._user, -1)
            if not open_to_others(binaries):
                binaries = _copied(binaries, self._directory)
        self._binaries = binaries
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        argv: list[str | Path] = [binaries / "postgres", "-D", self._data]
        own = {"port": str(self.port), "unix_socket_directories": "", **(settings or {})}
        for name, value in {**SETTINGS, **own}.items():
            argv += ["-c", f"{name}={value}"]
        # SIGINT ends connections and writes data; SIGQUIT is a crash, in every one of its processes at once.
        super().__init__(
            ProcessRunner(
                argv,
                log=self._directory / "postgres.log",
                cwd=self._directory,
                user=self._user,
                stop_by=signal.SIGINT,
                kill_by=signal.SIGQUIT,
            )
        )

    @property
    def url(self) -> str:
        """Its maintenance database, as an SQLAlchemy URL."""
        return f"postgresql+psycopg://{_SUPERUSER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start on the same data; returns when it answers."""
        self._runner.start()
        wait_until(self._runner, lambda: answers(self.url), START_WITHIN_S, what="a connection")

    def close(self) -> None:
        """End it for good and remove its data, unless they are kept: then it shuts down in order first."""
        if self._kept:
            self.stop()
        super().close()
        if not self._kept:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _initialise(self) -> None:
        argv = [str(self._binaries / "initdb"), "-D", str(self._data), "-U", _SUPERUSER, "-A", "trust"]
        done = subprocess.run(  # noqa: S603  # our own program, and no shell
            [*argv, "-E", "UTF8", "--no-locale", "--no-sync"],
            user=self._user,
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            message = f"initdb failed:\n{done.stdout}{done.stderr}"
            raise RuntimeError(message)


class PostgresContainer(Server):
    """PostgreSQL in a container."""

    def __init__(self, directory: Path) -> None:
        """Prepare a server on a random port; nothing is started yet."""
        port = free_port()
        command = ["postgres"]
        for name, value in {**SETTINGS, "port": str(port)}.items():
            command += ["-c", f"{name}={value}"]
        env = {"POSTGRES_USER": _SUPERUSER, "POSTGRES_HOST_AUTH_METHOD": "trust"}
        self.url = f"postgresql+psycopg://{_SUPERUSER}@127.0.0.1:{port}/postgres"
        super().__init__(
            ContainerRunner(IMAGES[Part.POSTGRES], log=directory / "postgres.log", env=env, command=command)
        )

    def start(self) -> None:
        """Start on the same data; returns when it answers."""
        self._runner.start()
        wait_until(self._runner, lambda: answers(self.url), START_WITHIN_S, what="a connection")


def server_of(source: Source, directory: Path) -> PostgresServer | PostgresContainer:
    """A server of our own from one source, not started yet; the log of a container is in `directory`."""
    if source is Source.DOCKER:
        return PostgresContainer(directory)
    folder = machine_postgres() if source is Source.MACHINE else wheel_postgres()
    assert folder is not None
    return PostgresServer(folder)


def answers(url: str) -> bool:
    """Whether a connection can be made."""
    try:
        connect(url, within_s=5).close()
    except psycopg.OperationalError:
        return False
    return True


def connect(url: str, *, within_s: int = round(WITHIN_S)) -> psycopg.Connection:
    """Open a psycopg connection in autocommit mode to an SQLAlchemy URL."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True, connect_timeout=within_s)


def new_database(server_url: str) -> Iterator[str]:
    """Yield the SQLAlchemy URL of a fresh database, dropped afterwards with whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    url: URL = make_url(server_url).set(drivername="postgresql+psycopg")
    _execute(server_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server_url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(url: str, statement: sql.Composed) -> None:
    with connect(url) as connection:
        connection.execute(statement)


def open_to_others(path: Path) -> bool:
    """Whether a user without rights gets there: a home of mode 700 above it closes all of it."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


def _copied(binaries: Path, to: Path) -> Path:
    """Copy an installation to where another user can read it, with the libraries that a wheel has beside its folder."""
    install, package = binaries.parent, binaries.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    for folder in (install, libraries):
        if folder.exists():
            shutil.copytree(folder, to / folder.relative_to(package.parent), symlinks=True, dirs_exist_ok=True)
    for path in to.rglob("*"):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
    return to / binaries.relative_to(package.parent)


def _unprivileged_user() -> int | None:
    """`initdb` refuses root; None where we are another user anyway."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    return 65534
