"""Charts as SVG: lines, bars and scatters. What the pointer rests on is told by a `<title>`.

Colours come from the page's style sheet: series n has the class `s{n}`. Values that are not finite are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.report.draw.markup import element, escape, number, place, ticks
from jaxrec.report.draw.svg import HEIGHT, WIDTH, nothing, svg, titled

LEFT, RIGHT, TOP, BOTTOM = 56, 24, 30, 46


@dataclasses.dataclass(frozen=True)
class Frame:
    """The plot's area, and where values stand in it.

    Attributes:
      x, y: lowest and highest value of each axis.
    """

    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        """Where a value of x stands, from the left."""
        return LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def up(self, value: float) -> float:
        """Where a value of y stands, from the top."""
        return HEIGHT - BOTTOM - (value - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, label: str, x: str, y: str, most: int = 150
) -> str:
    """Values along an axis, a line a series; a value that is not finite interrupts its line.

    Args:
      series: x and y by name, x ascending.
      label: what is shown, for those who can't see it.
      x: name of the axis across.
      y: name of the axis up.
      most: points of a line; of more, neighbours are averaged.
    """
    drawn = {name: _averaged(np.asarray(xs, float), np.asarray(ys, float), most) for name, (xs, ys) in series.items()}
    finite = {name: np.isfinite(points).all(axis=0) for name, points in drawn.items()}
    kept = [points[:, finite[name]] for name, points in drawn.items()]
    if not kept or not sum(points.shape[1] for points in kept):
        return nothing(label)
    whole = np.concatenate(kept, axis=1)
    (left, lowest), (right, highest) = whole.min(axis=1).tolist(), whole.max(axis=1).tolist()
    left = 0.0 if left > 0 and (left == right or left <= right - left) else left  # zero where it isn't far
    x_ticks, y_ticks = ticks(left, right), ticks(lowest, highest)
    first, last = x_ticks[0], max(right, x_ticks[1])
    frame = Frame((first, last), (y_ticks[0], y_ticks[-1]))
    x_ticks = [t for t in x_ticks if t <= last]
    parts = [_axes(frame, x_ticks, y_ticks, x, y)]
    for n, (name, points) in enumerate(drawn.items()):
        path, pen = [], "M"
        for across, up in points.T:
            if not (np.isfinite(across) and np.isfinite(up)):
                pen = "M"
                continue
            path.append(f"{pen}{place(frame.across(across))} {place(frame.up(up))}")
            pen = "L"
        few = len(path) <= 40
        dots = [
            titled(
                "circle",
                f"{name}, {x} {number(a, 0)}: {number(b)}",
                cx=place(frame.across(a)),
                cy=place(frame.up(b)),
                r=3.5 if few else 5,
            )
            for a, b in points.T[finite[name]]
        ]
        if path:
            parts.append(element("path", d="".join(path), class_=f"line s{n}"))
            parts.append(element("g", *dots, class_=f"dot s{n}" if few else "hidden"))
    return svg(label, parts)


def bars(
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    label: str,
    x: str,
    y: str,
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    notes: Sequence[str] | None = None,
    stacked: bool = False,
) -> str:
    """Bars from zero, side by side or on each other.

    Args:
      names: of the groups; written below them where they are few.
      series: a value a group, at least 0, by name.
      label: what is shown, for those who can't see it.
      x: name of the axis across.
      y: name of the axis up.
      intervals: (low, high) for each bar, drawn as whiskers.
      notes: a second line below each group.
      stacked: a group's bars stand on each other.
    """
    values = np.array([list(row) for row in series.values()], float).reshape(len(series), len(names))
    if not np.isfinite(values).any():
        return nothing(label)
    shown = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    high = float(shown.sum(axis=0).max() if stacked else shown.max())
    for row in (intervals or {}).values():
        high = max(high, *(end for _, end in row if np.isfinite(end)), 0.0)
    y_ticks = ticks(0.0, high) if high > 0 else [0.0, 0.5, 1.0]
    frame = Frame((0, len(names)), (0.0, y_ticks[-1]))
    few = len(names) <= 8
    below = 16 if few and notes else 0 if few else -22
    parts = [_axes(frame, [], y_ticks, x, y, below)]
    room = 0.74 if few else 0.9
    width = room / (1 if stacked else max(len(series), 1))
    floor = np.zeros(len(names))
    for n, name in enumerate(series):
        drawn = []
        for group, value in enumerate(values[n]):
            if not np.isfinite(value):
                continue
            left = group + (1 - room) / 2 + (0 if stacked else n * width)
            span = (intervals or {}).get(name)
            said = f"{name}, {names[group]}: {number(value)}"
            if span and np.isfinite(span[group]).all():
                said += f" ({number(span[group][0])} to {number(span[group][1])})"
            top = frame.up(floor[group] + value)
            drawn.append(
                titled(
                    "rect",
                    said,
                    x=place(frame.across(left)),
                    y=place(top),
                    width=place(frame.across(width) - frame.across(0)),
                    height=place(frame.up(floor[group]) - top),
                )
            )
            if span and np.isfinite(span[group]).all():
                middle = place(frame.across(left + width / 2))
                ends = [place(frame.up(end)) for end in span[group]]
                drawn.append(element("path", d=f"M{middle} {ends[0]}V{ends[1]}", class_="whisker"))
        if stacked:
            floor += shown[n]
        parts.append(element("g", *drawn, class_=f"bar s{n}"))
    for group, name in enumerate(names if few else []):
        middle = place(frame.across(group + 0.5))
        parts.append(element("text", escape(name), x=middle, y=HEIGHT - BOTTOM + 16, text_anchor="middle"))
        if notes:
            note = element(
                "text", escape(notes[group]), x=middle, y=HEIGHT - BOTTOM + 31, text_anchor="middle", class_="soft"
            )
            parts.append(note)
    return svg(label, parts, below=below)


def scatter(across: Sequence[float], up: Sequence[float], names: Sequence[str], *, label: str, x: str, y: str) -> str:
    """Points that are named, at values of two axes; one with a value that is not finite is left out.

    Args:
      across: values of x, as many as there are names.
      up: and of y.
      names: of the points; each stands beside its point, lower where it would lie on another one.
      label: what is shown, for those who can't see it.
      x: name of the axis across.
      y: name of the axis up.
    """
    at = np.array([across, up], float).reshape(2, -1)
    kept = np.flatnonzero(np.isfinite(at).all(axis=0))
    if not len(kept):
        return nothing(label)
    (left, lowest), (right, highest) = at[:, kept].min(axis=1).tolist(), at[:, kept].max(axis=1).tolist()
    x_ticks, y_ticks = ticks(left, right), ticks(lowest, highest)
    frame = Frame((x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1]))
    parts, dots, apart = [_axes(frame, x_ticks, y_ticks, x, y)], [], 14.0
    taken: list[tuple[float, float, float]] = []
    for n in kept[np.argsort(-at[1, kept], kind="stable")]:
        here, name = (frame.across(at[0, n]), frame.up(at[1, n])), names[n]
        dots.append(
            titled(
                "circle",
                f"{name}, {x} {number(at[0, n])}: {number(at[1, n])}",
                cx=place(here[0]),
                cy=place(here[1]),
                r=4.5,
            )
        )
        to_left = here[0] > (LEFT + WIDTH) / 2
        wide = 7.0 * len(name)
        start, line = here[0] - 9 - wide if to_left else here[0] + 9, here[1] + 4
        while any(start < end and begin < start + wide and abs(line - other) < apart for begin, end, other in taken):
            line += 2
        taken.append((start, start + wide, line))
        anchor = "end" if to_left else "start"
        edge = place(here[0] - 9 if to_left else here[0] + 9)
        parts.append(element("text", escape(name), x=edge, y=place(line), text_anchor=anchor))
    parts.append(element("g", *dots, class_="dot s0"))
    return svg(label, parts)


def _averaged(x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """At most so many points, f[2,*]: means of as many neighbours each."""
    points = np.stack([x, y])
    size = -(-points.shape[1] // most) if points.shape[1] else 1
    starts = np.arange(0, points.shape[1], size)
    if size == 1:
        return points
    return np.stack([points[:, s : s + size].mean(axis=1) for s in starts], axis=1)


def _axes(frame: Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], x: str, y: str, below: int = 0) -> str:
    digits = max((len(f"{t:.12f}".rstrip("0").partition(".")[2]) for t in y_ticks), default=0)
    grid = "".join(f"M{LEFT} {place(frame.up(t))}H{WIDTH - RIGHT}" for t in y_ticks)
    parts = [element("path", d=grid, class_="rule")]
    for t in y_ticks:
        text = f"{t:,.{digits}f}"
        parts.append(element("text", text, x=LEFT - 7, y=place(frame.up(t) + 4), text_anchor="end", class_="soft"))
    for t in x_ticks:
        across = place(frame.across(t))
        parts.append(element("text", number(t), x=across, y=HEIGHT - BOTTOM + 18, text_anchor="middle", class_="soft"))
    parts.append(element("text", escape(y), x=4, y=14, class_="name"))
    parts.append(element("text", escape(x), x=WIDTH - RIGHT, y=HEIGHT - 6 + below, text_anchor="end", class_="name"))
    return "".join(parts)
