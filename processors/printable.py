"""Text from outside, made fit for a terminal. Pure.

What endpoints answer, integrators register and systems complain with may hold control characters. A terminal would
obey them: set its title, clear itself, overwrite the line above, or show text in another order than it has.
"""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    r"""The same text with every character that is not printable shown as an escape, such as `\x1b`; `keep` stays.

    Not printable are control, format and unassigned characters, surrogates, and separators but the space.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
