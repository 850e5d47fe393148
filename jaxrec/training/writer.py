"""Writes metrics as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
import pathlib
from typing import Any, TextIO

import tensorboardX

from jaxrec.files import write_whole
from jaxrec.progress import logger
from jaxrec.text import quoted
from jaxrec.types import DataError

Record = dict[str, Any]


class Writer:
    """Appends records to `folder/metrics.jsonl` and `folder/tensorboard`; without a folder only keeps them in memory.

    A run that resumes after `step` drops the lines of later steps, so that the file holds each step once.

    Attributes:
      records: the content of the file: {"step": ..., metric: value, ...}, oldest first.
    """

    def __init__(self, folder: pathlib.Path | None, step: int = 0) -> None:
        self.records: list[Record] = []
        self._file: TextIO | None = None
        self._board: tensorboardX.SummaryWriter | None = None  # opened by the first record: a finished run adds none
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        self.records = [r for r in read_records(path) if r["step"] <= step] if step else []
        write_whole(path, "".join(json.dumps(r) + "\n" for r in self.records))
        self._file = path.open("a", buffering=1)  # line buffered: a killed run loses no finished line
        self._folder, self._resumed = folder, step

    def write(self, step: int, **values: float) -> None:
        """One record: metrics by name, after `step` steps."""
        record = {"step": step, **values}
        self.records.append(record)
        if self._file is None:
            return
        self._file.write(json.dumps(record) + "\n")
        if self._board is None:
            purge = self._resumed + 1 if self._resumed else None
            self._board = tensorboardX.SummaryWriter(str(self._folder / "tensorboard"), purge_step=purge)
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes and closes both files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def read_records(path: pathlib.Path) -> list[Record]:
    """The records of a metrics.jsonl, [] if missing; a warning tells of an incomplete last line, left by a killed run.

    Raises:
      DataError: a line before the last one is no record; the message names file and line.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    lines = lines[:-1] if lines[-1] == b"" else lines
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if not (isinstance(record, dict) and isinstance(record.get("step"), int)):
                raise ValueError("no record with a step")
            records.append(record)
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                raise DataError(
                    f"{path}, line {number}: {quoted(line.decode('utf-8', 'replace'), 60)} is not a record of metrics "
                    "in JSON; mend or remove the line"
                ) from error
            logger.warning("%s: the last line is incomplete and was left out", path)
    return records
