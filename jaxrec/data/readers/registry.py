"""The readers by format name; `DataConfig.format` selects one."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Literal

import polars as pl

from jaxrec.data.readers import delimited, json_objects, movielens, parquet, sequence
from jaxrec.data.readers.columns import parse_columns, positions
from jaxrec.data.readers.named_table import EXAMPLES
from jaxrec.data.readers.reader import Reader, ReadOptions
from jaxrec.data.readers.times import TimeUnit
from jaxrec.data.source_file import UNPACK_MIB, NoEvents, SourceFile, open_source
from jaxrec.text import listed
from jaxrec.types import DataError

# Formats are tried from last to first, so the most general readers are at the top.
READERS: dict[str, Reader] = {
    "pairs": sequence.PAIRS,
    "sequence": sequence.SEQUENCES,
    "csv": delimited.CSV,
    "movielens-100k": movielens.NUMBERS,
    "movielens-dat": movielens.DOUBLE_COLONS,
    "recbole": delimited.RECBOLE,
    "json": json_objects.READER,
    "parquet": parquet.READER,
}
PARTS = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".inter")
"""Ends of the names of a folder's part files, also with the end of a compressed file after them."""
PACKED_ENDS = ("", ".gz", ".bz2", ".xz", ".zst")


@dataclasses.dataclass(frozen=True)
class Events:
    """Events of a file or folder.

    Attributes:
      frame: as `Reader.read` describes it.
      notes: what was changed, guessed or left out, a sentence each.
      skipped: number of rows that could not be read and were left out.
    """

    frame: pl.DataFrame
    notes: tuple[str, ...]
    skipped: int = 0


def reader(format: str) -> Reader:
    """The reader of a format.

    Raises:
      ValueError: the format is unknown; the message lists all.
    """
    if format not in READERS:
        formats = "; ".join(f"{name} ({entry.title})" for name, entry in READERS.items())
        raise ValueError(f"format={format!r} is not known; there are: {formats}")
    return READERS[format]


def recognise(source: SourceFile) -> str:
    """The format of a file, by its first bytes and its first line."""
    for name, entry in reversed(READERS.items()):
        if entry.magic and source.data.startswith(entry.magic):
            return name
        if not source.is_binary and entry.recognises(source):
            return name
    raise DataError(f"{source.path}: of no known format; name it with --data.format: {', '.join(READERS)}")


def read_events(path: pathlib.Path, format: str = "auto", columns: tuple[str, ...] = ()) -> pl.DataFrame:
    """The frame of `read`, with nothing but format and columns named."""
    return read(path, format, columns).frame


def read(
    path: pathlib.Path,
    format: str = "auto",
    columns: tuple[str, ...] = (),
    *,
    separator: str = "auto",
    encoding: str = "auto",
    time_unit: TimeUnit = "auto",
    unpack_mib: int = UNPACK_MIB,
    bad_rows: Literal["error", "skip"] = "error",
) -> Events:
    """Events of a file, plain or compressed, or of a folder of part files.

    Args:
      path: the file or folder.
      format: a key of READERS, or "auto": recognised from the content.
      columns: "role=column" for columns of a table whose names `columns.COLUMN_NAMES` does not list.
      separator: between fields, a character or a key of `delimited.SEPARATORS`; "auto" finds it.
      encoding: of text; "auto" is UTF-8, or UTF-16 where the file begins with its mark.
      time_unit: of times that are numbers; "auto" is told by their size.
      unpack_mib: the most MiB that a compressed file may unpack to.
      bad_rows: "skip" leaves rows out that can't be read, and says how many and which are the first.

    Raises:
      DataError: it can't be read as that format; the message names the line and shows its start. Also if as many rows
        were left out as were read.
      ValueError: format, columns, separator or encoding can't be what is said.
      OSError: the file can't be opened.
    """
    said = format
    if format != "auto":
        reader(format)
    options = ReadOptions(parse_columns(columns), separator, time_unit, bad_rows == "skip")
    if positions(options.columns) is not None or delimited.separator_of(options) is not None:
        if format not in ("auto", "csv"):
            raise ValueError(
                f"format={format!r} takes neither a separator nor columns by position; leave --data.format out"
            )
        format = "csv"
    encodings = ("utf-8",) if encoding == "auto" else (encoding,)
    magics = tuple(entry.magic for entry in READERS.values() if entry.magic)

    def read_file(file: pathlib.Path) -> Events:
        source = open_source(file, encodings=encodings, magics=magics, unpack_mib=unpack_mib)
        source = dataclasses.replace(source, skips_bad_rows=options.skip_bad_rows)
        if source.is_binary and options.separator != "auto":
            source.note(f"the separator is not used, as this is no text but {recognise(source)}")
        frame = _read_source(source, said if source.is_binary else format, options)
        _note_skipped(source, frame.height)
        return Events(frame, tuple(source.notes), len(source.skipped))

    return _joined(part_files(path), read_file) if path.is_dir() else read_file(path)


def _note_skipped(source: SourceFile, n_read: int) -> None:
    """Says which rows were left out.

    Raises:
      DataError: they are as many as were read, or more.
    """
    n_skipped = len(source.skipped)
    if not n_skipped:
        return
    place = "row" if source.is_binary else "line"
    first = "; ".join(f"{place} {line}: {problem}" for line, problem in sorted(source.skipped.lines.items())[:EXAMPLES])
    if n_skipped >= n_read:
        raise DataError(
            f"{source.path}: {n_skipped:,} rows can't be read and {n_read:,} can, so this may be another format or"
            f" separator; the first are {first}"
        )
    source.note(f"{n_skipped:,} rows can't be read and were left out; the first are {first}")


def _joined(parts: Sequence[pathlib.Path], read_file: Callable[[pathlib.Path], Events]) -> Events:
    """The events of a folder's part files; those that hold none are passed over."""
    events, empty = [], {}
    for part in parts:
        try:
            events.append((part, read_file(part)))
        except NoEvents as error:
            empty[part] = error
    if not events:
        raise empty[parts[0]]
    first, of_first = events[0]
    for part, of_part in events:
        if of_part.frame.columns != of_first.frame.columns:
            raise DataError(
                f"{part} has the columns {', '.join(of_part.frame.columns)}, and {first.name} beside it has"
                f" {', '.join(of_first.frame.columns)}; all part files of a folder must have the same"
            )
    notes = [f"{len(events)} part files were read as one"]
    if empty:
        notes.append(f"{len(empty)} part files hold no event and were passed over: {listed(p.name for p in empty)}")
    notes += [note for _, of_part in events for note in of_part.notes]
    frame = pl.concat([of_part.frame for _, of_part in events])
    return Events(frame, tuple(dict.fromkeys(notes)), sum(of_part.skipped for _, of_part in events))


def part_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The part files of a folder in the order of their names; names that begin with . or _ are no parts.

    Raises:
      DataError: there is none, or there are several kinds.
    """
    kinds: dict[str, list[pathlib.Path]] = {}
    for file in sorted(folder.iterdir()):
        if file.name.startswith((".", "_")) or not file.is_file():
            continue
        name = next((file.name.removesuffix(end) for end in PACKED_ENDS[1:] if file.name.endswith(end)), file.name)
        if end := next((end for end in PARTS if name.endswith(end)), ""):
            kinds.setdefault(end, []).append(file)
    if not kinds:
        raise DataError(f"{folder}: a folder without part files, which end in {', '.join(PARTS)} or in those and .gz")
    if len(kinds) > 1:
        examples = listed(files[0].name for files in kinds.values())
        raise DataError(f"{folder}: a folder with part files of several kinds, as {examples}; give one file of them")
    return next(iter(kinds.values()))


def _read_source(source: SourceFile, format: str, options: ReadOptions) -> pl.DataFrame:
    """Reads a file; where its format was guessed, errors say which was taken."""
    if source.is_binary and format in ("auto", recognise(source)):
        return reader(recognise(source)).read(source, options)
    if source.is_binary or reader_is_binary(format):
        actual = recognise(source)
        raise DataError(f"{source.path}: not {format} but {actual}; leave --data.format out")
    if format != "auto":
        return reader(format).read(source, options)
    guess = recognise(source)
    try:
        return reader(guess).read(source, options)
    except DataError as error:
        kind = NoEvents if isinstance(error, NoEvents) else DataError
        raise kind(
            f"{error} (read as {guess}, as {reader(guess).sign}; --data.format takes another of"
            f" {', '.join(name for name in READERS if name != guess)})"
        ) from error


def reader_is_binary(format: str) -> bool:
    """Whether a format is one of bytes; False for "auto"."""
    return format != "auto" and bool(reader(format).magic)
