"""Lets the site read this project's docstrings, whose sections follow each other and whose brackets are no links."""

import re
from typing import Any

import griffe

SECTION = re.compile(r"(?<=\n)(?<!\n\n)(?=(Args|Attributes|Returns|Raises|Yields):\n)")
CODE = re.compile(r"(`[^`]*`|(?<=\n\n) {4}.*(?:\n {4}.*)*)")
TAG = re.compile(r"<(?=[A-Za-z/])")
BRACKET = re.compile(r"\[(?![^\]\n]*\]\()")


class PlainBrackets(griffe.Extension):
    """Puts a blank line before each section, as griffe's parser asks, and keeps `<z, q>` and `f32[B,F]` as they are."""

    def on_object(self, *, obj: griffe.Object, **arguments: Any) -> None:
        """Called by griffe for every module, class, function and attribute that it reads."""
        if obj.docstring is not None:
            text = SECTION.sub("\n", obj.docstring.value)
            pieces = CODE.split(text)  # at odd places stands code
            pieces[::2] = [BRACKET.sub("&#91;", TAG.sub("&lt;", piece)) for piece in pieces[::2]]
            obj.docstring.value = "".join(pieces)
