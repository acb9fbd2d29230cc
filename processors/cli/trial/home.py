"""The folder that `hookstream up` keeps: hooks in SQLite, the key that their secrets are sealed with, tokens.

`hookstream listen` finds there what it needs, and keeps the secrets of the hooks that it registers.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson

from hookstream.processors.cli.console import CommandError
from hookstream.processors.settings import KEY_BYTES, parse_key

_PRIVATE_FOLDER = 0o700
_PRIVATE_FILE = 0o600
_DATABASE = "hookstream.sqlite3"
_HOOK_SECRETS = "listen.json"


class Home:
    """One folder, used by one process at a time. Only its owner may read it."""

    def __init__(self, folder: Path) -> None:
        """Name it; `opened` makes it."""
        self._folder = folder
        self.tokens_file = folder / "tokens"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder where it is missing, and keep others out meanwhile.

        Raises:
            CommandError: it cannot be written, or another process has it.
        """
        try:
            self._folder.mkdir(_PRIVATE_FOLDER, parents=True, exist_ok=True)
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE)
        except OSError as exc:
            message = f"cannot use the folder {self._folder}: {exc.strerror}"
            raise CommandError(message) from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._close_to_others()
            yield
        except BlockingIOError:
            message = f"another `hookstream up` works in {self._folder}"
            raise CommandError(message) from None
        finally:
            os.close(lock)

    def _close_to_others(self) -> None:
        """Take from others what a folder of an earlier release, or a copy, lets them read."""
        with suppress(OSError):  # another user owns it, and decides
            self._folder.chmod(_PRIVATE_FOLDER)
            for file in self._folder.glob(f"{_DATABASE}*"):  # and its journals
                file.chmod(_PRIVATE_FILE)

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of its database."""
        return f"sqlite:///{self._folder.resolve() / _DATABASE}"

    def secret_key(self) -> bytes:
        """The key of this folder; made at the first call.

        Raises:
            CommandError: the file holds no key, or cannot be read.
        """
        path = self._folder / "secret.key"
        try:
            if not path.exists():
                _write_private(path, base64.b64encode(os.urandom(KEY_BYTES)).decode() + "\n")
            return parse_key(path.read_text())
        except (OSError, ValueError) as exc:
            message = f"cannot read the key in {path}: {exc}"
            raise CommandError(message) from exc

    def variables(self) -> dict[str, str]:
        """What the tokens' file holds, by name; nothing where there is no file, or one that cannot be read."""
        try:
            lines = self.tokens_file.read_text().splitlines()
        except (OSError, ValueError):
            return {}
        parted = (line.removeprefix("export ").partition("=") for line in lines if line.startswith("export "))
        return {name: "".join(_unquoted(value)) for name, _, value in parted}

    def write_variables(self, variables: Mapping[str, str]) -> None:
        """Keep tokens and addresses where a shell reads them: `. .hookstream/tokens`."""
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
        _write_private(self.tokens_file, "".join(lines))

    def hook_secrets(self) -> dict[int, str]:
        """Secrets of the hooks that `listen` registered, by hook id; what cannot be read counts as none."""
        try:
            kept = orjson.loads((self._folder / _HOOK_SECRETS).read_bytes())
            return {int(hook_id): str(secret) for hook_id, secret in kept.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def write_hook_secrets(self, secrets: Mapping[int, str]) -> None:
        """Keep secrets, for the next `listen`.

        Raises:
            CommandError: the folder cannot be written.
        """
        try:
            _write_private(self._folder / _HOOK_SECRETS, json.dumps(secrets) + "\n")
        except OSError as exc:
            message = f"cannot write in the folder {self._folder}: {exc.strerror}"
            raise CommandError(message) from exc


def _unquoted(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        return []


def _write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all; no other user could read it at any moment."""
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE_FILE), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
