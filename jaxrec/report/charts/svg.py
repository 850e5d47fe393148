"""SVG elements, marks with a tooltip, and the picture around them. Every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from jaxrec.report.formatting import printable

WIDTH, HEIGHT = 460, 270
EMPTY = "nothing to show"


def element(name: str, *children: str, **attributes: object) -> Markup:
    """`<name attributes>children</name>`; children that are not Markup, and all attributes, are escaped.

    In an attribute's name a final `_` is dropped (`class_`) and others become hyphens (`stroke_width`); an attribute
    that is None is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(printable(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(child if isinstance(child, Markup) else escape(printable(child)) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>" if children else f"<{name}{written}/>")


def with_tooltip(name: str, tooltip: str, **attributes: object) -> Markup:
    """An element that shows a text while the pointer rests on it."""
    return element(name, element("title", tooltip), **attributes)


def coordinate(value: float) -> str:
    """A coordinate, rounded to a hundredth."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def empty_picture(label: str) -> Markup:
    """A picture that says that there is nothing to show."""
    text = element("text", EMPTY, x=WIDTH / 2, y=60, text_anchor="middle", class_="soft")
    return picture(f"{label}: {EMPTY}", [text], size=(WIDTH, 120))


def picture(
    label: str,
    elements: Sequence[Markup],
    *,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    extra_height: int = 0,
    class_: str = "chart",
) -> Markup:
    """The `<svg>` element.

    Args:
      label: what is shown, for readers who cannot see it.
      elements: what it is drawn of, first to last.
      size: width and height.
      extra_height: added to the height, at the bottom; may be negative.
      class_: for the style sheet.
    """
    box = f"0 0 {size[0]} {size[1] + extra_height}"
    namespace = "http://www.w3.org/2000/svg"
    return element("svg", *elements, xmlns=namespace, viewBox=box, role="img", aria_label=label, class_=class_)
