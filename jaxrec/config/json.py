"""Configs as JSON and back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


def to_json(config: Any) -> str:
    """A config as indented JSON, for config.json."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def from_dict(kind: type, values: dict[str, Any]) -> Any:
    """The inverse of `dataclasses.asdict` for the classes of this file.

    Raises:
      ValueError: a field is not known; names it.
    """
    hints = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {', '.join(unknown)}; it has {', '.join(hints)}")
    built = {}
    for name, value in values.items():
        default = hints[name].default
        if dataclasses.is_dataclass(default):
            value = from_dict(type(default), value)
        elif isinstance(value, list):
            value = tuple(value)
        built[name] = value
    return kind(**built)
