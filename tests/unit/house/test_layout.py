"""The packages on disk, in `pyproject.toml` and in the rules agree."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.repository import PACKAGES, ROOT, kept_files, project, python_files


def test_every_package_on_disk_is_packaged_and_nothing_else() -> None:
    on_disk = {path.parent for path in kept_files(*PACKAGES) if path.name == "__init__.py"}
    assert {f"hookstream.{'.'.join(folder.parts)}" for folder in on_disk} == set(
        project()["tool"]["setuptools"]["packages"]
    )


def test_every_python_file_is_in_a_package() -> None:
    strays = [path for path in python_files(*PACKAGES) if not (ROOT / path.parent / "__init__.py").exists()]
    assert strays == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_is_and_is_typed(package: str) -> None:
    assert ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text()))
    assert (ROOT / package / "py.typed").exists()


def test_every_kind_of_data_file_in_a_package_is_packaged() -> None:
    patterns = project()["tool"]["setuptools"]["package-data"]["*"]
    packages = [Path(*name.split(".")[1:]) for name in project()["tool"]["setuptools"]["packages"]]
    packaged = {path.relative_to(ROOT) for folder in packages for p in patterns for path in (ROOT / folder).glob(p)}
    data = {path for path in kept_files(*PACKAGES) if path.suffix != ".py"}
    assert data - packaged == set()


def test_names_of_test_files_are_unique() -> None:
    names = Counter(path.name for path in python_files("tests") if path.name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []


def test_what_promises_are_tested_is_said_in_a_sentence() -> None:
    silent = [
        f"{path}:{node.name}"
        for path in python_files("tests/contract", "tests/delivery")
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-build.lock"])
def test_a_lock_file_names_no_host_and_every_package_has_a_hash(name: str) -> None:
    lock = (ROOT / name).read_text()
    assert "://" not in lock
    starts = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert [line for line in starts if not line.endswith("\\")] == []


def test_the_image_gets_what_the_tests_run_with_and_everything_that_it_needs() -> None:
    image, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    assert {name: dev[name] for name in image} == image
    extras = project()["project"]["optional-dependencies"]
    wanted = [*project()["project"]["dependencies"], *extras["server"], *extras["otel"]]
    assert {canonicalize_name(Requirement(text).name) for text in wanted} <= set(image)
    build = locked("requirements-build.lock")  # what the image's wheel is built with
    assert {name: dev[name] for name in build} == build
    assert {canonicalize_name(Requirement(text).name) for text in extras["build"]} <= set(build)


def locked(name: str) -> dict[str, str]:
    """Version and hashes of each package of a lock file."""
    found = re.findall(r"^([\w.-]+)==(\S+)[^\n]*\n((?: .*\n)+)", (ROOT / name).read_text(), re.MULTILINE)
    return {canonicalize_name(package): version + hashes for package, version, hashes in found}


def test_every_python_that_is_claimed_is_one_that_the_unit_tests_run_on() -> None:
    classifiers = project()["project"]["classifiers"]
    claimed = [c.rpartition(" ")[2] for c in classifiers if c.startswith("Programming Language :: Python :: 3.")]
    tested = re.search(r"^PYTHONS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert tested is not None
    assert tested[1].split() == claimed


def test_benchmarks_get_the_fastest_python_of_a_version_that_runs(tmp_path: Path) -> None:
    for name, says in (("9.9.1", "echo 300"), ("9.9.2", "echo 200"), ("9.9.3", "exit 1"), ("9.8.1", "echo 100")):
        python = tmp_path / "versions" / name / "bin" / "python3"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\n{says}\n")
        python.chmod(0o755)
    command = [ROOT / ".ci" / "fastest-python"]
    environment = os.environ | {"PYENV_ROOT": str(tmp_path)}
    found = subprocess.check_output([*command, "9.9"], env=environment, text=True)  # noqa: S603 - our own script
    assert found == f"{tmp_path}/versions/9.9.2/bin/python3\n"
    none = subprocess.run([*command, "9.7"], env=environment, check=False, capture_output=True)  # noqa: S603 - our own script
    assert none.returncode == 1
    assert not none.stdout
