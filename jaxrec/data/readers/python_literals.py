"""Lines that are Python dictionaries rather than JSON, as in Amazon's metadata of 2014."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable
from typing import Any

_TOKENS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[\[\](){}]""")


def is_literal(text: str) -> bool:
    """Whether a line begins as a Python dictionary does and as no JSON object may."""
    return text.startswith("{'")


def parse_literal(text: str, make: Callable[[list[tuple[str, Any]]], dict[str, Any]], deepest: int) -> dict[str, Any]:
    """The dictionary that a line is; its values are what JSON has: texts, numbers, truths, None, lists, dictionaries.

    Nothing is evaluated: the line is parsed and its parts are looked at one by one.

    Args:
      text: the line.
      make: a dictionary from its pairs, of which two may have one key.
      deepest: levels of brackets that are allowed.
    Raises:
      ValueError: the line is something else.
      RecursionError: it is nested too deeply.
    """
    depth = 0
    for token in _TOKENS.findall(text):
        depth += (token in "[({") - (token in "])}")
        if depth > deepest:
            raise RecursionError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of escapes in texts that Python does not know
            tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deeply"
        raise ValueError(f"and no Python literal: {reason}") from error
    return _value(tree.body, make)


def _value(node: ast.expr, make: Callable[[list[tuple[str, Any]]], dict[str, Any]]) -> Any:
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=elements):
            return [_value(element, make) for element in elements]
        case ast.Dict(keys=keys, values=values):
            pairs = []
            for key, value in zip(keys, values, strict=True):
                if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                    raise ValueError("a key is no text")
                pairs.append((key.value, _value(value, make)))
            return make(pairs)
        case _:
            raise ValueError(f"a {type(node).__name__} is neither a text, a number, a list nor a dictionary")
