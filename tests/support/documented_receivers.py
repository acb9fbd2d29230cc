"""The servers of docs/receivers.md: their code, taken from the document, and what each needs, fetched once.

Packages come from where npm, the Go tools and Maven are set up to fetch them, and stay in `.cache/`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.jars import fetched, mvn
from tests.support.machine import CACHE
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NODE_PACKAGES: Final = ("standardwebhooks@1.1.1", "json-bigint@1.0.0")
_GO_MODULE: Final = "github.com/standard-webhooks/standard-webhooks/libraries@v0.0.1"
_JAVA_ARTIFACT: Final = "com.standardwebhooks:standardwebhooks:1.1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One of them: its file in the document, the program that it needs, and how to start it in a folder."""

    file: str
    program: str
    prepare: Callable[[Path], Sequence[str]]


def code(file: str) -> str:
    """The block of the document whose first line names the file."""
    text = (ROOT / "docs/receivers.md").read_text()
    blocks = re.findall(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = (block for block in blocks if re.search(rf"(?:#|//) {re.escape(file)}$", block.partition("\n")[0]))
    return str(found)


def _python(folder: Path) -> Sequence[str]:
    return [sys.executable, str(folder / "receiver.py")]


def _node(folder: Path) -> Sequence[str]:
    packages = fetched(CACHE / "receivers" / "node", _fetch_node)
    (folder / "node_modules").symlink_to(packages / "node_modules")
    return ["node", str(folder / "receiver.mjs")]


def _go(folder: Path) -> Sequence[str]:
    module = fetched(CACHE / "receivers" / "go", _fetch_go)
    binary = module / "receiver"
    shutil.copy(folder / "receiver.go", module / "receiver.go")
    _run("go", "build", "-o", str(binary), "receiver.go", within=module)
    return [str(binary)]


def _php(folder: Path) -> Sequence[str]:
    return ["sh", "-c", f'exec php -S "127.0.0.1:$PORT" {folder / "receiver.php"} 2>&1']


def _java(folder: Path) -> Sequence[str]:
    jars = fetched(CACHE / "receivers" / "java", _fetch_java)
    return ["java", "-XX:+UseSerialGC", "-cp", f"{jars}/*", str(folder / "Receiver.java")]


def _fetch_node(into: Path) -> None:
    _run("npm", "install", "--no-audit", "--no-fund", "--silent", *_NODE_PACKAGES, within=into)


def _fetch_go(into: Path) -> None:
    _run("go", "mod", "init", "receiver", within=into)
    _run("go", "get", _GO_MODULE, within=into)


def _fetch_java(into: Path) -> None:
    mvn("dependency:copy", f"-Dartifact={_JAVA_ARTIFACT}", f"-DoutputDirectory={into}")


def _run(*command: str, within: Path) -> None:
    env = {**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    done = subprocess.run(command, cwd=within, env=env, capture_output=True, text=True, check=False)  # noqa: S603  # build tools, and no shell
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


LANGUAGES: Final = {
    "python": Language(file="receiver.py", program="python3", prepare=_python),
    "node": Language(file="receiver.mjs", program="node", prepare=_node),
    "go": Language(file="receiver.go", program="go", prepare=_go),
    "php": Language(file="receiver.php", program="php", prepare=_php),
    "java": Language(file="Receiver.java", program="java", prepare=_java),
}
