"""Loads pretrained weights into a model with additional tokens, and initialises the rows of the new tokens."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import nnx

from jaxrec.models.oov import ExtendedEmbedding, Frozen

Path = tuple[str | int, ...]
Names = Mapping[Path, tuple[str, bool]]
"""For the path of each weight in our model, its Hugging Face name and whether it is stored transposed."""
FLOATS = frozenset(np.dtype(d) for d in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16))
CHUNK = 8192


def load_weights(
    model: Any,
    flat: Mapping[str, np.ndarray],
    names: Names,
    *,
    tables: Sequence[str],
    text_rows: int | None = None,
    rule: Literal["random", "mean", "anchors"] = "random",
    anchors: np.ndarray | jax.Array | None = None,
    source: str | os.PathLike[str] = "the stored model",
) -> None:
    """Copies pretrained weights into a model, in place, cast to the dtype of each variable.

    The OOV projection is rescaled to the loaded table. Table rows of new tokens are initialised by `rule`:
    "random": normal with each column's mean and standard deviation over the pretrained rows;
    "mean": the mean pretrained row (Hewitt 2021);
    "anchors": the mean row plus the token's anchor times the OOV projection, scaled so that these terms have the root
    mean square deviation of the pretrained rows from their mean; tokens without an anchor, or with a zero one, as
    "random". The random values are the model's initial rows, standardised.

    Args:
      model: a language model with an `embedding`; its tables have a row per token of the extended vocabulary.
      flat: arrays by Hugging Face's names, in its layouts, of any floating dtype.
      names: path of each array in the model, a Param or Frozen. The `rows` of an embedding (new tokens beside a frozen
        table) have no name of their own; they are set with the table.
      tables: names of the tensors with a row per token.
      text_rows: number of pretrained rows to keep, i.e. the number of the first new token; T5 stores 32128 rows, of
        which its tokenizer uses 32100. None: all that the model has room for.
      rule: initialisation of all other rows.
      anchors: f32[M,F], of the tokens from the embedding's first_oov on, for "anchors"; None: the embedding's own.
      source: folder or name of the stored model, for error messages.
    Raises:
      ValueError: tensors are missing, unexpected, of the wrong shape or not floating-point (the message lists all of
        them), `text_rows` exceeds the stored rows, or "anchors" is given without anchors or with too many.
    """
    variables = dict(nnx.to_flat_state(nnx.state(model, (nnx.Param, Frozen))))
    missing_paths = [path for path in names if path not in variables]
    assert not missing_paths, f"the table of names and the module disagree about {missing_paths}"
    embedding: ExtendedEmbedding = model.embedding
    if rule == "anchors" and anchors is None:
        if embedding.scope == "none":
            raise ValueError(
                'new rows from "anchors" want anchors, and a model with OOV scope "none" has none; '
                'pass them, or choose "random" or "mean"'
            )
        anchors = embedding.anchors[...]
    if anchors is not None and embedding.first_oov + len(anchors) > embedding.table.shape[0]:
        raise ValueError(
            f"{len(anchors)} anchors from token {embedding.first_oov} on exceed a table of {embedding.table.shape[0]}"
        )
    stored = [len(flat[name]) for name in tables if name in flat and flat[name].ndim]
    if text_rows is None:
        text_rows = min([embedding.table.shape[0], *stored])
    _check(variables, flat, names, tables, text_rows, stored, source)
    initialiser = _NewRows(rule, text_rows, embedding, None if anchors is None else np.asarray(anchors, np.float32))
    for path, (name, transposed) in names.items():
        value, variable = flat[name], variables[path]
        if name not in tables:
            variable[...] = _in_dtype(value.T if transposed else value, variable.dtype)
            continue
        initial = np.array(variable[:, text_rows:].T if transposed else variable[text_rows:], np.float32)
        rows = variables.get((*path[:-1], "rows")) if path[-1] == "table" else None
        first = len(initial) + text_rows - (0 if rows is None else rows.shape[0])
        if rows is not None:  # `rows` are float32, a frozen table may be bfloat16
            initial[max(first - text_rows, 0) :] = rows[max(text_rows - first, 0) :]
        new = initialiser.rows(value, initial)
        whole = np.empty(variable.shape[::-1] if transposed else variable.shape, variable.dtype)
        whole[:text_rows], whole[text_rows:] = value[:text_rows], new
        variable[...] = _in_dtype(whole.T if transposed else whole, variable.dtype)
        if rows is not None:
            trained_rows = [value[first:text_rows].astype(np.float32), new[max(first - text_rows, 0) :]]
            rows[...] = _in_dtype(np.concatenate(trained_rows), rows.dtype)
    embedding.rescale()


class _NewRows:
    """Initial rows of new tokens, for one call of `load_weights`."""

    def __init__(self, rule: str, text_rows: int, embedding: ExtendedEmbedding, anchors: np.ndarray | None) -> None:
        self.rule, self.text_rows = rule, text_rows
        if rule != "anchors" or anchors is None:
            return
        if embedding.scope == "none":
            orthogonal = jax.nn.initializers.orthogonal()
            shape = (anchors.shape[1], embedding.table.shape[1])
            kernel = np.asarray(orthogonal(jax.random.key(0), shape, jnp.float32))
        else:
            kernel = np.asarray(embedding.kernel[...])
        has_anchor = anchors.any(axis=1)
        self.tokens = embedding.first_oov + np.flatnonzero(has_anchor)
        added = anchors[has_anchor] @ kernel
        spread = np.sqrt(np.mean(np.square(added))) if added.size else 0
        self.added = added / spread if spread > 0 else added

    def rows(self, stored: np.ndarray, initial: np.ndarray) -> np.ndarray:
        """Initial rows of the tokens from `text_rows` on, f32[N,D].

        Args:
          stored: pretrained rows [R,D] of any floating dtype; statistics are over the first `text_rows`.
          initial: f32[N,D], the model's initial rows: normal, with one scale for all columns.
        """
        if not len(initial):
            return initial
        mean, deviation = _moments(stored[: self.text_rows])
        if self.rule == "mean":
            return np.broadcast_to(mean, initial.shape)
        scale = initial.std()
        new = mean + deviation * (initial - initial.mean()) / (scale if scale > 0 else 1)
        if self.rule == "anchors":
            is_new = self.tokens >= self.text_rows
            new[self.tokens[is_new] - self.text_rows] = mean + np.sqrt(np.mean(deviation**2)) * self.added[is_new]
        return new


def _check(
    variables: Mapping[Any, Any],
    flat: Mapping[str, np.ndarray],
    names: Names,
    tables: Sequence[str],
    text_rows: int,
    stored: Sequence[int],
    source: str | os.PathLike[str],
) -> None:
    """Checks names, shapes and dtypes of the weights.

    Raises:
      ValueError: some do not fit the model; the message lists all of them.
    """
    problems = []
    if stored and text_rows > min(stored):
        problems.append(f"the tokenizer has {text_rows} tokens, the table of {source} only {min(stored)} rows")
    problems += [f"unexpected {name}" for name in sorted(set(flat) - {name for name, _ in names.values()})]
    for path, (name, transposed) in names.items():
        if name not in flat:
            problems.append(f"missing {name}")
            continue
        expected, stored_shape = tuple(variables[path].shape), flat[name].shape
        expected = expected[::-1] if transposed else expected
        if name in tables and len(stored_shape) == 2 and 0 < text_rows <= expected[0]:
            expected = (stored_shape[0], *expected[1:])
        if stored_shape != expected:
            problems.append(f"{name} is {stored_shape}, the model wants {expected}")
        if flat[name].dtype not in FLOATS:
            problems.append(f"{name} is {flat[name].dtype}: weights that were quantized cannot be read")
    if problems:
        raise ValueError(f"weights do not fit the model ({source}): " + "; ".join(problems))


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for n in range(0, len(rows), CHUNK):
        yield rows[n : n + CHUNK].astype(np.float32)


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, f32[D]; in chunks, to avoid a float32 copy of a large table."""
    mean = sum(part.sum(0, dtype=np.float64) for part in _chunks(rows)) / len(rows)
    mean_f32 = np.asarray(mean, np.float32)
    variance = sum(np.square(part - mean_f32).sum(0, dtype=np.float64) for part in _chunks(rows)) / len(rows)
    return mean_f32, np.sqrt(variance).astype(np.float32)


def _in_dtype(value: np.ndarray, dtype: Any) -> jax.Array:
    # JAX may otherwise share memory with the array, here a memory-mapped file.
    return jnp.array(value.astype(dtype, copy=False), copy=True)
