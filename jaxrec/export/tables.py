"""Text files of an exported folder: JSON, tables of users and items, samples."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any


def write_json(file: pathlib.Path, values: Any) -> None:
    """Writes JSON that people can read."""
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_samples(folder: pathlib.Path, samples: Sequence[Mapping[str, Any]], k: int, tolerance: float) -> None:
    """Writes samples.json, a line a user: lists of k items, to be found again within `tolerance`."""
    lines = ",\n".join(json.dumps(sample, ensure_ascii=False) for sample in samples)
    text = f'{{"k": {k}, "tolerance": {tolerance}, "samples": [\n{lines}\n]}}\n'
    (folder / "samples.json").write_text(text, encoding="utf-8")


def write_tsv(file: pathlib.Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Writes columns with their names in the first line; tabs, line ends and backslashes are escaped."""
    escapes = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
    rows = zip(*columns.values(), strict=True)
    lines = ["\t".join(columns), *("\t".join(str(value).translate(escapes) for value in row) for row in rows)]
    file.write_bytes(("\n".join(lines) + "\n").encode("utf-8"))
