"""Planted copies of the engine that are compiled with mypyc, as the shipped one is."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.engine_mutants import edited, load, write_copy
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine_model import Kit
    from tests.support.engine_mutants import Mutant

# Unoptimised, as it is compiled for a few worlds only.
_SETUP = """
import sys
from mypyc.build import mypycify
from setuptools import setup
package, *modules = sys.argv.pop(1).split(",")
options = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
options += ["--namespace-packages", "--explicit-package-bases"]
setup(name=package, packages=[package], ext_modules=mypycify(
    [*options, *(f"{package}/{module}.py" for module in modules)], opt_level="0", group_name=package))
"""


def plant_compiled(mutant: Mutant, name: str, folder: Path) -> Kit:
    """Copy the engine with the bug in it, compile the copy, and load it beside the shipped one."""
    package = write_copy(mutant, name, folder)
    (folder / "setup.py").write_text(_SETUP)
    engine_modules = sorted(
        module for module in edited(mutant, name) if (ROOT / f"processors/delivery/engine/{module}.py").exists()
    )
    done = subprocess.run(  # noqa: S603  # our own program, and no shell
        [sys.executable, "setup.py", ",".join([package, *engine_modules]), "--quiet", "build_ext", "--inplace"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": f"{folder}:{ROOT / 'build' / 'types'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))  # where the part that all modules share lies
    try:
        return load(package, folder / package)
    finally:
        sys.path.remove(str(folder))
