"""Stored weights written into a model that may have more tokens, and how rows of new tokens then start."""

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
"""Our path of a weight, to its Hugging Face name and whether the array is transposed there."""
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
    """Writes stored weights into a model, in place, each in its variable's dtype.

    The OOV projection is scaled to the loaded table. Rows of tables that were not stored begin where words live:
    "random" draws them from a normal with each column's mean and deviation among the stored rows, none like another;
    "mean" makes all the mean row (Hewitt 2021); "anchors" is the mean row plus the token's anchor through the OOV
    projection, scaled so that these additions have the root mean square of the stored rows' deviation from their mean;
    tokens whose anchor is zeros, or that have none, are drawn. Draws are the model's own initial rows, standardised.

    Args:
      model: a language model with an `embedding`, its tables as long as its vocabulary and at least `text_rows`.
      flat: arrays by Hugging Face's names, in its layouts and in any floating dtype.
      names: where each goes: a Param or Frozen. An embedding's `rows`, for which there is no name, follow its table.
      tables: names of those with a row for each token.
      text_rows: how many rows of the stored tables are of tokens of text; T5 stores 32128 rows, of which its tokenizer
        uses 32100: give the number of the first new token. None: all that the model has room for.
      rule: how other rows start.
      anchors: f32[M,F], of the tokens from the embedding's first_oov on, for "anchors"; None: the embedding's own.
      source: the folder or name that the weights are from, for errors.
    Raises:
      ValueError: tensors are missing, unexpected, of another shape or of no floating dtype (names all of them), more
        tokens of text are wanted than rows were stored, or there are no anchors.
    """
    variables = dict(nnx.to_flat_state(nnx.state(model, (nnx.Param, Frozen))))
    absent = [path for path in names if path not in variables]
    assert not absent, f"the table of names and the module disagree about {absent}"
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
    start = _Start(rule, text_rows, embedding, None if anchors is None else np.asarray(anchors, np.float32))
    for path, (name, transposed) in names.items():
        value, variable = flat[name], variables[path]
        if name not in tables:
            variable[...] = _in_dtype(value.T if transposed else value, variable.dtype)
            continue
        initial = np.array(variable[:, text_rows:].T if transposed else variable[text_rows:], np.float32)
        rows = variables.get((*path[:-1], "rows")) if path[-1] == "table" else None
        first = len(initial) + text_rows - (0 if rows is None else rows.shape[0])
        if rows is not None:  # a frozen table's are coarser
            initial[max(first - text_rows, 0) :] = rows[max(text_rows - first, 0) :]
        new = start.rows(value, initial)
        whole = np.empty(variable.shape[::-1] if transposed else variable.shape, variable.dtype)
        whole[:text_rows], whole[text_rows:] = value[:text_rows], new
        variable[...] = _in_dtype(whole.T if transposed else whole, variable.dtype)
        if rows is not None:
            own = [value[first:text_rows].astype(np.float32), new[max(first - text_rows, 0) :]]
            rows[...] = _in_dtype(np.concatenate(own), rows.dtype)
    embedding.rescale()


class _Start:
    """How rows of new tokens start, by the rule of one call of `load_weights`."""

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
        has = anchors.any(axis=1)
        self.tokens = embedding.first_oov + np.flatnonzero(has)
        added = anchors[has] @ kernel
        spread = np.sqrt(np.mean(np.square(added))) if added.size else 0
        self.added = added / spread if spread > 0 else added

    def rows(self, stored: np.ndarray, initial: np.ndarray) -> np.ndarray:
        """Rows of the tokens from `text_rows` on, beside the stored rows [R,D], of which the first `text_rows` count.

        Args:
          stored: as it came, in any dtype.
          initial: f32[N,D], as the model was made; drawn normal, all at one scale.
        """
        if not len(initial):
            return initial
        mean, deviation = _moments(stored[: self.text_rows])
        if self.rule == "mean":
            return np.broadcast_to(mean, initial.shape)
        scale = initial.std()
        new = mean + deviation * (initial - initial.mean()) / (scale if scale > 0 else 1)
        if self.rule == "anchors":
            beside = self.tokens >= self.text_rows
            new[self.tokens[beside] - self.text_rows] = mean + np.sqrt(np.mean(deviation**2)) * self.added[beside]
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
    """All that keeps the weights from fitting, in one error."""
    problems = []
    if stored and text_rows > min(stored):
        problems.append(f"the tokenizer has {text_rows} tokens, the table of {source} only {min(stored)} rows")
    problems += [f"unexpected {name}" for name in sorted(set(flat) - {name for name, _ in names.values()})]
    for path, (name, transposed) in names.items():
        if name not in flat:
            problems.append(f"missing {name}")
            continue
        wanted, stored_shape = tuple(variables[path].shape), flat[name].shape
        wanted = wanted[::-1] if transposed else wanted
        if name in tables and len(stored_shape) == 2 and 0 < text_rows <= wanted[0]:
            wanted = (stored_shape[0], *wanted[1:])
        if stored_shape != wanted:
            problems.append(f"{name} is {stored_shape}, the model wants {wanted}")
        if flat[name].dtype not in FLOATS:
            problems.append(f"{name} is {flat[name].dtype}: weights that were quantized cannot be read")
    if problems:
        raise ValueError(f"weights do not fit the model ({source}): " + "; ".join(problems))


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for n in range(0, len(rows), CHUNK):
        yield rows[n : n + CHUNK].astype(np.float32)


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each column's mean and deviation, f32[D]; in parts, as a large table in bfloat16 should not be copied whole."""
    mean = sum(part.sum(0, dtype=np.float64) for part in _chunks(rows)) / len(rows)
    near = np.asarray(mean, np.float32)
    square = sum(np.square(part - near).sum(0, dtype=np.float64) for part in _chunks(rows)) / len(rows)
    return near, np.sqrt(square).astype(np.float32)


def _in_dtype(value: np.ndarray, dtype: Any) -> jax.Array:
    # A copy: JAX may otherwise keep using the memory of an array, here of a mapped file.
    return jnp.array(value.astype(dtype, copy=False), copy=True)
