"""Writes the text files of an export: JSON, tables of users and items, samples."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any


def write_json(file: pathlib.Path, values: Any) -> None:
    """Writes indented JSON."""
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_samples(folder: pathlib.Path, samples: Sequence[Mapping[str, Any]], k: int, tolerance: float) -> None:
    """Writes samples.json, a line per user.

    Args:
      folder: of the export.
      samples: prompts and lists of at most k items.
      k: length of the lists.
      tolerance: maximum difference of scores for `recommend.py --check` to agree.
    """
    lines = ",\n".join(json.dumps(sample, ensure_ascii=False) for sample in samples)
    text = f'{{"k": {k}, "tolerance": {tolerance}, "samples": [\n{lines}\n]}}\n'
    (folder / "samples.json").write_text(text, encoding="utf-8")


def write_tsv(file: pathlib.Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Writes columns as tab-separated values with a header; tabs, line ends and backslashes are escaped."""
    escapes = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
    rows = zip(*columns.values(), strict=True)
    lines = ["\t".join(columns), *("\t".join(str(value).translate(escapes) for value in row) for row in rows)]
    file.write_bytes(("\n".join(lines) + "\n").encode("utf-8"))
