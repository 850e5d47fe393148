"""Attributes of items (categories, brand, genres, price, words of texts) from the files that come with the events."""

from __future__ import annotations

import bisect
import dataclasses
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from jaxrec.data.attributes import attributes_of
from jaxrec.data.item_file import open_items
from jaxrec.data.item_rows import item_rows, sequence_columns
from jaxrec.data.readers.delimited import SEPARATORS
from jaxrec.data.readers.dialect import BLANKS
from jaxrec.data.source_file import UNPACK_MIB
from jaxrec.text import listed, quoted
from jaxrec.types import Attributes, DataError

MOST_BINS = 1000
PRICE = re.compile(r"(?:from\s*)?[$€£]?\s*(-?\d[\d,]*(?:\.\d+)?)(?:\s*-\s*[$€£]?[\d,.]+)?", re.IGNORECASE)
"""A number as shops write it: 12.5, "$1,299.00", "$9.99 - $19.99" (of which the first counts)."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column that holds an attribute.

    Attributes:
      name: as in the file.
      separator: between the values of a text; "" finds it: blanks in RecBole's sequences, | elsewhere.
      words: whether the values are the words of a text.
      bins: numbers are put into that many bins; 0: they are values as they are.
    """

    name: str
    separator: str = ""
    words: bool = False
    bins: int = 0


def parse_attributes(columns: Sequence[str]) -> tuple[Column, ...]:
    """Columns from `DataConfig.attributes`: "brand", "tags=comma", "title=words", "price=10".

    Raises:
      ValueError: one is empty, given twice, or cut in a way that there is not.
    """
    parsed = []
    for text in columns:
        name, mark, how = text.partition("=")
        if how == "words":
            column = Column(name, words=True)
        elif how.isascii() and how.isdigit():
            column = Column(name, bins=int(how))
        else:
            column = Column(name, separator=SEPARATORS.get(how, how))
        bad_bins = bool(how) and how.isdigit() and not 2 <= column.bins <= MOST_BINS
        if not name or (mark and not how) or bad_bins or re.search(r"\w", column.separator):
            raise ValueError(
                f"data.attributes={quoted(text)} is not COLUMN, COLUMN=SEPARATOR, COLUMN=words or COLUMN=BINS with 2 to"
                f" {MOST_BINS} bins; separators are characters as , or one of {', '.join(SEPARATORS)}"
            )
        if name in [other.name for other in parsed]:
            raise ValueError(f"data.attributes names the column {quoted(name)} twice; give each once")
        parsed.append(column)
    return tuple(parsed)


def read_attributes(
    path: pathlib.Path,
    columns: Sequence[Column],
    items: np.ndarray,
    *,
    encoding: str = "auto",
    unpack_mib: int = UNPACK_MIB,
) -> tuple[Attributes, list[str]]:
    """The attributes of items, from a file that `jaxrec.data.item_file.open_items` opens.

    Several rows of one item add up. Other items of the file are left out and counted, as are items without a value.

    Args:
      path: the file.
      columns: those that are attributes; in JSON also nested ones, "details.Brand".
      items: names of the items, object[I].
      encoding: of text; "auto" is UTF-8, or UTF-16 where the file begins with its mark.
      unpack_mib: the most MiB that a compressed file may unpack to.
    Returns:
      the attributes of the items, and what was left out, a sentence each.
    Raises:
      DataError: the file can't be read, has no column of items or none of those named, none of its items is one of
        `items`, or a column has no value for any of them; the message names file and line.
    """
    file = open_items(path, encoding=encoding, unpack_mib=unpack_mib)
    sequences = sequence_columns(file)
    number_of = {str(name): number for number, name in enumerate(items)}
    texts: list[list[list[str]]] = [[[] for _ in number_of] for _ in columns]
    in_file, others = set(), set()
    for name, cells in item_rows(file, [column.name for column in columns]):
        number = number_of.get(name)
        if number is None:
            others.add(name)
            continue
        in_file.add(number)
        for by_item, cell in zip(texts, cells, strict=True):
            by_item[number] += cell
    if not in_file:
        raise DataError(
            f"{path}: none of its {len(others):,} items is one of the data, which has items like {quoted(items[0])}"
            f" where this file has {listed(sorted(others)[:1])}; give the file of these items"
        )
    notes, fields = [], {}
    for column, by_item in zip(columns, texts, strict=True):
        if column.bins:
            of_items = _binned(column, by_item, notes)
        else:
            separator = column.separator or (BLANKS if column.name in sequences else "|")
            of_items = [_cut(column, separator, own) for own in by_item]
        fields[column.name] = of_items
        if not any(of_items):
            raise DataError(f"{path}: the column {quoted(column.name)} holds no value for any item of the data")
    attributes = attributes_of(fields)
    if others:
        notes.append(f"{len(others):,} items of {path.name} are not in the data and were left out")
    if without := int((np.diff(attributes.offsets) == 0).sum()):
        notes.append(f"{without:,} items have no attributes in {path.name}")
    return attributes, notes


def _cut(column: Column, separator: str, texts: Sequence[str]) -> list[str]:
    """The values in an item's texts."""
    if column.words:
        return [word for text in texts for word in re.findall(r"\w+", text.lower())]
    if separator == BLANKS:
        return [value for text in texts for value in text.split()]
    parts = (part.strip() for text in texts for part in text.split(separator))
    return [part for part in parts if part]


def _binned(column: Column, by_item: Sequence[Sequence[str]], notes: list[str]) -> list[list[str]]:
    """For each item the bin of its first number, named "9.5 to 20"; bins hold about as many items each."""
    matches = [[PRICE.fullmatch(text.strip()) for text in texts if text.strip()] for texts in by_item]
    if bad := sum(match is None for own in matches for match in own):
        notes.append(f"{bad:,} values of {quoted(column.name)} are no numbers and were left out")
    numbers = [next((float(m[1].replace(",", "")) for m in own if m), None) for own in matches]
    in_order = np.sort([number for number in numbers if number is not None])
    if not len(in_order):
        return [[] for _ in by_item]
    edges = np.unique(np.quantile(in_order, np.arange(1, column.bins) / column.bins)).tolist()
    bins = [bisect.bisect_right(edges, number) for number in in_order.tolist()]
    names = {
        place: f"{in_order[bisect.bisect_left(bins, place)]:g} to {in_order[bisect.bisect_right(bins, place) - 1]:g}"
        for place in set(bins)
    }
    return [[] if number is None else [names[bisect.bisect_right(edges, number)]] for number in numbers]
