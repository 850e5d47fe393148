"""Quotes input in messages: shortened, on one line, with no character that could change how the rest is shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

SHOWN = 80
"""Characters of an input that a message repeats."""
LISTED = 10
"""Names that a message lists."""


def quoted(value: object, shown: int = SHOWN) -> str:
    """The value in quotes, as a Python literal would show it, cut at `shown` characters.

    Control, bidirectional and invisible characters and lone surrogates are escaped, so that a name can't end the
    line, colour a terminal or turn the direction of what follows.
    """
    text = str(value)
    cut = repr(text[:shown])
    body = "".join(map(_visible, cut))
    return body if len(text) <= shown else f"{body} ... ({len(text):,} characters)"


def printable(text: str) -> str:
    """A whole text for a terminal: what can't be seen is escaped, nothing is cut and no quotes are added."""
    return "".join(character if character == "\n" else _visible(character) for character in text)


def listed(values: Iterable[object], shown: int = LISTED) -> str:
    """The first values, quoted and separated by commas, and how many more there are."""
    values = list(values)
    more = f" and {len(values) - shown:,} more" if len(values) > shown else ""
    return ", ".join(map(quoted, values[:shown])) + more


def _visible(character: str) -> str:
    if character.isprintable() and unicodedata.category(character) not in ("Cf", "Zl", "Zp", "Cs", "Cc"):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
