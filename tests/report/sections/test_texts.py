"""Metrics of tasks that write, and answers that hold what people or models wrote."""

import xml.etree.ElementTree as ET

from jaxrec.report.page import Tile
from jaxrec.report.sections.texts import text_tiles, texts_section

HOSTILE = "</td>\"&'<script>alert(1)</script>"
TEXTS = {
    "events": {"train": 80, "valid": 10, "test": 10, "kept_out": 0},
    "rows": [
        {"task": "rating", "system": "META ID", "baseline": False, "rmse": 1.25, "n": 10},
        {"task": "rating", "system": "mean", "baseline": True, "rmse": 1.5, "n": 10},
        {"task": "rating", "system": "median", "baseline": True, "rmse": 1.4, "n": 10},
        {"task": "review", "system": "META ID", "baseline": False, "bleu-4": 2.5, "n": 7},
        {"task": "review", "system": HOSTILE, "baseline": True, "bleu-4": 3.0, "n": 7},
    ],
    "examples": {
        "review": [
            {"user": HOSTILE, "item": HOSTILE, "given": HOSTILE, "answer": HOSTILE, "truth": "long " * 50 + HOSTILE}
        ]
    },
}


def section() -> ET.Element:
    return ET.fromstring(f"<section>{texts_section(TEXTS).content}</section>")


def test_a_table_for_each_task_with_its_decimals() -> None:
    tables = [
        [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")] for table in section().iter("table")
    ]
    assert tables[0] == [
        ["system", "RMSE", "events"],
        ["META ID", "1.2500", "10"],
        ["mean", "1.5000", "10"],
        ["median", "1.4000", "10"],
    ]
    assert tables[1] == [["system", "BLEU-4", "events"], ["META ID", "2.50", "7"], [HOSTILE, "3.00", "7"]]


def test_what_people_wrote_is_text_and_cut_where_it_is_long() -> None:
    content = texts_section(TEXTS).content
    assert "<script" not in content
    cells = ["".join(cell.itertext()) for cell in section().findall(".//details//tbody/tr/*")]
    assert cells == [*[HOSTILE] * 4, "long " * 48 + " …"]


def test_tiles_hold_the_best_baseline() -> None:
    assert text_tiles(TEXTS) == [
        Tile("rating, RMSE", "1.25", "median: 1.4"),
        Tile("review, BLEU-4", "2.5", f"{HOSTILE}: 3"),
    ]
