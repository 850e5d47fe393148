"""Ranges of settings: each field declares its own as an annotation, which checks, help and docs read."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from typing import Annotated, Any, Literal

from jaxrec.text import quoted

INT32 = 2**31 - 1
"""Numbers on the device are of 32 bits, so no whole number may be larger."""
UNITS = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}


@dataclasses.dataclass(frozen=True)
class Limits:
    """The range of a number, as in `Annotated[int, Limits(at_least=1)]`; NaN and infinities are outside of any.

    Attributes:
      at_least, at_most: ends that belong to the range.
      above, below: ends that don't.
      why: reason for the range, where the field's name doesn't tell.
    """

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    why: str = ""

    def __str__(self) -> str:
        ends = [("at least", self.at_least), ("above", self.above), ("at most", self.at_most), ("below", self.below)]
        return " and ".join(f"{word} {_number(end)}" for word, end in ends if end is not None)

    def hold(self, value: float) -> bool:
        """Whether a finite number is in the range."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


PositiveInt = Annotated[int, Limits(at_least=1)]
NonNegativeInt = Annotated[int, Limits(at_least=0)]
Width = Annotated[int, Limits(at_least=1, at_most=65_536)]
"""Of a vector or a layer."""
Layers = Annotated[int, Limits(at_least=1, at_most=512)]
Length = Annotated[int, Limits(at_least=1, at_most=131_072, why="memory grows with its square")]
"""Of a sequence, in tokens or items."""
Seed = Annotated[int, Limits(at_least=0, at_most=2**32 - 1, why="scikit-learn takes seeds of 32 bits")]
PositiveFloat = Annotated[float, Limits(above=0, at_most=1e6)]
NonNegativeFloat = Annotated[float, Limits(at_least=0, at_most=1e6)]
Fraction = Annotated[float, Limits(at_least=0, at_most=1)]
Probability = Annotated[float, Limits(at_least=0, below=1)]
"""Of something that must not happen always: a dropout, a mask, a decay."""
LearningRate = Annotated[float, Limits(above=0, at_most=100)]
Temperature = Annotated[float, Limits(at_least=1e-3, at_most=1000)]
Epsilon = Annotated[float, Limits(above=0, at_most=1)]
"""Keeps a norm from dividing by zero."""


@functools.cache
def hints(kind: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, ranges included, by field name."""
    annotations = typing.get_type_hints(kind, include_extras=True)
    return {field.name: annotations[field.name] for field in dataclasses.fields(kind)}


def check_limits(settings: Any, path: str = "") -> None:
    """Checks type and range of every field of a dataclass, and of the dataclasses in it.

    Args:
      settings: a dataclass.
      path: its name in messages, "train" say; "" for the outermost.
    Raises:
      ValueError: a value has another type or is out of range: `train.rows is 0; it must be at least 1`.
    """
    for name, hint in hints(type(settings)).items():
        check_value(getattr(settings, name), hint, f"{path}.{name}" if path else name)


def check_value(value: Any, hint: Any, name: str) -> None:
    """Checks a value by its annotation, as `check_limits` does; annotations it doesn't know allow any value."""
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, hint):  # type: ignore[arg-type]
            raise ValueError(f"{name} is {quoted(value)}; it must be a {getattr(hint, '__name__', hint)}")
        check_limits(value, name)
        return
    bare, limits = _unwrapped(hint)
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if origin in (typing.Union, types.UnionType):
        options = [option for option in arguments if option is not type(None)]
        if value is None and len(options) < len(arguments):
            return
        if len(options) == 1:
            check_value(value, Annotated[options[0], limits] if limits else options[0], name)
    elif origin is tuple:
        if not isinstance(value, tuple):
            raise ValueError(f"{name} is {quoted(value)}; it must be a tuple")
        element_hints = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(element_hints) != len(value):
            raise ValueError(f"{name} holds {len(value)} values; it must hold {len(element_hints)}")
        for position, (element, element_hint) in enumerate(zip(value, element_hints)):
            check_value(element, element_hint, f"{name}[{position}]")
    elif origin is Literal:
        if value not in arguments:
            raise ValueError(f"{name} is {quoted(value)}; it must be one of: {', '.join(map(str, arguments))}")
    elif bare in UNITS:
        _check_plain(value, bare, limits or Limits(), name)


def allowed(hint: Any) -> str:
    """What an annotation allows, in words: "at least 1", "one of: strict, temporal", "text, or None"."""
    bare, limits = _unwrapped(hint)
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if origin in (typing.Union, types.UnionType):
        inner = [Annotated[option, limits] if limits else option for option in arguments if option is not type(None)]
        return "; or ".join([*map(allowed, inner), *(["None"] if type(None) in arguments else [])])
    if origin is tuple:
        return f"each {allowed(arguments[0])}"
    if origin is Literal:
        return f"one of: {', '.join(map(str, arguments))}"
    if limits is None or not str(limits):
        return UNITS.get(bare, getattr(bare, "__name__", str(bare)))
    return f"{UNITS[bare]}, {limits}"


def limits_of(hint: Any) -> str:
    """The range of an annotation's number in words, of a tuple's elements too; "" where it has none."""
    bare, limits = _unwrapped(hint)
    if limits is None and typing.get_origin(bare) is tuple:
        limits = _unwrapped(typing.get_args(bare)[0])[1]
    return str(limits or "")


def _check_plain(value: Any, kind: type, limits: Limits, name: str) -> None:
    fits = isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not fits:
        raise ValueError(f"{name} is {quoted(value)}; it must be {UNITS[kind]}{', ' * bool(str(limits))}{limits}")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{name} is {value}; it must be a finite number{', ' * bool(str(limits))}{limits}")
    if not limits.hold(value):
        why = f" ({limits.why})" if limits.why else ""
        raise ValueError(f"{name} is {value}; it must be {limits}{why}")
    if kind is int and not -INT32 <= value <= INT32 and limits.at_most is None:
        raise ValueError(f"{name} is {value}; it must be at most {INT32:,}")


def _unwrapped(hint: Any) -> tuple[Any, Limits | None]:
    """An annotation without its extras, and the `Limits` among them."""
    if typing.get_origin(hint) is not Annotated:
        return hint, None
    bare, *extras = typing.get_args(hint)
    return bare, next((extra for extra in extras if isinstance(extra, Limits)), None)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else f"{value:g}"
