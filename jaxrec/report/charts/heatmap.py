"""A matrix as squares, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from jaxrec.report.charts.svg import coordinate, empty_picture, picture, with_tooltip


def heatmap(values: np.ndarray, names: Sequence[str], *, label: str) -> Markup:
    """Squares of one colour for positive and one for negative numbers, the more opaque the further from 0.

    Args:
      values: f[n,n]; beyond -1 and 1 the colour stays the same, what is not finite is left out.
      names: of rows and columns.
      label: what is shown, for readers who cannot see it.
    """
    values = np.asarray(values, float)
    if not np.isfinite(values).any():
        return empty_picture(label)
    squares = []
    for row, column in np.argwhere(np.isfinite(values)):
        value = float(values[row, column])
        squares.append(
            with_tooltip(
                "path",
                f"{names[row]} × {names[column]}: {value:.2f}",
                d=f"M{column} {row}h1v1h-1z",
                class_="minus" if value < 0 else "plus",
                fill_opacity=coordinate(min(abs(value), 1.0)),
            )
        )
    return picture(label, squares, size=values.shape[::-1], class_="chart matrix")
