"""One learned quantizer: vectors to codes and back, how it is fitted, and how well its codebooks are used."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.config import QuantizerConfig
from jaxrec.models import residual_kmeans
from jaxrec.tokenizers.quantizers import kmeans
from jaxrec.tokenizers.quantizers.training import MODELS, train
from jaxrec.types import Array

KINDS = (*MODELS, "kmeans", "rq_kmeans")
BLOCK = 2048
"""Rows encoded at a time: always as many, so that a row's code never hangs on who else is asked about."""


@dataclasses.dataclass(frozen=True)
class Quantizer:
    """A fitted quantizer.

    Attributes:
      kind: "mq", "rq_vae", "vq_vae", "kmeans" or "rq_kmeans"; or "cid", whose codes are paths in a tree of clusters.
      config: its shape; one codebook of codebooks * codewords for "vq_vae" and "kmeans".
      center: f32[F], mean of the vectors it was fitted to.
      scale: f32[], their standard deviation over all entries; networks see (row - center) / scale.
      params: a model's weights; for "kmeans" centroids f32[G, F] (directions) and means f32[G, F]; for "rq_kmeans" a
        codebook f32[K, L, F]; for "cid" the leaves' paths i32[G, K] and means f32[G, F].
    """

    kind: str
    config: QuantizerConfig
    center: np.ndarray
    scale: np.ndarray
    params: Any

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codewords of each codebook."""
        return (self.config.codewords,) * self.config.codebooks

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Codes i32[m, L] of vectors f32[m, F], without a mask; equal rows get equal codes.

        Raises:
          ValueError: another width than that of the vectors it was fitted to.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.center):
            raise ValueError(
                f"rows have shape {rows.shape}, wanted [m, {len(self.center)}] as the quantizer was fitted"
            )
        rows = np.asarray(rows, np.float32)
        if self.kind == "kmeans":
            norm = np.linalg.norm(rows, axis=1, keepdims=True)
            return _in_blocks(_nearest_direction, self.params["centroids"], rows / np.where(norm > 0, norm, 1))
        if self.kind == "cid":
            norm = np.linalg.norm(rows, axis=1, keepdims=True)
            leaf = _in_blocks(_nearest_direction, self.params["means"], rows / np.where(norm > 0, norm, 1))
            return self.params["paths"][leaf[:, 0]]
        return _in_blocks(_encode[self.kind], self.params, (rows - self.center) / self.scale)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The vectors f32[m, F] that codes i32[m, L] stand for."""
        if self.kind == "kmeans":
            return self.params["means"][codes[:, 0]]
        if self.kind == "cid":
            places = np.concatenate([self.params["paths"], codes])
            _, number = np.unique(places, axis=0, return_inverse=True)
            number, leaves = number.reshape(-1), len(self.params["paths"])
            leaf_of = np.full(number.max(initial=0) + 1, -1)
            leaf_of[number[:leaves]] = np.arange(leaves)
            leaf = leaf_of[number[leaves:]]  # -1: a path that leads to no leaf, as only an edited file has
            return np.where(leaf[:, None] < 0, self.center[None], self.params["means"][leaf])
        return _in_blocks(_decode[self.kind], self.params, codes.astype(np.int32)) * self.scale + self.center

    def codewords(self) -> list[np.ndarray]:
        """The codewords of each codebook, f32[size, d] each."""
        if self.kind == "kmeans":
            return [self.params["means"]]
        if self.kind == "cid":
            return self._means_of_branches()
        if self.kind == "rq_kmeans":
            return [book * self.scale for book in self.params["codebook"]]
        return list(np.asarray(self.params["codebook"]))

    def _means_of_branches(self) -> list[np.ndarray]:
        """Of the first level; a number further down means another thing under every branch, hence zeros."""
        paths, means = self.params["paths"], self.params["means"]
        table = np.zeros((self.config.codewords, means.shape[1]), np.float32)
        np.add.at(table, paths[:, 0], means)
        size = np.bincount(paths[:, 0], minlength=len(table))
        return [table / np.maximum(size, 1)[:, None], *[np.zeros_like(table)] * (paths.shape[1] - 1)]

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was learned, by name, for a file."""
        leaves = jax.tree_util.tree_leaves_with_path(self.params)
        named = {f"params{jax.tree_util.keystr(path)}": np.asarray(leaf) for path, leaf in leaves}
        return {"center": self.center, "scale": self.scale, **named}

    @classmethod
    def from_arrays(cls, kind: str, config: QuantizerConfig, arrays: dict[str, np.ndarray]) -> Quantizer:
        """The quantizer that `arrays` came from.

        Raises:
          ValueError: an array is missing or has another shape than the config wants; names it.
        """
        center = arrays["center"]
        if kind == "kmeans":
            means = jax.ShapeDtypeStruct((config.codewords, len(center)), np.float32)
            shapes: Any = {"centroids": means, "means": means}
        elif kind == "rq_kmeans":
            book = (config.codebooks, config.codewords, len(center))
            shapes = {"codebook": jax.ShapeDtypeStruct(book, np.float32)}
        elif kind == "cid":
            leaves, depth = arrays["params['paths']"].shape
            config = dataclasses.replace(config, codebooks=depth)  # users' tree is as deep as it had to be, and items'
            shapes = {
                "paths": jax.ShapeDtypeStruct((leaves, config.codebooks), np.int32),
                "means": jax.ShapeDtypeStruct((leaves, len(center)), np.float32),
            }
        else:
            make = functools.partial(MODELS[kind].init, len(center), config)
            shapes = jax.eval_shape(lambda key: make(key=key), jax.random.key(0))

        def take(path: Any, shape: jax.ShapeDtypeStruct) -> np.ndarray:
            name = f"params{jax.tree_util.keystr(path)}"
            if name not in arrays or arrays[name].shape != shape.shape:
                came = f"shape {arrays[name].shape}" if name in arrays else "none"
                raise ValueError(f"wanted {name} of shape {shape.shape}, there is {came}")
            return arrays[name]

        return cls(kind, config, center, arrays["scale"], jax.tree.map_with_path(take, shapes))

    def report(self, rows: np.ndarray, codes: np.ndarray | None = None) -> dict[str, Any]:
        """How well the codebooks are used and the rows rebuilt; rows of zeros are left out.

        Args:
          rows: f32[n, F].
          codes: what they have, i32[n, L]; None: what `encode` gives them.
        Returns:
          For JSON: "rows"; "codebooks", each with "codewords", "used" and "perplexity" (2 to the bits that its codes
          carry: as many codewords as would be used if evenly); "shared" and "shared_share", how many rows have
          a code that another has too; "error", the squared distance to what the code stands for over that to the
          mean row (0 is perfect, 1 says nothing); "cosine", mean between row and what its code stands for.
        """
        known = (rows != 0).any(1)
        rows = rows[known]
        codes = self.encode(rows) if codes is None else codes[known]
        books = []
        for level, size in enumerate(self.sizes):
            counts = np.bincount(codes[:, level], minlength=size)
            share = counts[counts > 0] / max(len(rows), 1)
            perplexity = float(np.exp(-(share * np.log(share)).sum()))
            books.append({"codewords": size, "used": int((counts > 0).sum()), "perplexity": perplexity})
        _, place, holders = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
        shared = int((holders[place.reshape(-1)] > 1).sum())
        rebuilt = self.decode(codes)
        spread = float(((rows - self.center) ** 2).sum())
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(rebuilt, axis=1)
        return {
            "rows": len(rows),
            "codebooks": books,
            "shared": shared,
            "shared_share": shared / max(len(rows), 1),
            "error": float(((rows - rebuilt) ** 2).sum()) / max(spread, 1e-30),
            "cosine": float(((rows * rebuilt).sum(1) / np.maximum(lengths, 1e-30)).mean()) if len(rows) else 0.0,
        }


def collapsed(report: dict[str, Any], name: str) -> list[str]:
    """A sentence for each codebook of a report that has collapsed, and one where codes say next to nothing.

    A codebook has where its perplexity is not a tenth of the way from one codeword to all it could use: it then carries
    less than log2(L) - 3.3 bits, and entities that differ get the same tokens. Codes say next to nothing where
    less than a tenth of the rows' spread is rebuilt from them.

    Args:
      report: of `Quantizer.report`.
      name: whose quantizer it is, "item" or "user".
    """
    lines = []
    for number, book in enumerate(report["codebooks"], start=1):
        most = min(book["codewords"], report["rows"])
        if book["perplexity"] < 1.0 + 0.1 * (most - 1):
            lines.append(
                f"codebook {number} of the {name} quantizer has collapsed: {book['used']} of {book['codewords']} "
                f"codewords used, perplexity {book['perplexity']:.1f}; raise quantizer.epochs, lower quantizer.revive "
                "(0 is off) or quantizer.learning_rate, or ask for fewer quantizer.codewords"
            )
    if report["error"] > 0.9:
        lines.append(
            f"the {name} quantizer has learned next to nothing: its error is {report['error']:.2f} of the spread; "
            "lower quantizer.learning_rate or raise quantizer.epochs"
        )
    return lines


def shaped(kind: str, config: QuantizerConfig) -> QuantizerConfig:
    """The config with the codebooks that a kind has: one as large as all together for "vq_vae" and "kmeans"."""
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} is not a quantizer; choose one of {', '.join(KINDS)}")
    if kind in ("vq_vae", "kmeans"):
        return dataclasses.replace(config, codebooks=1, codewords=config.codebooks * config.codewords)
    return config


def fit_quantizer(
    rows: np.ndarray,
    kind: str,
    config: QuantizerConfig,
    *,
    key: jax.Array,
    name: str = "quantizer",
) -> Quantizer:
    """Trains a quantizer; TokenRec, section 2.3.

    Vectors are centred and divided by one number before a network sees them, so that learning rates and losses mean the
    same for every embedder, while directions and distances keep their proportions.

    Args:
      rows: f32[n, F]; rows of zeros, which no training event touched, are not learned from.
      kind: "mq", "rq_vae", "vq_vae", "kmeans" or "rq_kmeans".
      config: shape and training.
      key: random key; equal keys give equal quantizers.
      name: what progress lines call it.
    Raises:
      ValueError: an unknown kind, no row but zeros, a row that is not finite, or for "kmeans" too few rows.
    """
    config = shaped(kind, config)
    if not np.isfinite(rows).all():
        raise ValueError(f"row {int(np.argmin(np.isfinite(rows).all(1)))} is not finite; train the embedder anew")
    rows = np.asarray(rows[(rows != 0).any(1)], np.float32)
    if not len(rows):
        raise ValueError("rows are all zeros, wanted a vector to quantize; is the training part of the split empty?")
    center = rows.mean(0)
    scale = np.asarray(max(np.sqrt(((rows - center) ** 2).mean()), 1e-12), np.float32)
    if kind == "kmeans":
        params = _fit_kmeans(rows, config.codewords, key=key)
    elif kind == "rq_kmeans":
        params = {"codebook": np.asarray(residual_kmeans.fit((rows - center) / scale, config, key=key))}
    else:
        params = train((rows - center) / scale, kind, config, key=key, name=name)
    return Quantizer(kind, config, center, scale, params)


def _fit_kmeans(rows: np.ndarray, clusters: int, *, key: jax.Array) -> dict[str, np.ndarray]:
    if clusters > len(rows):
        raise ValueError(f"{clusters} clusters exceed the {len(rows)} vectors; lower quantizer.codewords")
    found = kmeans.fit(rows, clusters, restarts=1, key=key)
    size = np.bincount(found.assignment, minlength=clusters)[:, None]
    total = np.zeros_like(found.centroids)
    np.add.at(total, found.assignment, rows)
    usual = np.linalg.norm(rows, axis=1).mean()
    means = np.where(size > 0, total / np.maximum(size, 1), found.centroids * usual)
    return {"centroids": found.centroids, "means": means.astype(np.float32)}


def _in_blocks(function: Callable[[Any, Array], jax.Array], params: Any, rows: np.ndarray) -> np.ndarray:
    """function(params, rows) on blocks of BLOCK rows, the last filled up."""
    params = jax.tree.map(jnp.asarray, params)
    parts = []
    for begin in range(0, max(len(rows), 1), BLOCK):
        part = rows[begin : begin + BLOCK]
        padded = np.concatenate([part, np.zeros((BLOCK - len(part), rows.shape[1]), rows.dtype)])
        parts.append(np.asarray(function(params, jnp.asarray(padded)))[: len(part)])
    return np.concatenate(parts)


def _exactly(function: Callable[[Any, Array], jax.Array]) -> Callable[[Any, Array], jax.Array]:
    """Jitted, in full single precision also where products are faster with less: codes hang on small differences."""

    def call(params: Any, rows: Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return function(params, rows)

    return jax.jit(call)


_encode = {kind: _exactly(model.encode) for kind, model in (MODELS | {"rq_kmeans": residual_kmeans}).items()}
_decode = {kind: _exactly(model.decode) for kind, model in (MODELS | {"rq_kmeans": residual_kmeans}).items()}
_nearest_direction = _exactly(lambda centroids, units: kmeans.nearest(units, centroids)[0][:, None])
