"""Exact top-k items by cosine over a whole catalogue on the accelerator, and the recommender that is made of it."""

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

from jaxrec.recommend.batches import check_prompts, run_in_batches
from jaxrec.recommend.blockwise_top_k import approximately_best, exactly_best, inverse, norms_of, pad_to_multiple
from jaxrec.types import Array, TopK

CACHED_ITEMS = 8192  # rows of scores that stay in a CPU's cache; found by trying
BLOCK = 65536  # elsewhere: few steps, 64 MB of scores for 256 users


def nearest_items(
    z: Array,
    items: Array,
    k: int,
    *,
    seen: Array | None = None,
    norms: Array | None = None,
    approximate: bool = False,
    block: int | None = None,
) -> TopK:
    """Top-k items by cosine between predictions and item vectors.

    TokenRec, eq. (19): score = <z, q> / (|z| |q|). Scores are never kept for the whole catalogue: blocks of items are
    scored, and of every few neighbouring items only the best score is kept. The k groups with the best scores hold the
    k best items, and are scored again. Exact but for the rounding of float32: scores that differ by less may change
    places, equal vectors don't.

    Args:
      z: predicted vectors, f32[B,F]; a row of zeros scores 0 with every item.
      items: item vectors, f32 or bf16 [I,F], of any length; rows of zeros are unknown items and never recommended.
        On a CPU, XLA makes a float32 copy of bf16 items.
      k: how many, at most I.
      seen: items to leave out, i32[B,X], -1 = padding, or None.
      norms: `norms_of(items)`, f32[I], where it is known; None computes it again.
      approximate: `jax.lax.approx_max_k` on each block, which on a TPU is faster and misses some items (its default
        recall is 0.95); on a CPU or GPU nothing is missed.
      block: items that are scored at a time; scores take B * block floats.
    Returns:
      TopK, best first, ties lowest item first, scores in [-1, 1]; -1 with -inf where fewer than k items are left.
    Raises:
      ValueError: k is not positive or exceeds the number of items, or shapes don't fit each other.
    """
    _check(z, items, k, seen)
    if block is not None and block < 1:
        raise ValueError(f"block={block} must be at least 1")
    z = _unit(jnp.asarray(z))
    items, seen, norms = jax.tree.map(jnp.asarray, (items, seen, norms))
    block = block or (CACHED_ITEMS if jax.default_backend() == "cpu" else BLOCK)
    find = approximately_best if approximate else exactly_best
    scores, found = find(z, items, k, seen, norms, block)
    return TopK(jnp.where(scores > -jnp.inf, found, -1), scores)


def nearest_items_sharded(
    mesh: Mesh,
    z: Array,
    items: Array,
    k: int,
    *,
    seen: Array | None = None,
    norms: Array | None = None,
    **options: Any,
) -> TopK:
    """`search` with items over the mesh axis `model` and users over `data`: the same answer.

    Each device searches its items for its users; k candidates of each are gathered and ranked again.

    Args:
      mesh: has the axes `data` and `model`.
      z: f32[B,F].
      items: [I,F]; rows that don't divide over the mesh are padded, which copies: see `place_items`.
      k: how many, at most I.
      seen: i32[B,X] or None.
      norms: f32[I] or None.
      **options: `approximate` and `block` of `search`.
    Returns:
      As `search`.
    Raises:
      ValueError: as `search`.
    """
    _check(z, items, k, seen)
    users, shards = z.shape[0], mesh.shape["model"]
    z = pad_to_multiple(jnp.asarray(z), mesh.shape["data"], 0)
    seen = jnp.zeros((users, 0), jnp.int32) if seen is None else jnp.asarray(seen)
    seen = pad_to_multiple(seen, mesh.shape["data"], -1)
    items = pad_to_multiple(jnp.asarray(items), shards, 0)
    norms = None if norms is None else pad_to_multiple(jnp.asarray(norms), shards, 0)
    here = items.shape[0] // shards

    def local(z, items, seen, norms):
        first = lax.axis_index("model") * here
        mine = (seen >= first) & (seen < first + here)
        local_seen = jnp.where(mine, seen - first, -1)
        top = nearest_items(z, items, min(k, here), seen=local_seen, norms=norms, **options)
        numbers = jnp.where(top.items >= 0, top.items + first, -1)
        # Shards lie in the order of items, so a tie's first place is still its lowest item.
        numbers, scores = (lax.all_gather(x, "model", axis=1, tiled=True) for x in (numbers, top.scores))
        scores, at = lax.top_k(scores, k)
        return TopK(jnp.take_along_axis(numbers, at, axis=1), scores)

    by_item = P("model")
    top = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(P("data"), by_item, P("data"), None if norms is None else by_item),
        out_specs=P("data"),
        check_vma=False,  # all_gather leaves equal values, which the check can't know
    )(z, items, seen, norms)
    return TopK(top.items[:users], top.scores[:users])


def place_items(items: Array, mesh: Mesh | None = None) -> jax.Array:
    """Item vectors [I,F] on the device, or over the mesh axis `model` and then padded with rows of zeros."""
    if mesh is None:
        return jnp.asarray(items)
    rows = -len(items) % mesh.shape["model"]
    return jax.device_put(np.pad(np.asarray(items), ((0, rows), (0, 0))), NamedSharding(mesh, P("model")))


def search_memory(
    batch: int, n_items: int, width: int, k: int, block: int | None = None, *, n_seen: int = 0, dtype: Any = jnp.float32
) -> int:
    """Bytes that a device needs for `search`, its arguments included, by the compiler's own count for this backend.

    Nothing of that size is allocated. `batch`, `n_items` and `n_seen` are B, I and X.
    """
    shape = jax.ShapeDtypeStruct
    seen = shape((batch, n_seen), jnp.int32) if n_seen else None
    z, norms = shape((batch, width), jnp.float32), shape((n_items,), jnp.float32)
    traced = jax.jit(nearest_items, static_argnames=("k", "block")).trace(
        z, shape((n_items, width), dtype), k, seen=seen, norms=norms, block=block
    )
    used: Any = traced.lower().compile().memory_analysis()
    return used.argument_size_in_bytes + used.temp_size_in_bytes + used.output_size_in_bytes


class VectorRecommender:
    """Recommends the items nearest to the vector that a model answers with; a `jaxrec.types.Recommender`.

    `model` and `items` may be replaced by others of the same shape; nothing is compiled again. That is how new items
    are recommended: their vectors take the place of rows of zeros.

    Args:
      model: a pytree; an argument of the compiled function, not a constant in it.
      items: item vectors, f32 or bf16 [I,F]; rows of zeros are never recommended.
      query: the vectors that a model answers prompts with: (model, source i32[B,S]) -> f32[B,F]; pure.
      batch_users: users on the device at a time.
      approximate: see `search`.
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

        def recommend(model, source, items, norms, seen, k):
            find = nearest_items if mesh is None else functools.partial(nearest_items_sharded, mesh)
            return find(query(model, source), items, k, seen=seen, norms=norms, approximate=approximate)

        self._recommend = jax.jit(recommend, static_argnames="k")

    @property
    def model(self) -> Any:
        """The model as it lies on the device; over a mesh, arrays from elsewhere are put on each of its devices."""
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        if self.mesh is not None:
            everywhere = NamedSharding(self.mesh, P())
            devices = everywhere.device_set

            def place(x: Array) -> jax.Array:
                lies = isinstance(x, jax.Array) and x.sharding.device_set == devices
                return x if lies else jax.device_put(x, everywhere)

            model = jax.tree.map(place, model)
        self._model = model

    @property
    def items(self) -> jax.Array:
        """Item vectors as they lie on the device; over a mesh, rows of zeros may follow them."""
        return self._items

    @items.setter
    def items(self, items: Array) -> None:
        if items.ndim != 2 or not len(items):
            raise ValueError(f"items must be f32[I,F] with an item; came shape {list(items.shape)}")
        if not bool(jnp.isfinite(items).all()):
            raise ValueError("items holds values that are not finite; rows of unknown items are zeros")
        self.n_items = len(items)
        self._items = place_items(items, self.mesh)
        self._norms = jax.jit(norms_of)(self._items)

    def __call__(self, source: Array, seen: Array | None, k: int) -> TopK:
        """The best k items for each prompt.

        Args:
          source: prompts, i32[B,S], padded with 0 at the end.
          seen: items to leave out, i32[B,X], -1 = padding, or None.
          k: how many items.
        Returns:
          TopK of numpy arrays, best first, scores are cosines; -1 with -inf where fewer than k items are left.
        Raises:
          ValueError: shapes don't fit each other, `seen` holds no item of this catalogue, or k exceeds it.
        """
        _check_k(k, self.n_items)
        source, seen = check_prompts(source, seen, self.n_items)

        def run(source: np.ndarray, seen: np.ndarray | None) -> TopK:
            if self.mesh is not None:
                source, seen = jax.device_put((source, seen), NamedSharding(self.mesh, P("data")))
            return self._recommend(self.model, source, self._items, self._norms, seen, k)

        return run_in_batches(
            run, source, seen, k, users=self.batch_users, multiple=1 if self.mesh is None else self.mesh.shape["data"]
        )


def _unit(z: Array) -> Array:
    z = z.astype(jnp.float32)
    return z * inverse(norms_of(z))[:, None]


def _check(z: Array, items: Array, k: int, seen: Array | None) -> None:
    if z.ndim != 2 or items.ndim != 2 or z.shape[1] != items.shape[1]:
        raise ValueError(f"z f32[B,F] and items f32[I,F] must have one width F; came {z.shape} and {items.shape}")
    if seen is not None and (seen.ndim != 2 or seen.shape[0] != z.shape[0]):
        raise ValueError(f"seen must be i32[B,X] with B={z.shape[0]}, as z; came shape {list(seen.shape)}")
    _check_k(k, items.shape[0])


def _check_k(k: int, n_items: int) -> None:
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    if k > n_items:
        raise ValueError(f"k={k} exceeds the {n_items} items of this catalogue; lower k")
