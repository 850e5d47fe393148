"""Section "Where the answer looks": shares of attention as a table of shades."""

from __future__ import annotations

import numpy as np

from jaxrec.report.answer_attention import AnswerAttention
from jaxrec.report.page import Section, render


def attention_section(attention: AnswerAttention, titles: np.ndarray, user: str, n_best: int, rank: float) -> Section:
    """How strongly each token of an answer attends to each piece of its prompt.

    Args:
      attention: of one answer.
      titles: of all items, str[I].
      user: whose prompt it is.
      n_best: how many users, among whom this one was drawn, have a held-out item of the best rank.
      rank: of the user's held-out item, from 1; inf where the list lacks it.
    """
    rows = []
    for piece, item, shares in zip(attention.pieces, attention.items, attention.shares):
        title = str(titles[item]) if item >= 0 and str(titles[item]) not in piece else ""
        rows.append((piece, title, shares.tolist()))
    rest = np.clip(1 - attention.shares.sum(axis=0), 0, 1)
    content = render(
        "attention.html",
        user=user,
        n_best=n_best,
        answer=attention.answer,
        held_out=None if attention.item is None else str(titles[attention.item]),
        rank=rank if np.isfinite(rank) else None,
        rows=rows,
        answer_so_far=rest.tolist() if (rest > 1e-3).any() else [],
        largest=float(attention.shares.max(initial=0.0)) or 1.0,
    )
    return Section("attention", "Where the answer looks", content)
