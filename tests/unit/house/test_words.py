"""Documents use the words of docs/glossary.md: an older word for the same thing does not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.repository import ROOT, kept_files

# Each stood for something that the glossary has one word for. What a code or a name still says stands in backticks.
OLDER = (
    "wish", "wishes", "wished", "errand", "crew", "buried", "bury", "burying", "stranger", "strangers", "nobody",
    "somebody", "sick", "rooms", "slot", "slots", "suspects", "convicts", "main lane", "is away",
)  # fmt: skip
_OLDER = re.compile(rf"\b(?:{'|'.join(OLDER)})\b", re.IGNORECASE)
_CODE = re.compile(r"^```.*?^```$|`[^`]+`", re.MULTILINE | re.DOTALL)
# What was released under an older word is not renamed afterwards.
DOCUMENTS = [path for path in kept_files() if path.suffix == ".md" and path != Path("CHANGELOG.md")]


def older_words(text: str) -> list[str]:
    """Return the words of the list that a document uses outside of code."""
    return _OLDER.findall(_CODE.sub("", text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_a_document_uses_the_words_of_the_glossary(document: Path) -> None:
    assert older_words((ROOT / document).read_text()) == []


def test_an_older_word_is_found_and_a_name_of_the_code_is_not() -> None:
    assert older_words("Nobody waits for `slot` or\n```\nbury\n```\na main lane.") == ["Nobody", "main lane"]
