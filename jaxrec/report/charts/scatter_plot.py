"""Named points at the values of two axes, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from jaxrec.report.charts.axes import LEFT, PlotArea, draw_axes, ticks
from jaxrec.report.charts.svg import WIDTH, coordinate, element, empty_picture, picture, with_tooltip
from jaxrec.report.formatting import number

LINE_HEIGHT = 14.0
LETTER_WIDTH = 7.0
GAP = 9
"""Between a point and its name."""


def scatter_plot(
    xs: Sequence[float], ys: Sequence[float], names: Sequence[str], *, label: str, x: str, y: str
) -> Markup:
    """Points with their names; a point with a value that is not finite is left out.

    Args:
      xs: values of x, one a name.
      ys: values of y, one a name.
      names: of the points; each is written beside its point, lower where it would cover another name.
      label: what is shown, for readers who cannot see it.
      x: name of the horizontal axis.
      y: name of the vertical axis.
    """
    points = np.array([xs, ys], float).reshape(2, -1)
    finite = np.flatnonzero(np.isfinite(points).all(axis=0))
    if not len(finite):
        return empty_picture(label)
    (left, lowest), (right, highest) = points[:, finite].min(axis=1).tolist(), points[:, finite].max(axis=1).tolist()
    x_ticks, y_ticks = ticks(left, right), ticks(lowest, highest)
    area = PlotArea((x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1]))
    elements, dots = [draw_axes(area, x_ticks, y_ticks, x, y)], []
    written: list[tuple[float, float, float]] = []  # left end, right end and height of each name so far
    for n in finite[np.argsort(-points[1, finite], kind="stable")]:
        across, down, name = area.across(points[0, n]), area.down(points[1, n]), names[int(n)]
        tooltip = f"{name}, {x} {number(points[0, n])}: {number(points[1, n])}"
        dots.append(with_tooltip("circle", tooltip, cx=coordinate(across), cy=coordinate(down), r=4.5))
        to_left = across > (LEFT + WIDTH) / 2
        width = LETTER_WIDTH * len(name)
        start, line = across - GAP - width if to_left else across + GAP, down + 4
        while any(
            start < other_end and other_start < start + width and abs(line - other_line) < LINE_HEIGHT
            for other_start, other_end, other_line in written
        ):
            line += 2
        written.append((start, start + width, line))
        edge = coordinate(across - GAP if to_left else across + GAP)
        anchor = "end" if to_left else "start"
        elements.append(element("text", name, x=edge, y=coordinate(line), text_anchor=anchor))
    elements.append(element("g", *dots, class_="dot s0"))
    return picture(label, elements)
