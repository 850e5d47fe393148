"""Axes of a chart: round steps, the area between them, and how they are drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from markupsafe import Markup

from jaxrec.report.charts.svg import HEIGHT, WIDTH, coordinate, element
from jaxrec.report.formatting import number

LEFT, RIGHT, TOP, BOTTOM = 56, 24, 30, 46
"""Margins around the plot's area."""


@dataclasses.dataclass(frozen=True)
class PlotArea:
    """The area between the axes, and where values are drawn in it.

    Attributes:
      x, y: lowest and highest value of each axis.
    """

    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        """Distance of a value of x from the picture's left edge."""
        return LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def down(self, value: float) -> float:
        """Distance of a value of y from the picture's top edge."""
        return HEIGHT - BOTTOM - (value - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Evenly spaced round numbers, at least three, from at most `low` to at least `high`.

    Args:
      low: finite.
      high: finite, not below `low`.
      most: how many numbers at most, at least 3.
    """
    if high <= low:
        padding = abs(low) / 2 or 0.5
        low, high = low - padding, high + padding
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (factor * power for factor in (1, 2, 2.5, 5, 10, 20, 25, 50)):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            return [round(n * step, 12) for n in range(first, last + 1)]
    raise AssertionError("no step was long enough")


def draw_axes(
    area: PlotArea, x_ticks: Sequence[float], y_ticks: Sequence[float], x: str, y: str, extra_height: int = 0
) -> Markup:
    """Horizontal rules, the ticks' labels and the axes' names.

    Args:
      area: where values are drawn.
      x_ticks: labelled values of x.
      y_ticks: labelled values of y; each has a rule.
      x: name of the horizontal axis.
      y: name of the vertical axis.
      extra_height: of the picture, by which the name of x moves down.
    """
    digits = max((len(f"{tick:.12f}".rstrip("0").partition(".")[2]) for tick in y_ticks), default=0)
    rules = "".join(f"M{LEFT} {coordinate(area.down(tick))}H{WIDTH - RIGHT}" for tick in y_ticks)
    elements = [element("path", d=rules, class_="rule")]
    for tick in y_ticks:
        place = {"x": LEFT - 7, "y": coordinate(area.down(tick) + 4), "text_anchor": "end"}
        elements.append(element("text", f"{tick:,.{digits}f}", **place, class_="soft"))
    for tick in x_ticks:
        place = {"x": coordinate(area.across(tick)), "y": HEIGHT - BOTTOM + 18, "text_anchor": "middle"}
        elements.append(element("text", number(tick), **place, class_="soft"))
    elements.append(element("text", y, x=4, y=14, class_="name"))
    elements.append(element("text", x, x=WIDTH - RIGHT, y=HEIGHT - 6 + extra_height, text_anchor="end", class_="name"))
    return Markup("").join(elements)
