"""Runs any number of prompts on the device in batches of few shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np

from jaxrec.types import Array, TopK

MULTIPLE = 16  # prompts and lists of seen items are padded to multiples of this, so that few shapes are compiled
IN_FLIGHT = 8  # batches queued before one is awaited: a long queue of collectives can deadlock a CPU mesh

Outputs = TypeVar("Outputs")


def check_prompts(source: Array, seen: Array | None, n_items: int) -> tuple[np.ndarray, np.ndarray | None]:
    """`source` i32[B,S] and `seen` i32[B,X] as numpy arrays.

    Raises:
      ValueError: shapes don't fit each other, or `seen` holds a number that is no item.
    """
    source = np.asarray(source, np.int32)
    if source.ndim != 2:
        raise ValueError(f"source must be i32[B,S]; got shape {list(source.shape)}")
    if seen is None:
        return source, None
    seen = np.asarray(seen, np.int32)
    if seen.ndim != 2 or len(seen) != len(source):
        raise ValueError(f"seen must be i32[B,X] with B={len(source)}, as source; got shape {list(seen.shape)}")
    if seen.size and not -1 <= seen.min() <= seen.max() < n_items:
        raise ValueError(f"seen holds {seen.min()}..{seen.max()}; items are 0..{n_items - 1}, and -1 is padding")
    return source, seen


def check_allowed(allowed: Array | None, count: int, n_items: int) -> np.ndarray | None:
    """`allowed` bool[B,I] as a numpy array.

    Raises:
      ValueError: it is no mask of a row for each of `count` prompts and a column for each item.
    """
    if allowed is None:
        return None
    allowed = np.asarray(allowed)
    if allowed.shape != (count, n_items) or allowed.dtype != bool:
        wanted, got = [count, n_items], f"{allowed.dtype}{list(allowed.shape)}"
        raise ValueError(f"allowed must be bool{wanted}, a row per prompt and a column per item; got {got}")
    return allowed


def run_in_batches(
    run: Callable[[np.ndarray, np.ndarray | None, np.ndarray | None], TopK],
    source: np.ndarray,
    seen: np.ndarray | None,
    allowed: np.ndarray | None,
    k: int,
    *,
    users: int,
    multiple: int = 1,
) -> TopK:
    """The output of `run` for each prompt, in the order of the prompts.

    Args:
      run: the best k items for prompts i32[b,s], seen items i32[b,x] and masks bool[b,I], on the device.
      source: prompts, i32[B,S], padded with 0 at the end.
      seen: items to leave out, i32[B,X], or None.
      allowed: items that may be listed, bool[B,I], or None for all.
      k: number of items.
      users: maximum number of prompts in a batch.
      multiple: the number of prompts in a batch is a multiple of this, for instance of the devices.
    Returns:
      TopK of numpy arrays.
    """
    if not len(source):
        return TopK(np.zeros((0, k), np.int32), np.zeros((0, k), np.float32))
    return run_by_length(run, source, seen, allowed, users=users, multiple=multiple)


def run_by_length(
    run: Callable[[np.ndarray, np.ndarray | None, np.ndarray | None], Outputs],
    source: np.ndarray,
    seen: np.ndarray | None = None,
    allowed: np.ndarray | None = None,
    *,
    users: int,
    multiple: int = 1,
) -> Outputs:
    """As `run_in_batches`, for a `run` that returns a tree of arrays with a row per prompt; at least one prompt."""
    count = len(source)
    lengths = (source.shape[1] - (source[:, ::-1] != 0).argmax(axis=1)) * (source != 0).any(axis=1)
    order = np.argsort(lengths, kind="stable")  # prompts of similar length share a batch, to reduce padding
    batch = -(-min(users, 1 << (count - 1).bit_length()) // multiple) * multiple
    outputs: list[Outputs] = []
    for begin in range(0, count, batch):
        rows = order[begin : begin + batch]
        longest = max(int(lengths[rows[-1]]), 1)
        rows = np.pad(rows, (0, batch - len(rows)), mode="edge")
        prompts = _padded(source[rows, :longest], 0)
        closed = None if seen is None else _padded(seen[rows], -1)
        outputs.append(run(prompts, closed, None if allowed is None else allowed[rows]))
        if len(outputs) > IN_FLIGHT:
            jax.block_until_ready(outputs[-IN_FLIGHT])
    original_order = np.argsort(order)
    return jax.tree.map(lambda *parts: np.concatenate(parts)[original_order], *outputs)


def _padded(rows: np.ndarray, value: int) -> np.ndarray:
    """Rows padded to the next multiple of `MULTIPLE` columns, at least one."""
    width = max(-(-rows.shape[1] // MULTIPLE), 1) * MULTIPLE
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=value)
