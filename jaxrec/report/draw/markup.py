"""Elements of SVG and HTML as strings, numbers as people read them, and round steps of an axis."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence


def escape(text: object) -> str:
    """A text as it may stand between tags and in attributes; control characters, which XML forbids, are left out."""
    return html.escape("".join(c for c in str(text) if c >= " " or c in "\t\n"))


def element(name: str, *inner: str, **attributes: object) -> str:
    """`<name attributes>inner</name>`; `inner` is markup already, attributes are escaped.

    In attributes' names a `_` at the end is dropped (`class_`), others are hyphens (`stroke_width`); None leaves one
    out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(inner)}</{name}>" if inner else f"<{name}{written}/>"


def number(value: float | None, digits: int = 4) -> str:
    """A number with thousands apart: integers whole, others with so many decimals at most; "–" where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    short = f"{value:,.{digits}f}"
    short = short.rstrip("0").rstrip(".") if digits else short
    return short if float(short.replace(",", "")) else f"{value:.1e}"


def place(value: float) -> str:
    """A coordinate, to a hundredth."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from at most `low` to at least `high`, evenly apart, `most` at the most; three at least.

    Args:
      low: finite.
      high: finite, not below `low`.
      most: how many, at least 3.
    """
    if high <= low:
        pad = abs(low) / 2 or 0.5
        low, high = low - pad, high + pad
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (f * power for f in (1, 2, 2.5, 5, 10, 20, 25, 50)):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            return [round(n * step, 12) for n in range(first, last + 1)]
    raise AssertionError("no step was long enough")


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str | None = None, class_: str | None = None
) -> str:
    """A table that scrolls where it is wider than the page; the first cell of a row names it.

    Args:
      head: names of the columns, plain text.
      rows: cells as markup.
      caption: what the table holds, plain text.
      class_: for the style sheet.
    """
    title = element("p", escape(caption), class_="caption") if caption else ""  # a caption would scroll with the table
    top = element("tr", *(element("th", escape(name), scope="col") for name in head))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    whole = element("table", element("thead", top), element("tbody", *body or [""]), class_=class_)
    label = caption or ", ".join(head)
    return title + element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=label)
