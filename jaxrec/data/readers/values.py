"""What may stand in a column: names, numbers and texts out of columns of any type, by one rule for all formats."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pyarrow as pa

from jaxrec.data.readers.named_table import NamedTable
from jaxrec.text import quoted

LARGEST_WHOLE = 2**53
"""Up to here a float is exactly the whole number that it shows."""
LARGEST_FLOAT = float(np.finfo(np.float32).max)
WHOLE_FLOAT = r"^\d+\.0+$"
"""How programs write a whole number that they hold as a float."""
ROWS = 1 << 16
"""Rows that are looked at at a time, so that what is between two steps stays in the cache."""
MISSING_WORDS = ("nan", "NaN", "null", "NULL", "None", "<NA>", "N/A")
"""How other programs write a missing value; as texts they are names."""
LONGEST_WORD = 4
WANTED = {
    "user": "texts or whole numbers are wanted",
    "item": "texts or whole numbers are wanted",
    "rating": "numbers are wanted",
    "time": "numbers, ISO 8601 texts or dates are wanted",
    "review": "texts are wanted",
    "summary": "texts are wanted",
    "title": "texts are wanted",
}


def names(table: NamedTable, role: str, values: pl.Series) -> pl.Series:
    """Names of users or items as strings.

    Texts stay as they are, but for blanks around them, which are cut and counted in a note; whole numbers are written
    without a point ("5", also for 5.0).

    Args:
      table: the file, for messages.
      role: "user" or "item".
      values: a column of it, of any type.
    Raises:
      DataError: a name is missing (null, NaN, blank), holds NUL, or is no text and no whole number.
    """
    refuse_missing(table, role, values)
    dtype = values.dtype
    if dtype.is_float():
        whole = values.is_finite() & (values == values.floor()) & (values.abs() <= LARGEST_WHOLE)
        table.refuse(
            ~whole, lambda row: f"the {role} {values[row]!r} (column {quoted(values.name)}) is not a whole number"
        )
        return values.cast(pl.Int64).cast(pl.String)
    if dtype.is_integer():
        return values.cast(pl.String)
    if dtype.is_decimal():
        texts = values.cast(pl.String).str.replace(r"\.0*$", "")
        table.refuse(
            texts.str.contains(".", literal=True),
            lambda row: f"the {role} {values[row]} (column {quoted(values.name)}) is not a whole number",
        )
        return texts
    texts = _as_texts(table, role, values)
    is_plain = values.name in table.plain or are_plain(texts.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return texts if is_plain else _checked_names(table, role, texts)


def numbers(table: NamedTable, role: str, values: pl.Series) -> pl.Series:
    """Numbers as f64, all of which fit f32.

    Raises:
      DataError: one is missing, no number, or not finite as f32.
    """
    if values.dtype.is_numeric():
        as_numbers = values.cast(pl.Float64, strict=False)
        if not as_numbers.has_nulls() and len(as_numbers):
            array = as_numbers.to_numpy()
            if array.min() >= -LARGEST_FLOAT and array.max() <= LARGEST_FLOAT:  # neither if one is NaN
                return as_numbers
        refuse_missing(table, role, values)
    else:
        refuse_missing(table, role, values)
        stripped = _as_texts(table, role, values).str.strip_chars()
        table.refuse(stripped == "", lambda row: f"the {role} is missing (column {quoted(values.name)})")
        as_numbers = stripped.cast(pl.Float64, strict=False)
    table.refuse(
        ~as_numbers.is_finite().fill_null(False), lambda row: f"the {role} {quoted(values[row])} is not a number"
    )
    table.refuse(
        as_numbers.abs() > LARGEST_FLOAT,
        lambda row: f"the {role} {quoted(values[row])} is too large; numbers up to 3.4e38 can be stored",
    )
    return as_numbers


def texts(table: NamedTable, role: str, values: pl.Series) -> pl.Series:
    """Texts as strings, "" where one is missing.

    Raises:
      DataError: the column holds neither texts nor numbers.
    """
    if values.dtype.is_numeric():
        return values.cast(pl.String).fill_null("")
    return _as_texts(table, role, values).fill_null("")


def refuse_missing(table: NamedTable, role: str, values: pl.Series) -> None:
    """Raises a DataError where a value is null or NaN."""
    if not values.has_nulls() and not values.dtype.is_float():
        return
    missing = values.is_null()
    if values.dtype.is_float():
        missing = missing | values.is_nan().fill_null(True)
    table.refuse(missing, lambda row: f"the {role} is missing (column {quoted(values.name)})")


def refuse_type(table: NamedTable, role: str, values: pl.Series) -> None:
    """Raises a DataError that names a column's type."""
    table.refuse_column(values.name, role, str(values.dtype), WANTED[role])


def name_of(value: object) -> str:
    """The name that a JSON value is, by the rule of `names`; "" for null.

    Raises:
      ValueError: it is none; the message says what it is.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no name")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) <= LARGEST_WHOLE:
            return str(int(value))
        raise ValueError(f"{value!r} is not a whole number")
    if isinstance(value, dict):
        raise ValueError(f"an object with the keys {', '.join(quoted(key) for key in list(value)[:10])}")
    raise ValueError("a list")


def _as_texts(table: NamedTable, role: str, values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        return values
    if isinstance(values.dtype, pl.Categorical | pl.Enum):
        return values.cast(pl.String)
    if values.dtype == pl.Null:
        return values.cast(pl.String)
    refuse_type(table, role, values)
    raise AssertionError


def are_plain(names: pa.Array) -> bool:
    """Whether names need no closer look, by their lengths, first and last bytes: none is empty, begins or ends with a
    blank or with what is not ASCII, holds NUL, or is as long as a word for a missing value.

    Args:
      names: strings with offsets of 32 or 64 bits.
    """
    if not len(names) or names.null_count or re.fullmatch(WHOLE_FLOAT, names[0].as_py()):
        return False
    _, ends, data = names.buffers()
    offsets = np.frombuffer(ends, np.int64 if pa.types.is_large_string(names.type) else np.int32)[names.offset :]
    text = np.frombuffer(data or b"", np.uint8)
    if not text[offsets[0] : offsets[len(names)]].all():
        return False
    for start in range(0, len(names), ROWS):
        block = offsets[start : min(start + ROWS, len(names)) + 1]
        if (block[1:] - block[:-1]).min() <= LONGEST_WORD and _may_be_words(text, block):
            return False
        for places in (block[:-1], block[1:] - 1):
            ends_of_names = text[places] - np.uint8(ord(" ") + 1)  # wraps around for what is smaller
            if ends_of_names.max() >= 127 - ord(" "):
                return False
    return True


def _may_be_words(text: np.ndarray, offsets: np.ndarray) -> bool:
    """Whether one of some names is empty, or as long as a word for a missing value and begins like one."""
    lengths = offsets[1:] - offsets[:-1]
    if lengths.min() == 0:
        return True
    beginnings = text[offsets[:-1][(lengths >= 3) & (lengths <= LONGEST_WORD)]]
    return bool(np.isin(beginnings, [ord(word[0]) for word in MISSING_WORDS]).any())


def _checked_names(table: NamedTable, role: str, values: pl.Series) -> pl.Series:
    stripped = values.str.strip_chars()
    table.refuse(stripped == "", lambda row: f"the {role} is missing (column {quoted(values.name)})")
    table.refuse(stripped.str.contains("\0", literal=True), lambda row: f"the {role} holds a NUL character")
    cut = int((stripped != values).sum())
    if cut:
        table.source.note(f"{cut} {role} names have blanks around them, which were cut")
    words = int(stripped.is_in(MISSING_WORDS).sum())
    if words:
        word = stripped.filter(stripped.is_in(MISSING_WORDS))[0]
        table.source.note(
            f"{words} events have the {role} {word!r}, as other programs write a missing value; it is a name here"
        )
    if stripped.str.contains(WHOLE_FLOAT).all():
        table.source.note(
            f"every {role} is written like {stripped[0]!r}; texts stay so and differ from {stripped[0].split('.')[0]!r}"
        )
    return stripped
