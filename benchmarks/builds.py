"""The builds of hookstream that benchmarks run: the checkout's own Python, and what `make compiled` has unpacked."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
_UNPACKED = ROOT / "build" / "compiled"
_PACKAGES = ("schemas", "producers", "subscriptions", "processors")


@dataclass(frozen=True, slots=True)
class Build:
    """One of them; `environment` makes a process run it."""

    name: str
    environment: Mapping[str, str]


PURE = Build("pure Python", {"PYTHONPATH": ""})


def compiled() -> Build | None:
    """The compiled one; None where `make compiled` has not made it."""
    return Build("compiled", {"PYTHONPATH": str(_UNPACKED)}) if (_UNPACKED / ".built").exists() else None


def builds() -> list[Build]:
    """Those there are."""
    other = compiled()
    return [PURE] if other is None else [PURE, other]


def printed(build: Build, module: str, *options: str) -> str:
    """What a module prints when a process of this build runs it."""
    command = [sys.executable, "-m", module, *options]
    environment = {**os.environ, **build.environment}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603 - our own module


def remarks() -> list[str]:
    """What a reader of the figures has to know: that there is no compiled build, or that it is not of these sources."""
    built = _UNPACKED / ".built"
    if not built.exists():
        return ["no compiled build: `make compiled` makes one"]
    made = built.stat().st_mtime
    newer = any(path.stat().st_mtime > made for package in _PACKAGES for path in (ROOT / package).rglob("*.py"))
    return ["the compiled build is older than the sources: `make compiled` makes it anew"] if newer else []
