"""The page of id scores: names of runs, and what stands in its tables."""

import re
import xml.etree.ElementTree as ET
from typing import Any

from jaxrec.report.id_scores_page import id_scores_page

HOSTILE = "\"&'<script>alert(1)<script>"


def run(ndcg: float | None, *entities: str) -> dict[str, Any]:
    score = {"diversity": 0.25, "error": 0.125, "memorization": 0.5, "curve": [[10, 0.2, 0.1], [100, 0.25, 0.01]]}
    return {"ndcg@10": ndcg, "before": dict.fromkeys(entities, score), "after": dict.fromkeys(entities, score)}


def body(page: str) -> ET.Element:
    match = re.search(r"<body>.*</body>", page, re.DOTALL)
    assert match is not None
    return ET.fromstring(match[0])


def test_names_of_runs_are_text_in_tables_charts_and_legends() -> None:
    names = [f"{HOSTILE} {n}" for n in "ab"]
    page = id_scores_page({f"runs/{name}": run(0.5, "items", "users") for name in names})
    assert "<script" not in page
    root = body(page)
    for section in root.iter("section"):
        for name in names:
            places = [
                "".join(e.itertext()) for e in section.iter() if e.tag.rpartition("}")[2] in ("th", "text", "span")
            ]
            assert places.count(name) == 4  # the table, two scatter plots and a legend
    assert all(name in "".join(root.itertext()) for name in names)


def test_a_row_for_each_run_and_a_section_for_each_entity() -> None:
    root = body(id_scores_page({"runs/one": run(0.5, "items"), "runs/two": run(None, "items", "users")}))
    tables = {
        section.get("id"): [["".join(cell.itertext()) for cell in row] for row in section.findall(".//tbody/tr")]
        for section in root.iter("section")
    }
    cells = ["0.2500 ± 0.1250"] * 2 + ["0.5000"] * 2
    assert tables == {"items": [["one", *cells, "0.5000"], ["two", *cells, "–"]], "users": [["two", *cells, "–"]]}


def test_runs_of_one_name_are_called_by_their_folders() -> None:
    root = body(id_scores_page({"a/run": run(0.5, "items"), "b/run": run(0.4, "items")}))
    assert [th.text for th in root.findall(".//tbody/tr/th")] == ["a/run", "b/run"]
