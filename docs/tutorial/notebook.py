"""Makes tutorial.ipynb of index.md: python docs/tutorial/notebook.py."""

from __future__ import annotations

import json
import pathlib
import re

FOLDER = pathlib.Path(__file__).parent
CODE = re.compile(r"^```python\n(.*?)^```\n", re.DOTALL | re.MULTILINE)


def code_cells(page: str) -> list[str]:
    """The Python blocks of a page, in its order."""
    return CODE.findall(page)


def notebook(page: str) -> str:
    """A page as a notebook's JSON, without outputs: a cell for each Python block, and one for the text between two."""
    cells = []
    for place, text in enumerate(CODE.split(page)):  # text and code in turn
        if text.strip():
            cells.append(_cell("code" if place % 2 else "markdown", text.strip(), len(cells)))
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _cell(kind: str, text: str, number: int) -> dict:
    cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


if __name__ == "__main__":
    (FOLDER / "tutorial.ipynb").write_text(notebook((FOLDER / "index.md").read_text()))
