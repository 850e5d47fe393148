"""The axes of a sweep: values or ranges of config fields, parsed from text by the fields' types."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jaxrec.config import Config

FIXED = ("name", "out", "seed", "protocol", "eval.mask_seen", "train.validate_users")
"""Fields that, like all of data, change the evaluation or the output folder, so results would not be comparable."""


@dataclasses.dataclass(frozen=True)
class Choices:
    """Values of a field, by their text."""

    field: str
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Range:
    """A range of a field, ends included; `log`: uniform on a log scale; `whole`: integers."""

    field: str
    low: float
    high: float
    log: bool
    whole: bool

    def value(self, value: float) -> float | int:
        """A drawn number as an integer, or rounded to three digits."""
        return int(value) if self.whole else float(f"{value:.3g}")


def read_axes(grid: Sequence[str], config: Config) -> list[Choices | Range]:
    """Reads fields and their values or ranges.

    Args:
      grid: "train.learning_rate=1e-3,1e-2" gives values, "train.learning_rate=log:1e-4..1e-1" and
        "ids.clusters=20..200" give ranges; numbers of a tuple are joined by "+": "quantizer.hidden=64+64,128".
      config: whose fields they are.
    Raises:
      ValueError: a field is unknown, can't be swept or is repeated, or a value is not of its type.
    """
    if not grid:
        raise ValueError("the grid is empty; give --grid train.learning_rate=1e-3,1e-2, say")
    axes = [_axis(text, config) for text in grid]
    fields = [axis.field for axis in axes]
    if len(set(fields)) < len(fields):
        raise ValueError(f"--grid names a field twice: {', '.join(fields)}; give all values of one together")
    return axes


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The config with other values of some fields, by their dotted names."""
    for field, value in values.items():
        config = _with(config, field.split("."), value)
    return config


def _with(part: Any, path: Sequence[str], value: Any) -> Any:
    return dataclasses.replace(
        part, **{path[0]: value if len(path) == 1 else _with(getattr(part, path[0]), path[1:], value)}
    )


def _axis(text: str, config: Config) -> Choices | Range:
    field, equals, values = text.partition("=")
    if not equals or not values:
        raise ValueError(f"{text!r} names no values; give {field or 'train.learning_rate'}=VALUE,VALUE")
    hint = _field_type(field, config)
    if span := re.fullmatch(r"(log:)?([^:,]+?)\.\.([^:,]+)", values):
        if hint not in (int, float):
            raise ValueError(
                f"{text!r}: ranges are of numbers, {field} is {_type_name(hint)}; give values: {field}=A,B"
            )
        low, high = _parse_number(span[2], hint, field), _parse_number(span[3], hint, field)
        if low >= high or (span[1] and low <= 0):
            raise ValueError(f"{text!r} holds no number; a range goes upwards, and one by log: from above 0")
        return Range(field, low, high, bool(span[1]), hint is int)
    return Choices(field, {value: _parse_value(value, hint, field) for value in values.split(",")})


def _field_type(field: str, config: Config) -> Any:
    """A field's type."""
    part, hint = config, Any
    names = field.split(".")
    for depth, name in enumerate(names):
        hints = typing.get_type_hints(type(part)) if dataclasses.is_dataclass(part) else {}
        if name not in hints:
            has = f"; it has {', '.join(hints)}" if hints else ""
            raise ValueError(f"--grid: {'.'.join(names[:depth]) or 'the config'} has no field {name!r}{has}")
        part, hint = getattr(part, name), hints[name]
    if dataclasses.is_dataclass(hint):
        examples = ", ".join(f"{field}.{name.name}" for name in dataclasses.fields(hint)[:3])
        raise ValueError(f"--grid: {field} holds fields, not a value; name one of them: {examples}, ...")
    if field in FIXED or names[0] == "data":
        raise ValueError(f"--grid: {field} changes what is measured or where it goes; give each its own sweep")
    return hint


def _parse_value(text: str, hint: Any, field: str) -> Any:
    """A value of the type `hint`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if text.lower() == "none" and type(None) in inner:
            return None
        return _parse_value(text, next(kind for kind in inner if kind is not type(None)), field)
    if origin is Literal:
        choices = {str(value): value for value in inner}
        if text not in choices:
            raise ValueError(f"--grid: {field}={text!r} is none of {', '.join(choices)}")
        return choices[text]
    if origin is tuple:
        return tuple(_parse_value(part, inner[0], field) for part in text.split("+"))
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"--grid: {field}={text!r} is neither True nor False")
        return text.lower() == "true"
    return _parse_number(text, hint, field) if hint in (int, float) else text


def _parse_number(text: str, hint: Any, field: str) -> Any:
    try:
        value = hint(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"--grid: {field}={text!r} is not {_type_name(hint)}")
    return value


def _type_name(hint: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "True or False"}.get(hint, "no number")
