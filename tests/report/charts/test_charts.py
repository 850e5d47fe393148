"""Charts are read back as XML: where marks stand is compared with the axes that are drawn beside them."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from jaxrec.report.charts.axes import ticks
from jaxrec.report.charts.bar_chart import bar_chart
from jaxrec.report.charts.heatmap import heatmap
from jaxrec.report.charts.line_chart import line_chart
from jaxrec.report.charts.point_map import point_map
from jaxrec.report.charts.scatter_plot import scatter_plot
from jaxrec.report.charts.svg import EMPTY, element

SVG = "{http://www.w3.org/2000/svg}"


def read(markup: str) -> ET.Element:
    root = ET.fromstring(markup)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "nan" not in markup.replace("ances", "").lower()
    assert "inf" not in re.sub(r">[^<]*<", "><", markup).lower()
    return root


def titles(root: ET.Element) -> list[str]:
    return [t.text or "" for t in root.iter(f"{SVG}title")]


def heights(root: ET.Element) -> dict[float, float]:
    """The y of each label of the upward axis, by its value."""
    found = {}
    for text in root.iter(f"{SVG}text"):
        if text.get("text-anchor") == "end" and text.get("class") == "soft":
            found[float((text.text or "").replace(",", ""))] = float(text.get("y", "")) - 4
    return found


def test_points_of_a_line_stand_at_their_values() -> None:
    root = read(line_chart({"loss": ([0, 50, 100], [3.0, 2.0, 1.0])}, label="Loss", x="step", y="loss"))
    at = heights(root)
    dots = root.findall(f".//{SVG}circle")
    assert [float(d.get("cy", "")) for d in dots] == pytest.approx([at[3.0], at[2.0], at[1.0]], abs=0.01)
    across = [float(d.get("cx", "")) for d in dots]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.02)
    assert titles(root) == ["loss, step 0: 3", "loss, step 50: 2", "loss, step 100: 1"]


def test_named_points_stand_at_their_values_and_names_apart() -> None:
    names = ["one", "two", "left out", "low"]
    root = read(scatter_plot([1.0, 1.0, np.nan, 3.0], [0.2, 0.2, 0.2, 0.1], names, label="S", x="x", y="y"))
    at, dots = heights(root), root.findall(f".//{SVG}circle")
    assert [float(d.get("cy", "")) for d in dots] == pytest.approx([at[0.2], at[0.2], at[0.1]], abs=0.01)
    assert titles(root) == ["one, x 1: 0.2", "two, x 1: 0.2", "low, x 3: 0.1"]
    lines = {t.text: float(t.get("y", "")) for t in root.iter(f"{SVG}text") if t.text in names}
    assert set(lines) == {"one", "two", "low"}
    assert lines["two"] - lines["one"] >= 14


def test_no_two_ticks_have_one_label() -> None:
    for high in (0.03, 0.12, 0.004, 7.0):
        root = read(line_chart({"a": ([0, 1], [0.0, high])}, label="A", x="x", y="y"))
        labels = sorted(heights(root))
        assert np.diff(labels) == pytest.approx(labels[1] - labels[0])


def test_a_line_is_interrupted_where_a_value_is_missing() -> None:
    root = read(line_chart({"a": ([0, 1, 2, 3, 4], [1.0, 2.0, np.nan, 2.0, np.inf])}, label="A", x="x", y="y"))
    path = next(p for p in root.iter(f"{SVG}path") if "line" in p.get("class", ""))
    assert path.get("d", "").count("M") == 2
    assert len(root.findall(f".//{SVG}circle")) == 3


def test_many_points_are_averaged_and_constants_are_drawn() -> None:
    x = np.arange(1000)
    root = read(line_chart({"a": (x, np.full(1000, 7.0))}, label="A", x="x", y="y", most=100))
    assert len(root.findall(f".//{SVG}circle")) == 100
    low, high = min(heights(root)), max(heights(root))
    assert low < 7 < high


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_nothing_is_said_where_there_is_nothing(values: list[float]) -> None:
    xs = list(range(len(values)))
    names = [str(x) for x in xs]
    square = np.full((len(values), len(values)), np.nan)
    for markup in (
        line_chart({"a": (xs, values)}, label="A", x="x", y="y"),
        line_chart({}, label="A", x="x", y="y"),
        bar_chart(names, {"a": values}, label="A", x="x", y="y"),
        point_map(np.full((len(values), 2), np.nan), xs, names, label="A"),
        heatmap(square, names, label="A"),
    ):
        assert EMPTY in "".join(read(markup).itertext())


def test_bars_reach_from_zero_to_their_values() -> None:
    markup = bar_chart(
        ["few", "many"],
        {"ours": [0.25, 0.5], "theirs": [0.0, np.nan]},
        intervals={"ours": [(0.2, 0.3), (0.4, 0.6)]},
        notes=["n=3", "n=4"],
        label="HR",
        x="events",
        y="HR@10",
    )
    root = read(markup)
    at = heights(root)
    per_unit = (at[0.0] - at[0.2]) / 0.2
    bars = root.findall(f".//{SVG}rect")
    assert [float(b.get("height", "")) / per_unit for b in bars] == pytest.approx([0.25, 0.5, 0.0], abs=1e-3)
    assert float(bars[0].get("y", "")) + float(bars[0].get("height", "")) == pytest.approx(at[0.0], abs=0.02)
    assert titles(root) == ["ours, few: 0.25 (0.2 to 0.3)", "ours, many: 0.5 (0.4 to 0.6)", "theirs, few: 0"]
    whiskers = [p.get("d", "") for p in root.iter(f"{SVG}path") if p.get("class") == "whisker"]
    low, high = (float(v) for v in re.findall(r"[\d.]+", whiskers[0])[1:])
    assert (at[0.0] - low) / per_unit == pytest.approx(0.2, abs=1e-3)
    assert (at[0.0] - high) / per_unit == pytest.approx(0.3, abs=1e-3)


def test_stacked_bars_stand_on_each_other() -> None:
    root = read(bar_chart(["c"], {"a": [2], "b": [3]}, label="C", x="x", y="y", stacked=True))
    lower, upper = root.findall(f".//{SVG}rect")
    assert float(upper.get("y", "")) + float(upper.get("height", "")) == pytest.approx(
        float(lower.get("y", "")), abs=0.02
    )
    assert float(upper.get("height", "")) == pytest.approx(1.5 * float(lower.get("height", "")), rel=1e-3)


def test_bars_of_zeros_are_drawn() -> None:
    assert len(read(bar_chart(["a", "b"], {"s": [0, 0]}, label="Z", x="x", y="y")).findall(f".//{SVG}rect")) == 2


def test_points_keep_their_places_and_groups_their_colours() -> None:
    places = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [np.nan, 0.0]])
    root = read(point_map(places, [0, 1, 1, 0], ["<a>", "b & c", "d", "e"], label="Map"))
    groups = root.findall(f"{SVG}g")
    assert len({g.get("fill") for g in groups}) == 2
    dots = {t: d for g in groups for d in g for t in titles(d)}
    assert set(dots) == {"<a>", "b & c", "d"}
    assert float(dots["<a>"].get("cx", "")) < float(dots["d"].get("cx", ""))
    assert float(dots["<a>"].get("cy", "")) > float(dots["d"].get("cy", ""))  # upwards
    same = point_map(np.ones((3, 2)), [0, 0, 0], ["a", "b", "c"], label="One place")
    assert len(read(same).findall(f".//{SVG}circle")) == 3


def test_squares_of_a_matrix_stand_in_their_row_and_column() -> None:
    values = np.array([[1.0, -0.5], [np.nan, 2.0]])
    root = read(heatmap(values, ["a", "b"], label="M"))
    cells = {c.get("d", "").split("h")[0]: c for c in root.iter(f"{SVG}path")}
    assert set(cells) == {"M0 0", "M1 0", "M1 1"}
    assert cells["M1 0"].get("class") == "minus"
    assert [cells[k].get("fill-opacity") for k in ("M0 0", "M1 0", "M1 1")] == ["1", "0.5", "1"]
    assert titles(cells["M1 0"]) == ["a × b: -0.50"]


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 1.0), (0.0113, 0.2087), (-3.0, 12345.0), (5.0, 5.0), (0.0, 0.0), (-1e-5, 2e-5), (1e6, 1e6 + 1)],
)
def test_ticks_are_even_and_reach_around(low: float, high: float) -> None:
    found = np.array(ticks(low, high))
    assert 3 <= len(found) <= 6
    assert found[0] <= low + 1e-12
    assert found[-1] >= high - 1e-12
    assert np.allclose(np.diff(found), np.diff(found)[0])


def test_texts_and_attributes_are_escaped() -> None:
    assert element("text", '<Item> & "x"\x00') == "<text>&lt;Item&gt; &amp; &#34;x&#34;</text>"
    assert element("g", element("title", "<")) == "<g><title>&lt;</title></g>"
    assert element("p", "a", class_="b", stroke_width=2, id=None) == '<p class="b" stroke-width="2">a</p>'
    assert element("p", label='"><script>\x00') == '<p label="&#34;&gt;&lt;script&gt;"/>'
    name = "\"&'<script>alert(1)</script>"
    for chart in (
        line_chart({name: ([0, 1], [1.0, 2.0])}, label=name, x=name, y=name),
        bar_chart([name], {name: [1.0]}, label=name, x=name, y=name, notes=[name]),
        scatter_plot([1.0], [2.0], [name], label=name, x=name, y=name),
        point_map(np.array([[0.0, 1.0]]), [0], [name], label=name),
        heatmap(np.array([[1.0]]), [name], label=name),
    ):
        root = read(chart)
        assert root.get("aria-label") == name
        assert any(name in title for title in titles(root))
        assert not [e for e in root.iter() if "script" in e.tag]
