"""Printed hit rates and NDCGs that can't both be right."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def find_contradictions(columns: Sequence[str], values: Sequence[str]) -> list[str]:
    """Printed hit rates and NDCGs of a row that no ranks can produce.

    With one held-out item per user, users hit between cutoffs a and b each add between 1 / log2(1 + b) and
    1 / log2(2 + a) to NDCG, so an increase of HR bounds that of NDCG, up to half a unit of the last printed digit.

    Args:
      columns: "HR@10", "N@10", ... of hit rates and NDCGs at the same cutoffs; other columns give no result.
      values: as printed.
    Returns:
      the cutoffs between which the increase is impossible, as "NG@20 to NG@30"; "NG@10" if the first is impossible.
    """
    hits: dict[int, tuple[float, float]] = {0: (0.0, 0.0)}
    gains: dict[int, tuple[float, float, str]] = {0: (0.0, 0.0, "")}
    for column, value in zip(columns, values, strict=True):
        name, mark, k = column.partition("@")
        if not mark or name not in ("H", "HR", "N", "NG", "NDCG") or "±" in value:
            return []
        half = 0.5 * 10.0 ** -len(value.partition(".")[2])
        if name in ("H", "HR"):
            hits[int(k)] = float(value), half
        else:
            gains[int(k)] = float(value), half, column
    contradictions = []
    for a, b in itertools.pairwise(sorted(set(hits) & set(gains))):
        rise, gain = hits[b][0] - hits[a][0], gains[b][0] - gains[a][0]
        slack = hits[b][1] + hits[a][1] + gains[b][1] + gains[a][1] + 1e-9
        low, high = rise / math.log2(1 + b), rise / math.log2(2 + a)
        if not (low - slack <= gain <= high + slack and rise >= -slack):
            contradictions.append(f"{gains[a][2]} to {gains[b][2]}" if a else gains[b][2])
    return contradictions
