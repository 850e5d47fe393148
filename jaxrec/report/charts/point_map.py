"""Points in a plane without axes, as SVG."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from jaxrec.report.charts.svg import coordinate, element, empty_picture, picture, with_tooltip

SIZE, MARGIN = 460, 10


def point_map(places: np.ndarray, groups: Sequence[int], tooltips: Sequence[str], *, label: str) -> Markup:
    """Points in a plane whose axes mean nothing, coloured by group; a place that is not finite is left out.

    Args:
      places: f[n,2].
      groups: a number for each point; equal numbers get one colour.
      tooltips: what each point is.
      label: what is shown, for readers who cannot see it.
    """
    places, group = np.asarray(places, float).reshape(-1, 2), np.asarray(groups)
    finite = np.isfinite(places).all(axis=1)
    if not finite.any():
        return empty_picture(label)
    low, high = places[finite].min(axis=0), places[finite].max(axis=0)
    extent = np.where(high > low, high - low, 1.0)
    points: np.ndarray = MARGIN + (places - low) / extent * (SIZE - 2 * MARGIN)
    elements = []
    for n, one in enumerate(np.unique(group[finite])):
        dots = [
            with_tooltip(
                "circle", tooltips[int(i)], cx=coordinate(points[i, 0]), cy=coordinate(SIZE - points[i, 1]), r=3.2
            )
            for i in np.flatnonzero((group == one) & finite)
        ]
        elements.append(element("g", *dots, fill=_colour(n)))
    return picture(label, elements, size=(SIZE, SIZE), class_="chart points")


def _colour(n: int) -> str:
    """The n-th of many colours, far from its neighbours, that stands out on light and on dark ground."""
    red, green, blue = colorsys.hls_to_rgb(n * 0.381966 % 1, (0.45, 0.6, 0.52)[n % 3], (0.75, 0.6)[n % 2])
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
