"""Named lists of items that requests may give as `allow`: read from files of the server, never from a request."""

from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import Mapping

from jaxrec.text import listed, quoted
from jaxrec.types import DataError

log = logging.getLogger("jaxrec")


def read_allow_lists(files: Mapping[str, str | os.PathLike[str]]) -> dict[str, tuple[str, ...]]:
    """The names of the items of each list.

    Args:
      files: text files in UTF-8 by the name of the list; an item's name a line, empty lines are skipped.
    Raises:
      DataError: a file can't be read, is no text, or names no item.
    """
    lists = {}
    for name, file in files.items():
        try:
            text = pathlib.Path(file).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"allow list {quoted(name)}: {file} can't be read as text ({error})") from error
        lines = (line.removesuffix("\r") for line in text.split("\n"))
        lists[name] = tuple(dict.fromkeys(line for line in lines if line))
        if not lists[name]:
            raise DataError(f"allow list {quoted(name)}: {file} names no item; write one a line")
    return lists


def files_of(assignments: tuple[str, ...]) -> dict[str, str]:
    """Files by the names of lists, from NAME=FILE each.

    Raises:
      ValueError: one has another form, or a name is given twice.
    """
    files: dict[str, str] = {}
    for assignment in assignments:
        name, equals, file = assignment.partition("=")
        if not (name and equals and file):
            raise ValueError(f"--allow-lists {quoted(assignment)} must be NAME=FILE, a file with an item's name a line")
        if name in files:
            raise ValueError(f"--allow-lists has {quoted(name)} twice; give each list a name of its own")
        files[name] = file
    return files


def warn_of_unknown(model: str, lists: Mapping[str, tuple[str, ...]], items: Mapping[str, int]) -> None:
    """Logs which names of the lists a run has no items for; they count once events have brought them.

    Args:
      model: name of the run.
      lists: names of items by the names of lists.
      items: the run's items by name.
    """
    for name, names in lists.items():
        if unknown := [item for item in names if item not in items]:
            log.warning(
                "%s has no item for %d of the %d names of allow list %s: %s",
                model,
                len(unknown),
                len(names),
                quoted(name),
                listed(unknown[:3]),
            )
