r"""Ids as editable text files with a line per entity, `NAME <Item><CT3><CI17>`.

A name that could not be told from its surroundings (with blanks around it, line ends or other control characters, or a
quotation mark at its start) is written as a JSON string, `"line\nbreak" <Item><CT3><CI17>`; all others as they are.
"""

from __future__ import annotations

import gzip
import json
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from jaxrec.text import quoted
from jaxrec.tokenizers.vocabulary import DIGIT
from jaxrec.types import Codes, DataError

_UNPRINTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def write_codes(path: str | os.PathLike[str], codes: Codes, names: np.ndarray, prefix: str) -> None:
    """Writes a line for each entity.

    Args:
      path: the file, replaced where it exists.
      codes: values i32[n, L].
      names: str[n].
      prefix: "<User>" or "<Item>".
    Raises:
      ValueError: another number of names than of codes.
    """
    if len(names) != len(codes.values):
        raise ValueError(f"{len(names)} names for {len(codes.values)} ids of {prefix}; give one name per id")
    lines = [f"{name_text(name)} {prefix}{code_text(codes, row)}\n" for name, row in zip(names, codes.values.tolist())]
    pathlib.Path(path).write_text("".join(lines), encoding="utf-8", newline="\n")


def name_text(name: str) -> str:
    """A name as it stands in a file of ids; `name_of` gives the name back."""
    name = str(name)
    is_plain = name and name == name.strip() and name[0] != '"' and not _UNPRINTED.search(name)
    return name if is_plain else json.dumps(name)


def name_of(text: str) -> str:
    """The name that `name_text` wrote. Texts that it does not write, as of older files, are names as they are."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            name = json.loads(text)
        except ValueError:
            return text
        if isinstance(name, str) and name_text(name) == text:
            return name
    return text


def code_text(codes: Codes, row: Sequence[int]) -> str:
    """One row of codes as text, `<CT3><CI17>`."""
    return "".join(level.format(code) for level, code in zip(codes.levels, row, strict=True))


def read_codes(
    path: str | os.PathLike[str],
    names: np.ndarray,
    prefix: str,
    levels: Sequence[str],
    *,
    sizes: Sequence[int] | None = None,
    unique: bool = True,
) -> Codes:
    """Reads ids, plain or gzip, in `write_codes`' form; later levels may stand without letters, `NAME <CT79><1220>`.

    Empty lines are skipped, the order is free, and the last column is the id, so that a name may hold spaces.

    Args:
      path: the file.
      names: str[n], all of which must be in the file.
      prefix: "<User>" or "<Item>"; a line may leave it out.
      levels: the names of each level's tokens, as in `Codes`.
      sizes: the codes' limits; None takes the smallest that fit the file.
      unique: whether two names with one id are an error.
    Returns:
      Codes in the order of `names`, i32[n, L].
    Raises:
      DataError: a line can't be understood or has the other prefix, a name is unknown, double or missing, an
        id is double, or a code is not below `sizes`; names the file and the line.
    """
    form = _form(levels)
    row_of = {str(name): i for i, name in enumerate(names)}
    values = np.full((len(row_of), len(levels)), -1, np.int32)
    lines: dict[str, int] = {}
    owners: dict[tuple[int, ...], str] = {}
    for number, line in _lines(path):
        if not line.strip():
            continue
        name, last = ["", *line.strip().rsplit(None, 1)][-2:]
        name = next((other for other in (name_of(name), name) if other in row_of), name)
        match, place = form.fullmatch(last), f"{path}, line {number}"
        if match is None or line.strip() == last:
            example = "".join(level.format(n) for level, n in zip(levels, (3, 17, 5, 2, 8, 1, 9, 4)))
            raise DataError(f"{place}: {quoted(line.strip(), 60)} is not of the form NAME {prefix}{example}")
        if match["prefix"] not in (None, prefix):
            raise DataError(f"{place}: {quoted(name)} has the prefix {match['prefix']} in a file of {prefix}")
        if name not in row_of:
            raise DataError(
                f"{place}: {quoted(name)} is not in the data; remove the line or read the data it belongs to"
            )
        if name in lines:
            raise DataError(f"{place}: {quoted(name)} has an id already, in line {lines[name]}; keep one of them")
        code = tuple(int(n) for n in match.groups()[1:])
        if unique and code in owners:
            owner = owners[code]
            raise DataError(
                f"{place}: {last} of {quoted(name)} is that of {quoted(owner)} in line {lines[owner]}; change one"
            )
        if sizes is not None and any(c >= size for c, size in zip(code, sizes, strict=True)):
            limits = ", ".join(f"{level.format('N')} below {size}" for level, size in zip(levels, sizes))
            raise DataError(f"{place}: {last} is out of range; {limits}")
        lines[name], owners[code] = number, name
        values[row_of[name]] = code
    missing = [name for name in row_of if name not in lines]
    if missing:
        raise DataError(
            f"{path} has no id for {len(missing)} of {len(row_of)} names, the first is {quoted(missing[0])}"
        )
    return Codes(values, tuple(sizes or values.max(axis=0, initial=-1) + 1), tuple(levels))


def _form(levels: Sequence[str]) -> re.Pattern[str]:
    """The pattern of an id: a group "prefix", then one group for each level's number."""
    parts = []
    for place, level in enumerate(levels):
        if level == DIGIT:
            parts.append(r"(\d)")
            continue
        before, after = level.removeprefix("<").split("{}")
        name = re.escape(before) if place == 0 else f"(?:{re.escape(before)})?"
        parts.append(rf"<{name}(\d{{1,9}}){re.escape(after)}")
    return re.compile("(?P<prefix><User>|<Item>)?" + "".join(parts))


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Numbered lines of a plain or gzipped text file.

    Raises:
      DataError: it can't be opened, is cut off, or is not gzip or not UTF-8; names the file and the last good line.
    """
    opener = gzip.open if str(path).endswith(".gz") else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                yield number, line
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read after line {number}: {error}") from error
