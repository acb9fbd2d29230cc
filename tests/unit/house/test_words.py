"""Code and documents use the words of docs/glossary.md: an older word (words.toml) does not come back.

Names are looked at part by part: `WishReader`, `wish_reader` and "a wish" hold the same word.
"""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path, PurePath

from tests.support.repository import ROOT, kept_files

LIST = Path(__file__).with_name("words.toml")
RULES = tomllib.loads(LIST.read_text())
OLDER = {word: rule["say"] for rule in RULES["older"] for word in rule["words"]}
# After this word it is the field's own: "dead letter".
FINE_AFTER = {word: rule["after"] for rule in RULES["older"] if "after" in rule for word in rule["words"]}
ALLOWED = RULES["allowed"]
# What was released under an older word is not renamed afterwards; this test names the words that it looks for.
_NOT_READ = {Path("CHANGELOG.md"), LIST.relative_to(ROOT), Path(__file__).relative_to(ROOT)}
_CODE_IN_DOCUMENTS = re.compile(r"^```.*?^```$|`[^`]+`", re.MULTILINE | re.DOTALL)
_LANGUAGE = re.compile(r"__slots__|\bslots=True|\bdied_at_ms\b")  # Python's own; a field of records that are stored
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[a-z]+")


def older_words(text: str) -> set[str]:
    """Return the words of the list that stand in a text, or in names in it."""
    found = _WORD.findall(_CAMEL.sub(" ", _LANGUAGE.sub("", text)).lower())
    known = {word for before, word in pairwise(["", *found]) if before != FINE_AFTER.get(word)}
    row = f" {' '.join(found)} "
    return {word for word in OLDER if word in known or (" " in word and f" {word} " in row)}


def words_of(path: Path) -> set[str]:
    """Return those of a file; none of one that holds no text."""
    try:
        text = (ROOT / path).read_text()
    except UnicodeDecodeError:
        return set()
    return older_words(_CODE_IN_DOCUMENTS.sub("", text) if path.suffix == ".md" else text)


def judged() -> tuple[list[str], list[str]]:
    """Return what stands where it is not allowed, and what is allowed where it does not stand."""
    unused = {(entry["in"], word) for entry in ALLOWED for word in entry["words"]}
    wrong = []
    for path in kept_files():
        if path in _NOT_READ or path.suffix == ".lock":
            continue
        for word in sorted(words_of(path)):
            allowing = {(e["in"], word) for e in ALLOWED if word in e["words"] and PurePath(path).match(e["in"])}
            unused -= allowing
            if not allowing:
                wrong.append(f"{path}: {word} (say: {OLDER[word]})")
    return wrong, [f"{where}: {word}" for where, word in sorted(unused)]


def test_older_words_stand_nowhere_but_where_a_reason_is_given() -> None:
    wrong, unused = judged()
    assert wrong == []
    assert unused == [], "these need no permission any more"


def test_every_permission_has_a_reason() -> None:
    assert all(entry["reason"] for entry in ALLOWED)


def test_an_older_word_is_found_in_prose_and_in_parts_of_names() -> None:
    text = "@dataclass(slots=True)\nclass WishReader:\n    def bury_it(self): ...  # the main\n    # lane, and a Slot's"
    assert older_words(text) == {"wish", "bury", "main lane", "slot"}
    assert older_words("__slots__ = ('a',)  # swishes, blinds; narrowing") == set()
    assert older_words("class DeadLetters:  # dead-letter one; all dead\n    # letters") == set()
    assert older_words("a_letter, LetterPage") == {"letter"}
