"""The page is one file that names no other, for narrow and wide screens."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import jinja2
import pytest

from jaxrec.api.display import html_table
from jaxrec.report.charts.line_chart import line_chart
from jaxrec.report.page import Figure, Section, Tile, environment, render, render_page


class Tags(HTMLParser):
    """Counts what is opened and not closed, and collects attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def whole() -> str:
    chart = line_chart({"a": ([0, 1], [1.0, 2.0]), "b": ([0, 1], [2.0, 1.0])}, label="A & B", x="x", y="y")
    figures = [Figure("F", chart, legend=["a", "b"])]
    content = render("id_scores.html", entity="items", scores={}, when=("before", "after"), figures=figures)
    sections = [Section("one", "One <1>", content)]
    return render_page("Title <t>", "lead", sections, tiles=[Tile("HR@10", "0.1", "beside")], footer="foot")


def test_the_page_is_whole_and_loads_nothing() -> None:
    text = whole()
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    loads = [a for a in tags.attributes if a[1] in ("src", "href", "srcset", "data", "action", "poster")]
    assert [value for _, _, value in loads] == ["#one"]
    assert ("meta", "name", "viewport") in tags.attributes
    assert ("meta", "content", "width=device-width, initial-scale=1") in tags.attributes
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "prefers-color-scheme: dark" in style[1]
    assert "<script" not in text
    assert "Title &lt;t&gt;" in text


def test_the_body_is_xml_too() -> None:
    body = re.search(r"<body>.*</body>", whole(), re.DOTALL)
    assert body is not None
    root = ET.fromstring(body[0])
    names = {e.get("id") for e in root.iter() if e.get("id")}
    assert {"one", "one-title"} <= names
    assert root.find(".//section").get("aria-labelledby") in names  # pyright: ignore[reportOptionalMemberAccess]


def test_columns_rows_and_captions_of_a_table() -> None:
    template = """
        {% from "macros.html" import table %}
        {% call table(["a", "b<"], caption="T & t") %}
        {% for name, value in rows %}<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>{% endfor %}
        {% endcall %}
    """
    text = environment().from_string(template).render(rows=[("x", "1"), ("y", "")])
    table = ET.fromstring(f"<div>{text}</div>")
    assert [th.get("scope") for th in table.iter("th")] == ["col", "col", "row", "row"]
    assert [th.text for th in table.iter("th")] == ["a", "b<", "x", "y"]
    assert [td.text for td in table.iter("td")] == ["1", None]
    assert [div.get("aria-label") for div in table.iter("div") if div.get("role")] == ["T & t"]


def test_a_template_that_lacks_a_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="heatmap_items"):
        render("representations.html", map=Figure("Map", None), clusters=[], heatmaps=[])


def test_a_notebooks_table_escapes_and_rounds() -> None:
    name = "\"&'<script>alert(1)</script>"
    text = html_table(["title", name], [[name, 0.12345], [None, 3]], caption=name, note=name)
    assert "<script" not in text
    root = ET.fromstring(f"<div>{text}</div>")
    assert [th.text for th in root.iter("th")] == ["title", name]
    assert [td.text for td in root.iter("td")] == [name, "0.1235", "–", "3"]
    assert [e.text for tag in ("caption", "p") for e in root.iter(tag)] == [name, name]
