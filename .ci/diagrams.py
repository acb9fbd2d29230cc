"""`make diagrams`: pictures of the documents' Mermaid diagrams, which a page without scripts and a network can show.

Mermaid comes from npm, and Chromium draws. `make docs` puts the pictures into the site; a diagram that has none, since
it was changed, fails there.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from docs_site import DIAGRAM, PICTURES, picture_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for the browser of the tests
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "docs/**/*.md")
MERMAID = "mermaid@11.17.2"
# Text of SVG and not of HTML: a browser shows no HTML in a picture.
OPTIONS = """{startOnLoad: false, theme: "neutral", fontFamily: "system-ui, sans-serif", htmlLabels: false,
  flowchart: {htmlLabels: false, useMaxWidth: false}}"""


def main() -> None:
    """Draw those that have no picture, and remove pictures of none."""
    texts = [path.read_text() for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]
    diagrams = {picture_of(found): found for text in texts for found in DIAGRAM.findall(text)}
    PICTURES.mkdir(parents=True, exist_ok=True)
    for path in PICTURES.glob("*.svg"):
        if path not in diagrams:
            path.unlink()
    missing = {path: diagram for path, diagram in diagrams.items() if not path.exists()}
    if missing:
        draw(missing)


def draw(diagrams: dict[Path, str]) -> None:
    """Write a picture of each."""
    from tests.support.chromium import MISSING, chromium, running_chromium  # noqa: PLC0415 - where it is needed

    program = chromium()
    if program is None:
        raise SystemExit(MISSING)
    with tempfile.TemporaryDirectory() as folder, running_chromium(program) as browser:
        page = browser.new_page()
        page.add_script_tag(content=mermaid(Path(folder)))
        page.evaluate(f"mermaid.initialize({OPTIONS})")
        for path, diagram in diagrams.items():
            svg: str = page.evaluate("async text => (await mermaid.render('diagram', text)).svg", diagram)
            # Dark lines need a light ground, also where the page is dark.
            path.write_text(svg.replace("<svg ", '<svg style="background: white" ', 1) + "\n")
            print(f"drawn: {path.relative_to(ROOT)}")


def mermaid(folder: Path) -> str:
    """Mermaid, as npm has it."""
    done = subprocess.run(  # noqa: S603  # no shell, and nothing that others wrote
        ["npm", "pack", "--silent", MERMAID],  # noqa: S607  # wherever it is installed
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    with tarfile.open(folder / done.stdout.split()[-1]) as tar:
        file = tar.extractfile("package/dist/mermaid.min.js")
        return file.read().decode() if file else ""


if __name__ == "__main__":
    main()
