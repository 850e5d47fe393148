"""Recommendations as people read them."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Shown:
    """One user's recommendations, for people; `str` lays them out.

    Attributes:
      who: whom they are for.
      history: (label, id) of the items that the prompt held, oldest first; a label is the title, or title and name.
      items: (label, id, score, whether it is the held-out item), best first.
      score: what the scores are.
      numbers: of the items in the catalogue, in the order of `items`.
    """

    who: str
    history: list[tuple[str, str]]
    items: list[tuple[str, str, float, bool]]
    score: str
    numbers: list[int]

    def __str__(self) -> str:
        shown = [*self.history, *self.items]
        width, id_width = (max((len(row[column]) for row in shown), default=0) for column in (0, 1))
        lines = [self.who]
        if self.history:
            lines.append("  history, oldest first:")
            lines += [f"    {label:<{width}}  {tokens}" for label, tokens in self.history]
        lines.append(f"  recommendations, {self.score}:")
        for label, tokens, score, held_out in self.items:
            mark = "  <- the held-out item" if held_out else ""
            lines.append(f"    {label:<{width}}  {tokens:<{id_width}} {score:8.3f}{mark}")
        return "\n".join(lines)
