"""The browser of the tests: Chromium as this machine has it, driven by Playwright; none is fetched."""

from __future__ import annotations

import functools
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no Chromium on this machine: `make packages` installs Debian's package where it is run as root"


@functools.cache
def chromium() -> Path | None:
    """Where it is; None: nowhere."""
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def running_chromium(program: Path) -> Iterator[Browser]:
    """Start it without a window, and end it.

    The tests' receivers are on loopback, and the sandbox cannot be had by root.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()
