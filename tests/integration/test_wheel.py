"""The wheel is what others install: it holds the packages, whole, and nothing else. It is built of the sdist."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.processes import clean_environment
from tests.support.repository import PACKAGES, ROOT, kept_files, project

if TYPE_CHECKING:
    from collections.abc import Iterable

SOURCES = (*PACKAGES, "pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist of what git keeps, and the wheel of it, without a network or an earlier build's leftovers."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for path in kept_files(*SOURCES):
        target = source / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target)
    run("-m", "build", "--no-isolation", "--outdir", folder, source)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh environment that borrows our dependencies, but not our editable install."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run("-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    site = next(folder.glob("lib/python*/site-packages"))
    # A path in a .pth file is searched, its own .pth files, such as an editable install's, are not followed.
    (site / "borrowed.pth").write_text(f"{sysconfig_purelib()}\n")
    return python


def run(*args: str | Path, python: Path = Path(sys.executable)) -> str:
    """Run Python and return what it printed."""
    done = subprocess.run(  # noqa: S603  # our own program, and no shell
        [python, *args], capture_output=True, text=True, check=False, cwd="/", env=clean_environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sysconfig_purelib() -> str:
    """Where our own dependencies are."""
    import sysconfig  # noqa: PLC0415

    return sysconfig.get_path("purelib")


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {f"hookstream/{path}" for path in kept_files(*PACKAGES)}


def test_the_sdist_holds_every_file_that_a_build_needs(wheel: Path) -> None:
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {str(path) for path in kept_files(*SOURCES)} <= names


def test_every_package_imports_from_the_installed_wheel(installed: Path) -> None:
    code = f"""
import importlib
for package in {PACKAGES!r}:
    print(importlib.import_module(f"hookstream.{{package}}").__file__)
"""
    files = run("-c", code, python=installed).split()
    assert len(files) == len(PACKAGES)
    assert all(Path(file).is_relative_to(installed.parents[1]) for file in files)


def test_the_schemas_are_read_from_the_installed_wheel(installed: Path) -> None:
    code = "import importlib.resources as r; print(*(f.name for f in r.files('hookstream.schemas.avro').iterdir()))"
    here = {path.name for path in kept_files("schemas/avro") if path.parent == Path("schemas/avro")}
    assert here <= set(run("-c", code, python=installed).split())


def test_the_command_is_installed(installed: Path) -> None:
    assert "Usage" in run(installed.with_name("hookstream"), "--help", python=installed)


def test_the_command_says_what_to_install_where_the_server_s_parts_are_not(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run("-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    done = subprocess.run(  # noqa: S603  # our own program, and no shell
        [python.with_name("hookstream"), "--help"], capture_output=True, text=True, check=False, env=clean_environment()
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "hookstream: the command needs `pip install 'hookstream[server]'`; there is no module typer\n"
    )


def test_a_producing_service_needs_nothing_of_the_server(installed: Path) -> None:
    modules = [
        f"hookstream.{'.'.join(path.with_suffix('').parts)}".removesuffix(".__init__")
        for path in kept_files("producers", "schemas")
        if path.suffix == ".py" and path.name != "pytest_plugin.py"  # pytest alone imports it
    ]
    code = f"""
import importlib, sys
for name in {sorted(server_only_modules())!r}:
    sys.modules[name] = None
for name in {modules!r}:
    importlib.import_module(name)
"""
    run("-c", code, python=installed)


def server_only_modules() -> set[str]:
    """Top-level modules that the extra `server` installs and the base does not, directly or indirectly."""
    base = closure(project()["project"]["dependencies"])
    server = closure(project()["project"]["optional-dependencies"]["server"])
    providers = importlib.metadata.packages_distributions()
    modules = {
        module
        for module, names in providers.items()
        if {canonicalize_name(name) for name in names} <= server - base and re.fullmatch(r"[a-z]\w*", module)
    }
    assert {"fastapi", "typer", "uvicorn"} <= modules
    return modules


def closure(requirements: Iterable[str]) -> set[str]:
    """Every distribution that these requirements bring, of those installed here."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        wanted, _ = waiting.pop()
        for extra in ("", *wanted.extras):
            key = (canonicalize_name(wanted.name), extra)
            if key in found:
                continue
            try:
                needs = importlib.metadata.requires(wanted.name) or []
            except importlib.metadata.PackageNotFoundError:
                continue
            found.add(key)
            asked = [Requirement(text) for text in needs]
            waiting += [(need, extra) for need in asked if not need.marker or need.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}
