"""Builds `Attributes` from the values of each item."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.types import Attributes


def attributes_of(fields: Mapping[str, Sequence[Sequence[str]]]) -> Attributes:
    """Numbers the values of each field by their names.

    Args:
      fields: {field: the values of every item}; a value that an item has twice counts once.
    """
    names: list[str] = []
    field: list[int] = []
    by_field = []
    for number, by_item in enumerate(fields.values()):
        own = sorted({value for values in by_item for value in values})
        number_of = {name: len(names) + place for place, name in enumerate(own)}
        by_field.append([[number_of[value] for value in dict.fromkeys(values)] for values in by_item])
        names += own
        field += [number] * len(own)
    rows = [list(itertools.chain(*of_item)) for of_item in zip(*by_field, strict=True)]
    return Attributes(
        tuple(fields),
        np.array(names, dtype=object),
        np.array(field, np.int32),
        np.cumsum([0, *map(len, rows)], dtype=np.int64),
        np.array(list(itertools.chain(*rows)), np.int32),
    )


def attributes_of_some(attributes: Attributes, items: np.ndarray) -> Attributes:
    """The attributes of the items of a mask bool[I]; values that none of them has lose their number."""
    kept = np.flatnonzero(items).tolist()
    return attributes_of(
        {
            name: [[str(attributes.names[v]) for v in attributes.of(item) if attributes.field[v] == f] for item in kept]
            for f, name in enumerate(attributes.fields)
        }
    )
