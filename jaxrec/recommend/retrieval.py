"""Top-k items by cosine over a whole catalogue on the accelerator, and a recommender based on it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxrec.platform import on_cpu
from jaxrec.recommend.batches import check_allowed, check_prompts, run_in_batches
from jaxrec.recommend.blockwise_top_k import (
    Closed,
    approximate_top_k,
    exact_top_k,
    inverse,
    norms_of,
    pad_to_multiple,
)
from jaxrec.types import Array, TopK

CACHED_ITEMS = 8192  # rows of scores that stay in a CPU's cache; tuned
BLOCK = 65536  # on other devices: few steps, 64 MB of scores for 256 users


def nearest_items(
    z: Array,
    items: Array,
    k: int,
    *,
    seen: Array | None = None,
    allowed: Array | None = None,
    norms: Array | None = None,
    approximate: bool = False,
    block: int | None = None,
) -> TopK:
    """Top-k items by cosine between predictions and item vectors.

    TokenRec, eq. (19): score = <z, q> / (|z| |q|). Items are scored in blocks, and only the best score of each
    group of consecutive items is kept. The k groups with the best scores contain the k best items and are scored again.
    Exact up to float32 rounding: items whose scores differ by less may swap, equal vectors do not.

    Args:
      z: predicted vectors, f32[B,F]; a row of zeros scores 0 with every item.
      items: item vectors, f32 or bf16 [I,F], of any length; rows of zeros are unknown items and never recommended.
        On a CPU, XLA makes a float32 copy of bf16 items.
      k: number of items, at most I.
      seen: items to leave out, i32[B,X], -1 = padding, or None.
      allowed: items that may be listed, unless they are seen, bool[B,I], or None for all.
      norms: `norms_of(items)`, f32[I], if available; None computes it.
      approximate: use `jax.lax.approx_max_k` on each block, which is faster on a TPU and misses some items (its default
        recall is 0.95); exact on CPU and GPU.
      block: items scored at a time; scores take B * block floats.
    Returns:
      TopK, best first, ties lowest item first, scores in [-1, 1]; -1 with -inf if fewer than k items are left.
    Raises:
      ValueError: k is not positive or exceeds the number of items, or shapes don't fit each other.
    """
    _check(z, items, k, seen, allowed)
    if block is not None and block < 1:
        raise ValueError(f"block={block} must be at least 1")
    z = _unit(jnp.asarray(z))
    items, seen, allowed, norms = jax.tree.map(jnp.asarray, (items, seen, allowed, norms))
    block = block or (CACHED_ITEMS if on_cpu() else BLOCK)
    top_k = approximate_top_k if approximate else exact_top_k
    scores, numbers = top_k(z, items, k, Closed(seen, None if allowed is None else allowed.T), norms, block)
    return TopK(jnp.where(scores > -jnp.inf, numbers, -1), scores)


def nearest_items_sharded(
    mesh: Mesh,
    z: Array,
    items: Array,
    k: int,
    *,
    seen: Array | None = None,
    allowed: Array | None = None,
    norms: Array | None = None,
    **options: Any,
) -> TopK:
    """`nearest_items` with items sharded over the mesh axis `model` and users over `data`; the same result.

    Each device searches its items for its users; k candidates of each are gathered and ranked again.

    Args:
      mesh: has the axes `data` and `model`.
      z: f32[B,F].
      items: [I,F]; rows that don't divide over the mesh are padded, which copies: see `place_items`.
      k: number of items, at most I.
      seen: i32[B,X] or None.
      allowed: bool[B,I] or None.
      norms: f32[I] or None.
      **options: `approximate` and `block` of `nearest_items`.
    Returns:
      As `nearest_items`.
    Raises:
      ValueError: as `nearest_items`.
    """
    _check(z, items, k, seen, allowed)
    users, shards = z.shape[0], mesh.shape["model"]
    z = pad_to_multiple(jnp.asarray(z), mesh.shape["data"], 0)
    seen = jnp.zeros((users, 0), jnp.int32) if seen is None else jnp.asarray(seen)
    seen = pad_to_multiple(seen, mesh.shape["data"], -1)
    items = pad_to_multiple(jnp.asarray(items), shards, 0)
    if allowed is not None:
        allowed = pad_to_multiple(pad_to_multiple(jnp.asarray(allowed), mesh.shape["data"], 0).T, shards, 0).T
    norms = None if norms is None else pad_to_multiple(jnp.asarray(norms), shards, 0)
    per_shard = items.shape[0] // shards

    def local(z, items, seen, allowed, norms):
        first = lax.axis_index("model") * per_shard
        is_local = (seen >= first) & (seen < first + per_shard)
        local_seen = jnp.where(is_local, seen - first, -1)
        top = nearest_items(z, items, min(k, per_shard), seen=local_seen, allowed=allowed, norms=norms, **options)
        numbers = jnp.where(top.items >= 0, top.items + first, -1)
        # Shards are in the order of items, so ties still come lowest item first.
        numbers, scores = (lax.all_gather(x, "model", axis=1, tiled=True) for x in (numbers, top.scores))
        scores, positions = lax.top_k(scores, k)
        return TopK(jnp.take_along_axis(numbers, positions, axis=1), scores)

    by_item = P("model")
    top = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(
            P("data"),
            by_item,
            P("data"),
            None if allowed is None else P("data", "model"),
            None if norms is None else by_item,
        ),
        out_specs=P("data"),
        check_vma=False,  # all_gather leaves equal values, which the check can't know
    )(z, items, seen, allowed, norms)
    return TopK(top.items[:users], top.scores[:users])


def place_items(items: Array, mesh: Mesh | None = None) -> jax.Array:
    """Puts item vectors [I,F] on the device, or shards them over the mesh axis `model`, padded with rows of zeros."""
    if mesh is None:
        return jnp.asarray(items)
    rows = -len(items) % mesh.shape["model"]
    return jax.device_put(np.pad(np.asarray(items), ((0, rows), (0, 0))), NamedSharding(mesh, P("model")))


def search_memory(
    batch: int, n_items: int, width: int, k: int, block: int | None = None, *, n_seen: int = 0, dtype: Any = jnp.float32
) -> int:
    """Bytes that a device needs for `nearest_items`, arguments included, by the compiler's memory analysis.

    Nothing is allocated. `batch`, `n_items` and `n_seen` are B, I and X.
    """
    shape = jax.ShapeDtypeStruct
    seen = shape((batch, n_seen), jnp.int32) if n_seen else None
    z, norms = shape((batch, width), jnp.float32), shape((n_items,), jnp.float32)
    traced = jax.jit(nearest_items, static_argnames=("k", "block")).trace(
        z, shape((n_items, width), dtype), k, seen=seen, norms=norms, block=block
    )
    analysis: Any = traced.lower().compile().memory_analysis()
    return analysis.argument_size_in_bytes + analysis.temp_size_in_bytes + analysis.output_size_in_bytes


class VectorRecommender:
    """Recommends the items nearest to the model's output vector; a `jaxrec.types.Recommender`.

    `model` and `items` may be replaced by others of the same shape without recompilation. New items are added this
    way: their vectors replace rows of zeros.

    Args:
      model: a pytree; an argument of the compiled function, not a constant in it.
      items: item vectors, f32 or bf16 [I,F]; rows of zeros are never recommended.
      query: a pure function, (model, source i32[B,S]) -> query vectors f32[B,F].
      batch_users: users on the device at a time.
      approximate: see `nearest_items`.
      mesh: shards items over its axis `model` and users over `data`; None takes the default device.
    """

    def __init__(
        self,
        model: Any,
        items: Array,
        *,
        query: Callable[[Any, Array], Array],
        batch_users: int = 64,
        approximate: bool = False,
        mesh: Mesh | None = None,
    ) -> None:
        self.mesh = mesh
        self.model = model
        self.batch_users = batch_users
        self.items = items

        def recommend(model, source, items, norms, seen, allowed, k):
            find = nearest_items if mesh is None else functools.partial(nearest_items_sharded, mesh)
            options = {"norms": norms, "approximate": approximate}
            return find(query(model, source), items, k, seen=seen, allowed=allowed, **options)

        self._recommend = jax.jit(recommend, static_argnames="k")

    @property
    def model(self) -> Any:
        """The model on the device; with a mesh, other arrays are replicated on its devices."""
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        if self.mesh is not None:
            everywhere = NamedSharding(self.mesh, P())
            devices = everywhere.device_set

            def place(x: Array) -> jax.Array:
                is_placed = isinstance(x, jax.Array) and x.sharding.device_set == devices
                return x if is_placed else jax.device_put(x, everywhere)

            model = jax.tree.map(place, model)
        self._model = model

    @property
    def items(self) -> jax.Array:
        """Item vectors on the device; with a mesh, rows of zeros may be appended."""
        return self._items

    @items.setter
    def items(self, items: Array) -> None:
        if items.ndim != 2 or not len(items):
            raise ValueError(f"items must be f32[I,F] with an item; got shape {list(items.shape)}")
        if not bool(jnp.isfinite(items).all()):
            raise ValueError("items holds values that are not finite; rows of unknown items are zeros")
        self.n_items = len(items)
        self._items = place_items(items, self.mesh)
        self._norms = jax.jit(norms_of)(self._items)

    def __call__(self, source: Array, seen: Array | None, k: int, allowed: Array | None = None) -> TopK:
        """The best k items for each prompt.

        Args:
          source: prompts, i32[B,S], padded with 0 at the end.
          seen: items to leave out, i32[B,X], -1 = padding, or None.
          k: number of items.
          allowed: items that may be listed, unless they are seen, bool[B,I], or None for all.
        Returns:
          TopK of numpy arrays, best first, scores are cosines; -1 with -inf if fewer than k items are left.
        Raises:
          ValueError: shapes don't fit each other, `seen` holds a number that is no item, or k exceeds the catalogue.
        """
        _check_k(k, self.n_items)
        source, seen = check_prompts(source, seen, self.n_items)
        allowed = check_allowed(allowed, len(source), self.n_items)
        multiple = 1 if self.mesh is None else self.mesh.shape["data"]
        run = functools.partial(self.run, k=k)
        return run_in_batches(run, source, seen, allowed, k, users=self.batch_users, multiple=multiple)

    def run(self, source: Array, seen: Array | None, allowed: Array | None, *, k: int) -> TopK:
        """As a call, in one batch of exactly these shapes and without a check, on the device."""
        if allowed is not None and (padding := self._items.shape[0] - self.n_items):
            allowed = np.pad(allowed, ((0, 0), (0, padding)))
        if self.mesh is not None:
            source, seen, allowed = jax.device_put((source, seen, allowed), NamedSharding(self.mesh, P("data")))
        return self._recommend(self.model, source, self._items, self._norms, seen, allowed, k)


def _unit(z: Array) -> Array:
    z = z.astype(jnp.float32)
    return z * inverse(norms_of(z))[:, None]


def _check(z: Array, items: Array, k: int, seen: Array | None, allowed: Array | None) -> None:
    if z.ndim != 2 or items.ndim != 2 or z.shape[1] != items.shape[1]:
        raise ValueError(f"z f32[B,F] and items f32[I,F] must have one width F; got {z.shape} and {items.shape}")
    if seen is not None and (seen.ndim != 2 or seen.shape[0] != z.shape[0]):
        raise ValueError(f"seen must be i32[B,X] with B={z.shape[0]}, as z; got shape {list(seen.shape)}")
    if allowed is not None and allowed.shape != (z.shape[0], items.shape[0]):
        wanted = [z.shape[0], items.shape[0]]
        raise ValueError(f"allowed must be bool{wanted}, a row per row of z; got shape {list(allowed.shape)}")
    _check_k(k, items.shape[0])


def _check_k(k: int, n_items: int) -> None:
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    if k > n_items:
        raise ValueError(f"k={k} exceeds the {n_items} items of this catalogue; lower k")
