"""The documents as a site: it builds without a warning, and no page needs another server."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from tests.support.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# What a browser loads by itself, and what a reader may follow.
_LOADED = re.compile(r'<(?:script|img|iframe)\b[^>]*\bsrc="?([^"\s>]+)|<link\b[^>]*\bhref="?([^"\s>]+)[^>]*>')
_FOLLOWED = re.compile(r'<a\b[^>]*\bhref="([^"]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  # mkdocs, and no shell
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_no_page_loads_anything_of_another_server(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    loaded = {(page.name, script or style) for page in pages for script, style in _LOADED.findall(page.read_text())}
    assert {url for _, url in loaded if re.match(r"(https?:)?//", url)} == set()


def test_every_link_within_the_site_leads_to_a_file_and_a_heading(site: Path) -> None:
    broken = []
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # its links begin at the root of a server
            continue
        for link in set(_FOLLOWED.findall(page.read_text())):
            if re.match(r"[a-z]+:", link) or link == ".":
                continue
            name, _, anchor = unquote(link).partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.is_file() or (anchor and f'id="{anchor}"' not in target.read_text()):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_diagrams_are_pictures_and_no_code(site: Path) -> None:
    pages = [(site / name).read_text() for name in ("index.html", "concepts.html")]
    assert [page.count("images/diagrams/") for page in pages] == [1, 1]
    assert [page for page in site.rglob("*.html") if "flowchart" in page.read_text()] == []
