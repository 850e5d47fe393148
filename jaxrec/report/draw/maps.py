"""Pictures without axes as SVG: points in a plane, and matrices."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

from jaxrec.report.draw.markup import element, place
from jaxrec.report.draw.svg import nothing, svg, titled


def points(places: np.ndarray, groups: Sequence[int], titles: Sequence[str], *, label: str) -> str:
    """Points in a plane whose axes mean nothing, coloured by group.

    Args:
      places: f[n,2].
      groups: a number for each point; equal numbers get one colour.
      titles: what each point is.
      label: what is shown, for those who can't see it.
    """
    places, numbers = np.asarray(places, float).reshape(-1, 2), np.asarray(groups)
    fine = np.isfinite(places).all(axis=1)
    if not fine.any():
        return nothing(label)
    low, high = places[fine].min(axis=0), places[fine].max(axis=0)
    size, margin = 460, 10
    spread = np.where(high > low, high - low, 1.0)
    at: np.ndarray = margin + (places - low) / spread * (size - 2 * margin)
    parts = []
    for n, group in enumerate(np.unique(numbers[fine])):
        dots = [
            titled("circle", titles[int(i)], cx=place(at[i, 0]), cy=place(size - at[i, 1]), r=3.2)
            for i in np.flatnonzero((numbers == group) & fine)
        ]
        parts.append(element("g", *dots, fill=_colour(n)))
    return svg(label, parts, size=(size, size), class_="chart points")


def matrix(values: np.ndarray, names: Sequence[str], *, label: str) -> str:
    """Numbers between -1 and 1 as squares, the stronger the more opaque; beyond that they are cut, NaN is left out.

    Args:
      values: f[n,n].
      names: of rows and columns.
      label: what is shown, for those who can't see it.
    """
    values = np.asarray(values, float)
    if not np.isfinite(values).any():
        return nothing(label)
    cells = []
    for row, column in np.argwhere(np.isfinite(values)):
        value = float(values[row, column])
        said = f"{names[row]} × {names[column]}: {value:.2f}"
        strength = place(min(abs(value), 1.0))
        sign = "minus" if value < 0 else "plus"
        cells.append(titled("path", said, d=f"M{column} {row}h1v1h-1z", class_=sign, fill_opacity=strength))
    return svg(label, cells, size=values.shape[::-1], class_="chart matrix")


def _colour(n: int) -> str:
    """The n-th of many colours, neighbours far apart, that stand out from light and from dark ground."""
    red, green, blue = colorsys.hls_to_rgb(n * 0.381966 % 1, (0.45, 0.6, 0.52)[n % 3], (0.75, 0.6)[n % 2])
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
