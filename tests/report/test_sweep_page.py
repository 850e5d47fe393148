"""The page of a sweep: what its pictures and tables hold."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

from jaxrec.report.sweep_page import sweep_page

HOSTILE = "\"&'<script>alert(1)<script>"


def body(settings: Sequence[dict[str, Any]], values: Sequence[float], test=()) -> ET.Element:
    page = sweep_page(
        "toy, strict",
        settings,
        values,
        [f"{value:.4f} ± 0.0141" for value in values],
        metric="NDCG@10",
        test=test,
        test_columns=["HR@10"],
        command="jaxrec sweep x",
    )
    assert "<script" not in page
    match = re.search(r"<body>.*</body>", page, re.DOTALL)
    assert match is not None
    return ET.fromstring(match[0])


def named(root: ET.Element, tag: str) -> list[ET.Element]:
    return [element for element in root.iter() if element.tag.rpartition("}")[2] == tag]


def tooltips(figure: ET.Element) -> list[str]:
    return sorted("".join(title.itertext()) for title in named(figure, "title"))


def test_all_combinations_are_lines_of_one_field_for_each_value_of_the_other() -> None:
    grid = [{"quantizer.codebooks": k, "quantizer.codewords": n} for k in (1, 2, 3) for n in (128, 256)]
    values = [k * 0.01 + n * 1e-5 for k in (1, 2, 3) for n in (128, 256)]
    values[0] = -math.inf  # diverged
    first, second = named(body(grid, values), "figure")
    assert tooltips(first) == [
        "quantizer.codewords 128, quantizer.codebooks 2: 0.0213",
        "quantizer.codewords 128, quantizer.codebooks 3: 0.0313",
        "quantizer.codewords 256, quantizer.codebooks 1: 0.0126",
        "quantizer.codewords 256, quantizer.codebooks 2: 0.0226",
        "quantizer.codewords 256, quantizer.codebooks 3: 0.0326",
    ]
    assert "A line for each quantizer.codewords." in "".join(first.itertext())
    assert len(named(second, "span")) == 3
    assert len(tooltips(second)) == 5


def test_of_several_other_fields_the_best_is_drawn() -> None:
    grid = [{"a": a, "b": b, "c": c} for a in (0.0, 0.5) for b in (1, 2) for c in ("x", "y")]
    root = body(grid, [0.1 * n + 0.01 for n in range(8)])
    a, _, c = named(root, "figure")
    assert tooltips(a) == ["a, a 0.5: 0.71", "a, a 0: 0.31"]
    assert "The best setting with each value; b, c vary." in "".join(a.itertext())
    assert tooltips(c) == ["c, x: 0.61", "c, y: 0.71"]
    cells = [["".join(cell.itertext()) for cell in row] for row in root.findall(".//tbody/tr")]
    assert cells[0] == ["1", "0.0", "1", "x", "0.0100 ± 0.0141"]


def test_drawn_settings_are_points_and_wide_ranges_logarithms() -> None:
    drawn = [{"train.learning_rate": 10.0**-n, "ids.clusters": 20 + n, "task.tasks": ["a", "b"]} for n in range(1, 6)]
    rate, clusters, tasks = named(body(drawn, [0.1 / n for n in range(1, 6)]), "figure")
    assert tooltips(rate)[0] == "1, train.learning_rate, as a power of ten -1: 0.1"
    assert len(tooltips(clusters)) == 5
    assert tooltips(tasks) == ["task.tasks, a + b: 0.1"]


def test_names_are_text() -> None:
    root = body([{"ids.kind": HOSTILE}, {"ids.kind": "cid"}], [0.2, 0.1], test=[(HOSTILE, ["0.5"])])
    assert "".join(root.itertext()).count(HOSTILE) >= 3
