"""Timing of recommendations and answers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def milliseconds_each(answer: Callable[[np.ndarray], Any], inputs: np.ndarray, rounds: int = 3) -> float:
    """Milliseconds per input: the median over rounds, after a warm-up round that compiles.

    Args:
      answer: processes all inputs; when it returns, its results are in host memory.
      inputs: users, prompts, ...: [n, ...].
      rounds: number of timed rounds.
    """
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        answer(inputs)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[1:]) / len(inputs)
