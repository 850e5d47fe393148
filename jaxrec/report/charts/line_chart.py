"""Lines along an axis, as SVG."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from jaxrec.report.charts.axes import PlotArea, draw_axes, ticks
from jaxrec.report.charts.svg import coordinate, element, empty_picture, picture, with_tooltip
from jaxrec.report.formatting import number


def line_chart(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]], *, label: str, x: str, y: str, most: int = 150
) -> Markup:
    """A line for each series, with a tooltip at each point; a value that is not finite interrupts its line.

    Series n has the class `s{n}`, from which the style sheet makes its colour.

    Args:
      series: x and y by name, x ascending.
      label: what is shown, for readers who cannot see it.
      x: name of the horizontal axis.
      y: name of the vertical axis.
      most: points of a line at most; if there are more, neighbours are averaged.
    """
    averaged = {
        name: _averaged(np.asarray(xs, float), np.asarray(ys, float), most) for name, (xs, ys) in series.items()
    }
    finite = {name: points[:, np.isfinite(points).all(axis=0)] for name, points in averaged.items()}
    if not sum(points.shape[1] for points in finite.values()):
        return empty_picture(label)
    all_points = np.concatenate(list(finite.values()), axis=1)
    (left, lowest), (right, highest) = all_points.min(axis=1).tolist(), all_points.max(axis=1).tolist()
    left = 0.0 if left > 0 and (left == right or left <= right - left) else left  # zero where it isn't far
    x_ticks, y_ticks = ticks(left, right), ticks(lowest, highest)
    end = max(right, x_ticks[1])
    area = PlotArea((x_ticks[0], end), (y_ticks[0], y_ticks[-1]))
    elements = [draw_axes(area, [tick for tick in x_ticks if tick <= end], y_ticks, x, y)]
    for n, (name, points) in enumerate(averaged.items()):
        if not finite[name].shape[1]:
            continue
        few = finite[name].shape[1] <= 40
        dots = [
            with_tooltip(
                "circle",
                f"{name}, {x} {number(point_x, 0 if abs(point_x) >= 10 else 4)}: {number(point_y)}",
                cx=coordinate(area.across(point_x)),
                cy=coordinate(area.down(point_y)),
                r=3.5 if few else 5,
            )
            for point_x, point_y in finite[name].T
        ]
        elements.append(element("path", d=_path(area, points), class_=f"line s{n}"))
        elements.append(element("g", *dots, class_=f"dot s{n}" if few else "hidden"))
    return picture(label, elements)


def _path(area: PlotArea, points: np.ndarray) -> str:
    """SVG path data of points f[2,n]; it starts anew after each point that is not finite."""
    path, command = [], "M"
    for x, y in points.T:
        if np.isfinite(x) and np.isfinite(y):
            path.append(f"{command}{coordinate(area.across(x))} {coordinate(area.down(y))}")
            command = "L"
        else:
            command = "M"
    return "".join(path)


def _averaged(x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """At most `most` points, f[2,n]: means of equally many neighbours."""
    points = np.stack([x, y])
    size = -(-points.shape[1] // most) if points.shape[1] else 1
    if size == 1:
        return points
    starts = np.arange(0, points.shape[1], size)
    return np.stack([points[:, start : start + size].mean(axis=1) for start in starts], axis=1)
