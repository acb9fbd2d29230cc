"""What mkdocs needs beside docs/: README and ARCHITECTURE as pages, a list of decisions, links within the site."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Pages of the site that stand elsewhere in the repository.
OUTSIDE = {"README.md": "index.md", "ARCHITECTURE.md": "architecture.md"}
PICTURES = DOCS / "images" / "diagrams"
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r"^\s*accTitle: (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:  # noqa: ANN401  # mkdocs' own types
    """Add the pages that are not below docs/."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=linked((ROOT / source).read_text(), ROOT, page)))
    decisions = [f"- [{_title(path)}](adr/{path.name})\n" for path in sorted((DOCS / "adr").glob("*.md"))]
    files.append(File.generated(config, "decisions.md", content=f"# Decisions\n\n{''.join(decisions)}"))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:  # noqa: ANN401, ARG001  # as mkdocs calls it
    """Lead the links of a document to the site's pages; a file of the repository is named, without a link."""
    source = page.file.src_uri
    return markdown if source in OUTSIDE.values() else linked(markdown, (DOCS / source).parent, source)


def linked(markdown: str, folder: Path, page: str) -> str:
    """The document with its links as the site has them."""

    def lead(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if not target or ":" in target:
            return match[0]
        path = (folder / target).resolve()
        name = path.relative_to(ROOT).as_posix()
        if name == "docs/adr":
            place = "decisions.md"
        elif name in OUTSIDE:
            place = OUTSIDE[name]
        elif path.is_relative_to(DOCS) and path.is_file():
            place = path.relative_to(DOCS).as_posix()
        else:
            return text if text.startswith("`") else f"`{name}`"
        return f"[{text}]({'../' * page.count('/')}{place}{anchor})"

    return DIAGRAM.sub(lambda found: _shown(found[1], page), _LINK.sub(lead, markdown))


def picture_of(diagram: str) -> Path:
    """Where the picture of a diagram is; another diagram has another."""
    return PICTURES / f"{hashlib.sha256(diagram.encode()).hexdigest()[:16]}.svg"


def _shown(diagram: str, page: str) -> str:
    """The picture of a diagram instead of its text, which is drawn by nothing on the site."""
    picture, title = picture_of(diagram), _TITLE.search(diagram)
    if not picture.exists() or title is None:
        message = f"{page}: a diagram has no picture, or no line `accTitle: …`: write one, and run `make diagrams`"
        raise PluginError(message)
    return f"![{title[1]}]({'../' * page.count('/')}{picture.relative_to(DOCS).as_posix()})"


def _title(path: Path) -> str:
    return path.read_text().partition("\n")[0].removeprefix("# ")
