"""HTML tables for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxrec.report.page import render


def html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", note: str = "") -> str:
    """An HTML table; text is escaped, floats have four decimals and None is shown as "–".

    Args:
      columns: names of the columns.
      rows: each holds one value per column.
      caption: text above the table.
      note: text below the table.
    """
    return str(render("notebook_table.html", columns=columns, rows=rows, caption=caption, note=note))
