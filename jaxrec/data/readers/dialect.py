"""How the lines of a text table are cut into fields."""

from __future__ import annotations

import dataclasses

BLANKS = " "
"""The separator that stands for any run of spaces and tabs."""


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How lines are cut into fields.

    Attributes:
      separator: one character, several, or BLANKS.
      is_quoted: whether "..." may hold separators and line ends; only of a separator of one character.
      has_comments: whether lines before the first record that begin with # are passed over.
    """

    separator: str
    is_quoted: bool = False
    has_comments: bool = False
