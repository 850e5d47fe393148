"""Rows as an HTML table for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxrec.report.page import render


def html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", note: str = "") -> str:
    """An HTML table; every text is escaped, floats have four decimals and None is "–".

    Args:
      columns: their names.
      rows: a value for each column.
      caption: above the table.
      note: a paragraph below it.
    """
    return str(render("notebook_table.html", columns=columns, rows=rows, caption=caption, note=note))
