"""A fitted quantizer: encoding, decoding, fitting, and statistics of its codebooks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxrec.config import QuantizerConfig


@dataclasses.dataclass(frozen=True)
class Training:
    """The training data of a quantizer.

    Attributes:
      rows: f32[n,F], none of them zeros.
      scaled: f32[n,F], rows centred and divided by one number.
      config: shape and training.
      name: what progress lines call the quantizer.
    """

    rows: np.ndarray
    scaled: np.ndarray
    config: QuantizerConfig
    name: str


@dataclasses.dataclass(frozen=True)
class QuantizerKind:
    """A way to quantize vectors.

    Attributes:
      name: its name in messages.
      fit: fit(Training, key=) -> params, a tree of arrays.
      encode: encode(Quantizer, rows f32[m,F]) -> i32[m,L]; equal rows get equal codes.
      decode: decode(Quantizer, codes i32[m,L]) -> f32[m,F].
      codewords: codewords(Quantizer) -> f32[size,d] of each codebook.
      shapes: shapes(config, F, saved arrays) -> params as a tree of `jax.ShapeDtypeStruct`.
      one_codebook: whether it has one codebook, as large as those of the config together.
    """

    name: str
    fit: Callable[..., Any]
    encode: Callable[[Quantizer, np.ndarray], np.ndarray]
    decode: Callable[[Quantizer, np.ndarray], np.ndarray]
    codewords: Callable[[Quantizer], list[np.ndarray]]
    shapes: Callable[[QuantizerConfig, int, dict[str, np.ndarray]], Any]
    one_codebook: bool = False

    def shaped(self, config: QuantizerConfig) -> QuantizerConfig:
        """The config with the codebooks that this kind has."""
        if not self.one_codebook:
            return config
        return dataclasses.replace(config, codebooks=1, codewords=config.codebooks * config.codewords)


@dataclasses.dataclass(frozen=True)
class Quantizer:
    """A fitted quantizer.

    Attributes:
      kind: how it quantizes.
      config: its shape, as `QuantizerKind.shaped` gives it.
      center: f32[F], mean of the vectors it was fitted to.
      scale: f32[], their standard deviation over all entries; networks see (row - center) / scale.
      params: what `QuantizerKind.fit` gave.
    """

    kind: QuantizerKind
    config: QuantizerConfig
    center: np.ndarray
    scale: np.ndarray
    params: Any

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codewords of each codebook."""
        return (self.config.codewords,) * self.config.codebooks

    def scaled(self, rows: np.ndarray) -> np.ndarray:
        """Rows f32[m,F] as networks see them."""
        return (rows - self.center) / self.scale

    def unscaled(self, rows: np.ndarray) -> np.ndarray:
        """The inverse of `scaled`."""
        return rows * self.scale + self.center

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Codes i32[m,L] of vectors f32[m,F], without a mask; equal rows get equal codes.

        Raises:
          ValueError: another width than that of the vectors it was fitted to.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.center):
            raise ValueError(
                f"rows have shape {rows.shape}, expected [m, {len(self.center)}] as the quantizer was fitted"
            )
        return self.kind.encode(self, np.asarray(rows, np.float32))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The vectors f32[m,F] that codes i32[m,L] stand for."""
        return self.kind.decode(self, codes)

    def codewords(self) -> list[np.ndarray]:
        """The codewords of each codebook, f32[size,d] each."""
        return self.kind.codewords(self)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was learned, by name, for a file."""
        leaves = jax.tree_util.tree_leaves_with_path(self.params)
        named = {f"params{jax.tree_util.keystr(path)}": np.asarray(leaf) for path, leaf in leaves}
        return {"center": self.center, "scale": self.scale, **named}

    @classmethod
    def from_arrays(cls, kind: QuantizerKind, config: QuantizerConfig, arrays: dict[str, np.ndarray]) -> Quantizer:
        """The quantizer that `arrays` came from.

        Raises:
          ValueError: an array is missing or has another shape than the config wants; names it.
        """

        def take(path: Any, shape: jax.ShapeDtypeStruct) -> np.ndarray:
            name = f"params{jax.tree_util.keystr(path)}"
            if name not in arrays or arrays[name].shape != shape.shape:
                actual = f"shape {arrays[name].shape}" if name in arrays else "none"
                raise ValueError(f"expected {name} of shape {shape.shape}, got {actual}")
            return arrays[name]

        center = arrays["center"]
        params = jax.tree.map_with_path(take, kind.shapes(config, len(center), arrays))
        return cls(kind, config, center, arrays["scale"], params)

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
        nonzero = (rows != 0).any(1)
        rows = rows[nonzero]
        codes = self.encode(rows) if codes is None else codes[nonzero]
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


def collapse_warnings(report: dict[str, Any], name: str) -> list[str]:
    """A warning for each collapsed codebook of a report, and one if the codes carry almost no information.

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


def fit_quantizer(
    rows: np.ndarray, kind: QuantizerKind, config: QuantizerConfig, *, key: jax.Array, name: str = "quantizer"
) -> Quantizer:
    """Trains a quantizer; TokenRec, section 2.3.

    Vectors are centred and divided by one number before a network sees them, so that learning rates and losses mean the
    same for every embedder, while directions and distances keep their proportions.

    Args:
      rows: f32[n,F]; rows of zeros, which no training event touched, are not learned from.
      kind: of quantizer.
      config: shape and training.
      key: random key; equal keys give equal quantizers.
      name: what progress lines call it.
    Raises:
      ValueError: no row but zeros, a row that is not finite, or for K-means too few rows.
    """
    config = kind.shaped(config)
    if not np.isfinite(rows).all():
        raise ValueError(f"row {int(np.argmin(np.isfinite(rows).all(1)))} is not finite; train the embedder anew")
    rows = np.asarray(rows[(rows != 0).any(1)], np.float32)
    if not len(rows):
        raise ValueError("rows are all zeros, wanted a vector to quantize; is the training part of the split empty?")
    center = rows.mean(0)
    scale = np.asarray(max(np.sqrt(((rows - center) ** 2).mean()), 1e-12), np.float32)
    params = kind.fit(Training(rows, (rows - center) / scale, config, name), key=key)
    return Quantizer(kind, config, center, scale, params)
