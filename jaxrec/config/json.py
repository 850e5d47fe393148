"""Configs to JSON and back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


def to_json(config: Any) -> str:
    """A config dataclass as indented JSON, as config.json stores it."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def from_dict(kind: type, values: dict[str, Any]) -> Any:
    """The inverse of `dataclasses.asdict` for config dataclasses; lists become tuples.

    Args:
      kind: the dataclass to build.
      values: its fields; those left out keep their defaults.
    Raises:
      ValueError: `values` holds a field that `kind` does not have; the message names it and lists the fields.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {', '.join(unknown)}; it has {', '.join(fields)}")
    arguments = {}
    for name, value in values.items():
        default = fields[name].default
        if dataclasses.is_dataclass(default):
            value = from_dict(type(default), value)
        elif isinstance(value, list):
            value = tuple(value)
        arguments[name] = value
    return kind(**arguments)
