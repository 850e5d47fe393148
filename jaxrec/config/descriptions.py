"""What each setting is for and what it allows, read from a dataclass's docstrings and annotations."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from jaxrec.config.limits import allowed, hints


@dataclasses.dataclass(frozen=True)
class Setting:
    """A field of a settings dataclass.

    Attributes:
      name: of the field.
      default: its value in the described object.
      allowed: types and range in words.
      text: its docstring; "" without one.
    """

    name: str
    default: Any
    allowed: str
    text: str


def sections(settings: Any, path: str = "") -> Iterator[tuple[str, str, list[Setting]]]:
    """For a dataclass and those in it: path ("model.t5"), the class's docstring, and its settings."""
    own, inner = [], []
    texts = docstrings(type(settings))
    for name, hint in hints(type(settings)).items():
        value = getattr(settings, name)
        if dataclasses.is_dataclass(value):
            inner.append((f"{path}.{name}" if path else name, value))
        else:
            own.append(Setting(name, value, allowed(hint), texts.get(name, "")))
    yield path, inspect.getdoc(type(settings)) or "", own
    for inner_path, value in inner:
        yield from sections(value, inner_path)


@functools.cache
def docstrings(kind: type) -> dict[str, str]:
    """The docstrings below the fields of a class and the classes it inherits from, by field name, as one line."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):  # made by a function, such as `Settings` of the baselines
            continue
        definition = ast.parse(source).body[0]
        assert isinstance(definition, ast.ClassDef)
        for field, below in zip(definition.body, definition.body[1:]):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(below, ast.Expr) and isinstance(text := getattr(below.value, "value", None), str):
                texts[field.target.id] = " ".join(text.split())
    return texts
