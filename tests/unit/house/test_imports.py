"""Imports between the packages, and who may read the environment. The directions themselves are import-linter's."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.repository import PACKAGES, ROOT, python_files

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = Path("processors/settings.py")
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}


def folder_imports(source: str) -> Iterator[str]:
    """Absolute imports of a package by the name of its folder: they work here by accident and collide elsewhere."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules = [node.module]
        else:
            continue
        yield from (module for module in modules if module.partition(".")[0] in PACKAGES)


def environment_reads(source: str) -> Iterator[int]:
    """Lines that touch the process environment."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT and ast.unparse(node.value) == "os":
            yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (node.lineno for alias in node.names if alias.name in ENVIRONMENT)


@pytest.mark.parametrize(
    "planted", ["import schemas", "from processors.cli import main", "import os, producers.x as p"]
)
def test_an_import_by_the_name_of_a_folder_is_seen(planted: str) -> None:
    assert list(folder_imports(planted))


@pytest.mark.parametrize("fine", ["from . import event", "from .schemas import x", "import hookstream.schemas"])
def test_a_proper_import_is_let_through(fine: str) -> None:
    assert not list(folder_imports(fine))


def test_packages_are_imported_by_their_full_names_everywhere() -> None:
    found = {str(path): list(folder_imports((ROOT / path).read_text())) for path in python_files()}
    assert {path: modules for path, modules in found.items() if modules} == {}


@pytest.mark.parametrize(
    "planted", ["import os\nos.environ['X']", "from os import getenv", "import os\nos.getenv('X')"]
)
def test_a_look_at_the_environment_is_seen(planted: str) -> None:
    assert list(environment_reads(planted))


def test_only_the_settings_read_the_environment() -> None:
    readers = [path for path in python_files(*PACKAGES) if list(environment_reads((ROOT / path).read_text()))]
    assert set(readers) <= {SETTINGS, Path("producers/config.py")}


def lint_imports(namespace: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter with the project's contracts on the packages below `namespace`."""
    return subprocess.run(  # noqa: S603  # our own program, and no shell
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", ROOT / "pyproject.toml"],
        env={**os.environ, "PYTHONPATH": str(namespace)},
        cwd=namespace,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the packages into a namespace that wins over the editable install."""
    for path in python_files(*PACKAGES):
        target = tmp_path / "hookstream" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target)
    return tmp_path


@pytest.mark.parametrize(
    ("package", "planted", "contract"),
    [
        ("schemas", "from hookstream.producers import x", "never back BROKEN"),
        ("producers", "import fastapi", "nothing of the server BROKEN"),
        ("processors.delivery.engine", "import asyncio", "the engine is pure BROKEN"),
        ("processors.delivery.http", "import confluent_kafka", "the HTTP client knows no Kafka BROKEN"),
        (
            "processors.delivery.checkpoints",
            "from hookstream.processors.delivery.worker import x",
            "the worker composes",
        ),
    ],
)
def test_a_planted_forbidden_import_breaks_its_contract(copy: Path, package: str, planted: str, contract: str) -> None:
    (copy / "hookstream" / Path(*package.split(".")) / "planted.py").write_text(f"{planted}\n")
    answer = lint_imports(copy)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert contract in answer.stdout
    assert f"hookstream.{package}.planted" in answer.stdout
