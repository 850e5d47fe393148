"""Help of each option, with the range that its field declares."""

from __future__ import annotations

import dataclasses
from typing import Any

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from jaxrec.config.descriptions import docstrings
from jaxrec.config.limits import hints, limits_of

REGISTRY = ConstructorRegistry()
"""Makes tyro show ranges: `--train.rows INT  Packed rows in a global batch. At least 1 and at most 65,536.`"""


@REGISTRY.struct_rule
def _with_ranges(info: StructTypeInfo) -> StructConstructorSpec | None:
    """The fields of a dataclass as tyro would read them, their help with the range added."""
    if not dataclasses.is_dataclass(info.type) or not any(limits_of(hint) for hint in hints(info.type).values()):
        return None
    texts, annotations = docstrings(info.type), hints(info.type)
    fields = []
    for field in dataclasses.fields(info.type):
        limits = limits_of(annotations[field.name])
        help_text = texts.get(field.name, "")
        if limits:
            help_text = f"{help_text} {limits[:1].upper()}{limits[1:]}.".strip()
        fields.append(StructFieldSpec(field.name, annotations[field.name], _default(info, field), help_text or None))
    return StructConstructorSpec(info.type, tuple(fields))


def _default(info: StructTypeInfo, field: dataclasses.Field) -> Any:
    if isinstance(info.default, info.type):
        return getattr(info.default, field.name)
    if field.default is not dataclasses.MISSING:
        return field.default
    return tyro.MISSING if field.default_factory is dataclasses.MISSING else field.default_factory()
