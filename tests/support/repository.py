"""The repository as tests of its own shape see it: what git would keep, and where the packages are."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "producers", "subscriptions", "processors")


def kept_files(*under: str) -> list[Path]:
    """Every existing file that git tracks or would add, relative to the root."""
    listed = subprocess.run(  # noqa: S603  # our own program, and no shell
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *under],  # noqa: S607  # found by the path of who runs the tests
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = sorted({Path(name) for name in listed.stdout.split("\0") if name})
    return [path for path in paths if (ROOT / path).is_file()]


def python_files(*under: str) -> list[Path]:
    """The Python files among them."""
    return [path for path in kept_files(*under) if path.suffix == ".py"]


def project() -> dict[str, Any]:
    """`pyproject.toml`, parsed."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())
