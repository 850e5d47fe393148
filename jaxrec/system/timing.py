"""How long answers take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def milliseconds_each(answer: Callable[[np.ndarray], Any], inputs: np.ndarray, rounds: int = 3) -> float:
    """Milliseconds that one of n answers takes: the median of some rounds, after one that compiles.

    Args:
      answer: answers all that it is given, in host memory when it returns.
      inputs: users, prompts, ...: [n, ...].
      rounds: that count.
    """
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        answer(inputs)
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken[1:]) / len(inputs)
