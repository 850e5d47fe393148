"""JSON lines by pyarrow where its answer is known to be that of the strict reader in `json_objects`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.json

from jaxrec.data.readers.bitmaps import bitmap, count_opening, holds, places, places_of
from jaxrec.data.source_file import SourceFile

_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_CONSTANT = re.compile(rb"[:\[,][ \t\r\n]*-?(?:NaN|Inf)")
BLOCK = 8 << 20


def read_fast(
    source: SourceFile, roles: Mapping[str, str], examples: Mapping[str, object], deepest: int
) -> pl.DataFrame | None:
    """The values of the keys, one row a line; None where the strict reader might see something else or an error.

    A column is read with the type of its example, of which pyarrow then demands every value to be. Every line is known
    to begin with { and to end with }, and to hold few brackets; as the number of objects is that of the lines, each
    line is one object.

    Args:
      source: the file.
      roles: {role: key}.
      examples: a value of each role's key.
      deepest: levels of arrays and objects that the strict reader allows.
    """
    kinds = {role: _kind(role, example) for role, example in examples.items()}
    if any(kind is None for kind in kinds.values()) or len(set(roles.values())) < len(roles):
        return None
    data, end = source.data, len(source.data)
    while end and data[end - 1] in b"\r\n":
        end -= 1
    n_rows = _count_objects(data, end, deepest)
    if n_rows is None or _halves_are_left(data) or _holds_constants(data):
        return None
    schema = pa.schema([(key, kinds[role]) for role, key in roles.items()])
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(pa.py_buffer(data).slice(0, end)),
            read_options=pyarrow.json.ReadOptions(block_size=BLOCK),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowException:
        return None
    if table.num_rows != n_rows or table.schema != schema:
        return None
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _kind(role: str, example: object) -> pa.DataType | None:
    if isinstance(example, str):
        return pa.string()
    if isinstance(example, bool) or not isinstance(example, int | float):
        return None
    if role == "rating":
        return pa.float64()
    return pa.int64() if isinstance(example, int) and role in ("user", "item", "time") else None


def _count_objects(data: bytes, end: int, deepest: int) -> int | None:
    """The number of lines, None if one does not begin and end as an object does, or might be nested too deeply."""
    text = np.frombuffer(data, np.uint8)[:end]
    line_feeds = places_of(text, b"\n")
    starts, lasts = np.append(0, line_feeds + 1), np.append(line_feeds, len(text)) - 1
    if b"\r" in data:
        lasts = np.where(text[np.maximum(lasts, 0)] == ord("\r"), lasts - 1, lasts)
    if (lasts < starts).any() or (text[starts] != ord("{")).any() or (text[lasts] != ord("}")).any():
        return None
    if count_opening(text) - len(starts) >= deepest:  # else no line can hold that many
        opening = places(bitmap(text, b"{", b"["))
        if np.diff(np.searchsorted(opening, np.append(starts, len(text)))).max() > deepest:
            return None
    return len(starts)


def _halves_are_left(data: bytes) -> bool:
    """Whether an escape of half of a surrogate pair may stand alone."""
    if b"\\" not in data or _HALF.search(data) is None:
        return False
    if re.search(rb"\\\\u[dD]", data):  # an escaped backslash before a u: no escape of a character
        return True
    return _HALF.search(_PAIR.sub(b"", data)) is not None


def _holds_constants(data: bytes) -> bool:
    """Whether NaN or an infinity stands somewhere outside of texts, which pyarrow reads and JSON does not have."""
    text = np.frombuffer(data, np.uint8)
    if not holds(text, b"aN") and not holds(text, b"In"):
        return False
    end = 0
    for match in _CONSTANT.finditer(data):
        if match.end() <= end:
            continue  # of a line that has been looked at
        start, end = data.rfind(b"\n", 0, match.start()) + 1, data.find(b"\n", match.end())
        end = len(data) if end < 0 else end
        try:
            json.loads(data[start:end], parse_constant=_refuse)
        except (ValueError, RecursionError):
            return True
    return False


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
