"""Plant a bug in a copy of the packages, and run the tests that have to find it there. The checkout stays as it is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import cache_from_source
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tests.mutants.plan import PlantedBug, edited
from tests.support.repository import PACKAGES, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

# Limits of processor time for the tests of one bug. Without a bug they pass, so what does not end is the bug. By the
# clock they have so many times as long: a machine that is busy is no bug.
_UNIT_S, _REAL_S = 60, 300
_BUSY = 3
_FAILED = 1  # pytest's exit code where tests ran and one failed; 2 and above: they did not run
_LAST_LINES = 12


class Verdict(StrEnum):
    """What became of a planted bug."""

    FOUND = "found"
    UNNOTICED = "unnoticed"
    OUT_OF_TIME = "out of time"  # a test hangs with it: found, too
    BROKEN = "did not run"  # the tests could not be collected, or pytest ended by an error of its own

    @property
    def is_found(self) -> bool:
        """Whether a test noticed the bug: it failed, or it did not end."""
        return self in {Verdict.FOUND, Verdict.OUT_OF_TIME}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How the tests of one bug ended."""

    verdict: Verdict
    took_s: float
    output: str  # the end of what pytest printed


class Copy:
    """A copy of the packages in a folder of its own, which comes before the checkout on the path of its tests."""

    def __init__(self, folder: Path) -> None:
        """Copy them; `folder` is made. Close it, or its process stays."""
        self._folder = folder
        for package in PACKAGES:
            shutil.copytree(ROOT / package, self._home / package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        self._forking_process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.forked_pytest"],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
                "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def _home(self) -> Path:
        return self._folder / "hookstream"

    def close(self) -> None:
        """End its process."""
        self._forking_process.kill()
        self._forking_process.communicate()

    def run(self, bug: PlantedBug) -> Ran:
        """Plant the bug, run its tests until the first fails, and take the bug out again."""
        planted = self._home / bug.file
        shipped = planted.read_text()
        try:
            self._write(planted, edited(bug))
            chosen = ["-k", "not postgresql"] if bug.on_sqlite else []
            limit_s = _REAL_S if bug.needs_real_parts else _UNIT_S
            return self.pytest(["-x", *chosen, *bug.finds], limit_s)
        finally:
            self._write(planted, shipped)

    def pytest(self, arguments: Sequence[str], limit_s: float) -> Ran:
        """Run tests on the copy; without a bug they should all pass."""
        output = self._folder / "output"
        request = {
            "arguments": [
                *(
                    "-q",
                    "-p",
                    "no:cacheprovider",
                    f"--confcutdir={ROOT / 'tests'}",
                    "--hypothesis-seed=1",
                    "--tb=short",
                ),
                # The process that forks has imported what pytest's plugins would have rewritten.
                *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
                *(f"--basetemp={self._folder / 'tests'}", *arguments),
            ],
            "output": str(output),
            "processor_s": round(limit_s),
        }
        began = time.monotonic()
        asked, answers = _pipes(self._forking_process)
        asked.write(json.dumps(request) + "\n")
        asked.flush()
        session = int(answers.readline())
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _end(session)

        watch = threading.Timer(_BUSY * limit_s, give_up)
        watch.start()
        code = int(answers.readline())
        watch.cancel()
        _end(session)
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            late.set()
        verdict = {0: Verdict.UNNOTICED, _FAILED: Verdict.FOUND}.get(code, Verdict.BROKEN)
        lines = output.read_text(errors="replace").splitlines()[-_LAST_LINES:] if output.exists() else []
        return Ran(
            verdict=Verdict.OUT_OF_TIME if late.is_set() else verdict,
            took_s=round(time.monotonic() - began, 1),
            output="\n".join(lines),
        )

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text)
        # Python compares whole seconds and lengths: an edit of the same second and length would not be seen.
        Path(cache_from_source(str(path))).unlink(missing_ok=True)


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def _end(session: int) -> None:
    """End a process and whatever of its session is left."""
    with suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)
