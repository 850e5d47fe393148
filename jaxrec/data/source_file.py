"""The bytes of a data file, unpacked and as UTF-8, and errors that name file and line."""

from __future__ import annotations

import codecs
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import NoReturn

from jaxrec.data.unpacking import CutOff, unpacked
from jaxrec.text import quoted
from jaxrec.types import DataError

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks and the encodings that they name; longer ones before those that they begin with."""
SHOWN = 60
"""Characters of a line that an error repeats."""
UNPACK_MIB = 2048
"""The default of `DataConfig.unpack_mib`."""
PLAIN_BLANKS = " \t\r\n"


class BadLine(DataError):
    """A line, or a row of a binary file, that can't be read.

    Attributes:
      problem: what is wrong with it, without file and line.
    """

    def __init__(self, message: str, problem: str) -> None:
        super().__init__(message)
        self.problem = problem


class NoEvents(DataError):
    """A file is empty, or holds a header alone."""


@dataclasses.dataclass
class Skipped:
    """Bad rows that were left out.

    Attributes:
      lines: what is wrong with each of some lines.
      others: number of further rows.
    """

    lines: dict[int, str] = dataclasses.field(default_factory=dict)
    others: int = 0

    def __len__(self) -> int:
        return len(self.lines) + self.others


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """The unpacked bytes of a file; lines end at a line feed and are counted from 1.

    Attributes:
      path: the file.
      data: its content; text is UTF-8 without NUL.
      is_binary: whether `data` is not text.
      notes: what a reader changed or left out, a sentence each; readers add to it.
      skips_bad_rows: whether rows that can't be read are left out and counted, rather than an error.
      skipped: those.
    """

    path: pathlib.Path
    data: bytes
    is_binary: bool = False
    notes: list[str] = dataclasses.field(default_factory=list)
    skips_bad_rows: bool = False
    skipped: Skipped = dataclasses.field(default_factory=Skipped)

    def refuse(self, line: int, problem: str) -> None:
        """Counts a bad line that is to be left out, if `skips_bad_rows`; else raises as `fail` does."""
        if not self.skips_bad_rows:
            self.fail(line, problem)
        self.skipped.lines.setdefault(line, problem)

    def fail(self, line: int, problem: str) -> NoReturn:
        """Raises a DataError that names file and line and shows the line's start; of a binary file, file and row."""
        raise BadLine(self.message(line, problem), problem)

    def message(self, line: int, problem: str) -> str:
        """The message of such an error."""
        if self.is_binary:
            return f"{self.path}: row {line}: {problem}"
        lines = self.data.split(b"\n", line)
        start = lines[line - 1] if line <= len(lines) else b""
        # A longer piece than is shown, as a character takes up to four bytes; `quoted` says how long the line is.
        return f"{self.path}:{line}: {problem}; the line starts {_start(start)}"

    def note(self, sentence: str) -> None:
        """Records what a reader changed or left out."""
        self.notes.append(sentence)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Numbers and texts of the lines that are not blank."""
        for number, line in enumerate(self.data.split(b"\n"), start=1):
            if text := line.decode("utf-8").strip(PLAIN_BLANKS):
                yield number, text

    def first(self, *, comments: bool = False) -> tuple[int, str]:
        """Number and text of the first line that is not blank; tabs stay, as they may separate empty fields.

        Args:
          comments: whether lines that begin with # are passed over.
        """
        start, number = 0, 0
        while start < len(self.data):
            number += 1
            end = self.data.find(b"\n", start)
            end = len(self.data) if end < 0 else end
            line, start = self.data[start:end], end + 1
            if line.strip(b" \t\r") and not (comments and line.startswith(b"#")):
                return number, line.decode("utf-8").strip(" \r\n")
        raise NoEvents(f"{self.path}: the file is empty" + (" but for comments" if comments else ""))

    def first_line(self) -> str:
        """The first line that is not blank."""
        return self.first()[1]


def _start(line: bytes) -> str:
    text = line.decode("utf-8", "replace").rstrip("\r")
    return quoted(text, SHOWN)


def open_source(
    path: pathlib.Path,
    *,
    encodings: tuple[str, ...] = ("utf-8",),
    magics: tuple[bytes, ...] = (),
    unpack_mib: int = UNPACK_MIB,
) -> SourceFile:
    """Reads a file; compression is recognised by the first bytes, not the name, and UTF-8, -16 and -32 by their marks.

    Args:
      path: the file.
      encodings: of text without a mark, tried in turn; the result is always UTF-8.
      magics: first bytes of binary formats, which are not decoded.
      unpack_mib: the most MiB that a compressed file may unpack to.

    Raises:
      DataError: the file is empty, a cut-off or damaged archive, too large when unpacked, or text in none of the
        encodings; the message names the line up to which it could be read.
      OSError: it can't be read.
    """
    data = _unpacked(path, path.read_bytes(), unpack_mib)
    if not data or data.isspace():
        raise NoEvents(f"{path}: the file is empty")
    if magics and data.startswith(magics):
        return SourceFile(path, data, is_binary=True)
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            data, encodings = data[len(mark) :] if encoding == "utf-8" else data, (encoding,)
            break
    source = SourceFile(path, _as_utf8(path, data, encodings))
    if not source.data or source.data.isspace():
        raise NoEvents(f"{path}: the file is empty")
    if b"\0" in source.data:
        line = source.data.count(b"\n", 0, source.data.index(b"\0")) + 1
        source.fail(
            line, "a NUL byte: not a text file, or text in an encoding to name, as in --data.encoding utf-16-le"
        )
    return source


def _unpacked(path: pathlib.Path, packed: bytes, limit_mib: int) -> bytes:
    try:
        return unpacked(path, packed, limit_mib)
    except CutOff as cut:
        problem = f"the {cut.kind} file is cut off or damaged ({cut.__cause__}); fetch it again"
        try:
            SourceFile(path, cut.readable).fail(cut.readable.count(b"\n") + 1, problem)
        except DataError as named:
            raise named from cut


def _as_utf8(path: pathlib.Path, data: bytes, encodings: tuple[str, ...]) -> bytes:
    if data.isascii() and {"utf-8", "latin-1"}.issuperset(encodings):
        return data
    problem = None
    for encoding in encodings:
        try:
            text = data.decode(encoding)
            return data if encoding == "utf-8" else text.encode("utf-8")
        except UnicodeError as error:
            problem = problem or error
        except LookupError as error:
            raise ValueError(f"encoding={encoding!r} is not known; give one as utf-8, latin-1 or cp1252") from error
    assert problem is not None
    if not isinstance(problem, UnicodeDecodeError):
        raise DataError(f"{path}: not {encodings[0]} ({problem}); name the encoding, as in --data.encoding latin-1")
    line = data.count(b"\n", 0, problem.start) + 1
    SourceFile(path, data).fail(
        line,
        f"byte 0x{data[problem.start]:02x} is not {encodings[0]}; name the encoding, as in --data.encoding latin-1",
    )
