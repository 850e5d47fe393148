"""What all drawings are made of: the picture itself, marks that tell their value, a line where there is nothing."""

from __future__ import annotations

from collections.abc import Sequence

from jaxrec.report.draw.markup import element, escape

WIDTH, HEIGHT = 460, 270
EMPTY = "nothing to show"


def titled(name: str, said: str, **attributes: object) -> str:
    """A mark that says what it is where the pointer rests on it."""
    return element(name, element("title", escape(said)), **attributes)


def nothing(label: str) -> str:
    """A picture that says that there is nothing to show."""
    text = element("text", EMPTY, x=WIDTH / 2, y=60, text_anchor="middle", class_="soft")
    return svg(f"{label}: {EMPTY}", [text], size=(WIDTH, 120))


def svg(
    label: str,
    parts: Sequence[str],
    *,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    below: int = 0,
    class_: str = "chart",
) -> str:
    """The picture.

    Args:
      label: what is shown, for those who can't see it.
      parts: markup.
      size: width and height.
      below: more height, under the picture.
      class_: for the style sheet.
    """
    box = f"0 0 {size[0]} {size[1] + below}"
    return element(
        "svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=box, role="img", aria_label=label, class_=class_
    )
