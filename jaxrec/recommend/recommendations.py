"""Recommendations in readable form."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class RecommendationList:
    """One user's recommendations in readable form; `str` formats them.

    Attributes:
      who: the user, for display.
      history: (label, id) of the items in the prompt, oldest first; a label is the title, or title and name.
      items: (label, id, score, whether it is the held-out item), best first.
      score: a description of the scores.
      numbers: item numbers in the catalogue, in the order of `items`.
      note: why there are fewer items than asked for; "" where there are as many.
    """

    who: str
    history: list[tuple[str, str]]
    items: list[tuple[str, str, float, bool]]
    score: str
    numbers: list[int]
    note: str = ""

    def __str__(self) -> str:
        rows = [*self.history, *self.items]
        width, id_width = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
        lines = [self.who]
        if self.history:
            lines.append("  history, oldest first:")
            lines += [f"    {label:<{width}}  {tokens}" for label, tokens in self.history]
        lines.append(f"  recommendations, {self.score}:")
        for label, tokens, score, held_out in self.items:
            mark = "  <- the held-out item" if held_out else ""
            lines.append(f"    {label:<{width}}  {tokens:<{id_width}} {score:8.3f}{mark}")
        if self.note:
            lines.append(f"  {self.note}")
        return "\n".join(lines)
