"""Numbers and texts as a page shows them."""

from __future__ import annotations

import math

MINUS = "−"
ABSENT = "–"


def number(value: float | None, digits: int = 4) -> str:
    """A number with thousands separated: integers whole, others with at most `digits` decimals; "–" if not finite."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    short = f"{value:,.{digits}f}"
    short = short.rstrip("0").rstrip(".") if digits else short
    return short if float(short.replace(",", "")) else f"{value:.1e}"


def decimals(value: float | None, digits: int = 4) -> str:
    """A number with exactly `digits` decimals and a typographic minus; "–" where there is none."""
    return ABSENT if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 4) -> str:
    """A difference: as `decimals`, with a plus sign where it is not negative."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def percent(share: float | None) -> str:
    """A share in [0, 1] as a percentage with one decimal; "–" where there is none."""
    return ABSENT if share is None or math.isnan(share) else f"{share:.1%}"


def duration(seconds: float) -> str:
    """Seconds as whole minutes and seconds: "3 min 20 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def printable(text: object) -> str:
    """The text without control characters, which neither HTML nor XML allows; tabs and line breaks stay."""
    return "".join(c for c in str(text) if c >= " " or c in "\t\n")
