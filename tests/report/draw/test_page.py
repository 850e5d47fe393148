"""The page is one file that names no other, for narrow and wide screens."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

from jaxrec.report.draw import charts
from jaxrec.report.draw.page import figure, grid, page, paragraph, section, tiles


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
    chart = charts.lines({"a": ([0, 1], [1.0, 2.0]), "b": ([0, 1], [2.0, 1.0])}, label="A & B", x="x", y="y")
    parts = [
        section("one", "One <1>", paragraph("text & more"), grid(figure("F", chart, legend=["a", "b"]), "<p>x</p>"))
    ]
    return page("Title <t>", "lead", tiles([("HR@10", "0.1", "beside")]), parts, "foot")


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
    assert "prefers-color-scheme:dark" in style[1]
    assert "<script" not in text
    assert "Title &lt;t&gt;" in text


def test_the_body_is_xml_too() -> None:
    body = re.search(r"<body>.*</body>", whole(), re.DOTALL)
    assert body is not None
    root = ET.fromstring(body[0])
    names = {e.get("id") for e in root.iter() if e.get("id")}
    assert {"one", "one-title"} <= names
    assert root.find(".//section").get("aria-labelledby") in names  # pyright: ignore[reportOptionalMemberAccess]
