"""Ids as text that people read and edit: a line an entity, `NAME <Item><CT3><CI17>`."""

from __future__ import annotations

import gzip
import os
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from jaxrec.types import Codes

ID = re.compile(r"(?P<prefix><User>|<Item>)?<CT(?P<cluster>\d{1,9})><(?:CI)?(?P<rank>\d{1,9})>")


def write_codes(path: str | os.PathLike[str], codes: Codes, names: np.ndarray, prefix: str) -> None:
    """Writes a line for each entity.

    Args:
      path: the file, replaced where it exists.
      codes: values i32[n, 2].
      names: str[n]; may hold spaces, not line ends.
      prefix: "<User>" or "<Item>".
    Raises:
      ValueError: another number of names than of codes.
    """
    if len(names) != len(codes.values):
        raise ValueError(f"{len(names)} names for {len(codes.values)} ids of {prefix}; one each is wanted")
    lines = [f"{name} {prefix}<CT{g}><CI{j}>\n" for name, (g, j) in zip(names, codes.values.tolist())]
    pathlib.Path(path).write_text("".join(lines), encoding="utf-8")


def read_codes(
    path: str | os.PathLike[str], names: np.ndarray, prefix: str, *, sizes: tuple[int, int] | None = None
) -> Codes:
    """Reads ids, plain or gzip, in `write_codes`' form or the authors' two columns `NAME <CT79><1220>`.

    Empty lines are skipped, the order is free, and the last column is the id, so that a name may hold spaces.

    Args:
      path: the file.
      names: str[n], who has to be in it.
      prefix: "<User>" or "<Item>"; a line may leave it out.
      sizes: the codes' limits; None takes the least that hold all codes of the file.
    Returns:
      Codes in the order of `names`, i32[n, 2].
    Raises:
      ValueError: a line can't be understood or has the other prefix, a name is unknown, double or missing, an
        id is double, or a code is not below `sizes`; names the file and the line.
    """
    row = {str(name): i for i, name in enumerate(names)}
    values = np.full((len(row), 2), -1, np.int32)
    lines: dict[str, int] = {}
    owners: dict[tuple[int, int], str] = {}
    for number, line in _lines(path):
        if not line.strip():
            continue
        name, last = ["", *line.strip().rsplit(None, 1)][-2:]
        match, place = ID.fullmatch(last), f"{path}, line {number}"
        if not name or match is None:
            raise ValueError(f"{place}: {line.strip()[:60]!r} is not of the form NAME {prefix}<CT3><CI17>")
        if match["prefix"] not in (None, prefix):
            raise ValueError(f"{place}: {name!r} has the prefix {match['prefix']} in a file of {prefix}")
        if name not in row:
            raise ValueError(f"{place}: {name!r} is not in the data; remove the line or read the data it belongs to")
        if name in lines:
            raise ValueError(f"{place}: {name!r} has an id already, in line {lines[name]}; keep one of them")
        code = int(match["cluster"]), int(match["rank"])
        if code in owners:
            other = owners[code]
            raise ValueError(f"{place}: {last} of {name!r} is that of {other!r} in line {lines[other]}; change one")
        if sizes is not None and not (code[0] < sizes[0] and code[1] < sizes[1]):
            raise ValueError(f"{place}: {last} is out of range; clusters are below {sizes[0]}, ranks below {sizes[1]}")
        lines[name], owners[code] = number, name
        values[row[name]] = code
    missing = [name for name in row if name not in lines]
    if missing:
        raise ValueError(f"{path} has no id for {len(missing)} of {len(row)} names, the first is {missing[0]!r}")
    return Codes(values, sizes or (int(values[:, 0].max(initial=-1)) + 1, int(values[:, 1].max(initial=-1)) + 1))


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Numbered lines of a plain or gzipped text file.

    Raises:
      ValueError: it can't be opened, is cut off, or is not gzip or not UTF-8; names the file and the last good line.
    """
    opener = gzip.open if str(path).endswith(".gz") else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                yield number, line
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} can't be read after line {number}: {error}") from error
