"""TokenRec's ids: codes of vectors, `<V1-42><V2-12><V3-98>`, by a quantizer each for users and items."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any, Self

import numpy as np

from jaxrec.config import Config, QuantizerConfig, from_dict
from jaxrec.keys import stream
from jaxrec.progress import logger
from jaxrec.tokenizers.entity_ids import EntityIds
from jaxrec.tokenizers.kind import IdInputs, Kind
from jaxrec.tokenizers.quantizers import centroids, learned, residual
from jaxrec.tokenizers.quantizers.quantizer import Quantizer, QuantizerKind, collapse_warnings, fit_quantizer
from jaxrec.types import Codes

LETTERS = {"user": "U", "item": "V"}


@dataclasses.dataclass(frozen=True)
class QuantizedIds(EntityIds):
    """Codes of a quantizer, levels "<V1-{}>", "<V2-{}>", ... of items and "<U1-{}>", ... of users.

    If ids are unique there is one more level, "<V+{}>", a number that distinguishes equal codes.

    Attributes:
      quantizer: from a vector to codes.
      fit_report: of the quantizer on what it was fitted to, as `Quantizer.report` gives it.
    """

    quantizer: Quantizer
    fit_report: dict[str, Any]

    @classmethod
    def of_codes(
        cls,
        entity: str,
        rows: np.ndarray,
        quantizer: Quantizer,
        values: np.ndarray,
        fit_report: dict[str, Any],
        *,
        unique: bool,
        spare: int,
    ) -> Self:
        """Ids from codes that a quantizer gave.

        Args:
          entity: "user" or "item".
          rows: vectors, f32[n,F].
          quantizer: what gave the codes.
          values: the codes, i32[n,L].
          fit_report: of the quantizer.
          unique: adds a level: 0 for the row nearest to what the codes stand for, 1 for the next that has the same
            codes, and so on.
          spare: numbers of that level beyond those in use, for newcomers.
        """
        letter, sizes = LETTERS[entity], quantizer.sizes
        levels = tuple(f"<{letter}{book}-{{}}>" for book in range(1, len(sizes) + 1))
        if unique:
            numbers = _collision_numbers(values, _distance(quantizer, rows, values))
            values = np.concatenate([values, numbers[:, None]], axis=1).astype(np.int32)
            sizes, levels = (*sizes, int(numbers.max(initial=-1)) + 1 + spare), (*levels, f"<{letter}+{{}}>")
        return cls(entity, Codes(values, sizes, levels), unique, quantizer, fit_report)

    def codes_of(self, vectors: np.ndarray, *, beside: EntityIds | None = None) -> np.ndarray:
        """The quantizer's codes."""
        return self.quantizer.encode(vectors)

    def _unique_codes(self, vectors: np.ndarray, rows: np.ndarray, *, beside: EntityIds | None) -> np.ndarray:
        """The quantizer's codes and a free number; vectors nearest to their reconstruction come first.

        Old numbers of the rows count as free.
        """
        values, most = self.quantizer.encode(vectors), self.codes.sizes[-1]
        taken: dict[tuple[int, ...], set[int]] = {}
        for *code, number in np.delete(self.codes.values, rows[rows < len(self.codes.values)], axis=0).tolist():
            taken.setdefault(tuple(code), set()).add(number)
        numbers = np.empty(len(values), np.int32)
        for row in np.argsort(_distance(self.quantizer, vectors, values), kind="stable"):
            in_use = taken.setdefault(tuple(values[row].tolist()), set())
            free = next((number for number in range(most) if number not in in_use), None)
            if free is None:
                name = "".join(level.format(code) for level, code in zip(self.codes.levels, values[row]))
                raise ValueError(
                    f"all {most} numbers {self.codes.levels[-1].format('N')} behind {name} are in use; "
                    "fit the ids anew with a larger ids.spare"
                )
            in_use.add(free)
            numbers[row] = free
        return np.concatenate([values, numbers[:, None]], axis=1)

    def codewords(self) -> list[np.ndarray | None]:
        """Codewords of each level, f32[size,d]; None for the numbers that set equal codes apart."""
        return [*self.quantizer.codewords(), *([None] if self.unique else [])]

    def report(self) -> dict[str, Any]:
        """Statistics of the ids, for JSON.

        Returns:
          What `Quantizer.report` said of the rows that were fitted, "ids" (how many differ), and "collapsed", a
          sentence for each codebook that is hardly used.
        """
        return {**self.fit_report, **super().report(), "collapsed": collapse_warnings(self.fit_report, self.entity)}

    def arrays(self) -> dict[str, Any]:
        """The quantizer's arrays, its shape and its report."""
        about = {"config": dataclasses.asdict(self.quantizer.config), "fit_report": self.fit_report}
        return {"about": json.dumps(about), **self.quantizer.arrays()}

    @classmethod
    def from_arrays(
        cls, entity: str, codes: Codes, unique: bool, arrays: dict[str, np.ndarray], **options: Any
    ) -> Self:
        """As of `EntityIds`; the option `kind` is the kind of quantizer."""
        about = json.loads(str(arrays["about"]))
        quantizer = Quantizer.from_arrays(options["kind"], from_dict(QuantizerConfig, about["config"]), arrays)
        return cls(entity, codes, unique, quantizer, about["fit_report"])


def fit_quantized(inputs: IdInputs, *, kind: QuantizerKind) -> dict[str, EntityIds]:
    """Trains a quantizer for users and one for items, and encodes all of them; TokenRec, section 2.3.

    Entities with a zero vector (without a training event) are not trained on; they all get the codes of zeros. Problems
    of a codebook are logged.

    Args:
      inputs: vectors, user_rows, config and key are read.
      kind: of quantizer.
    Raises:
      ValueError: no vector but zeros, or a vector that is not finite.
    """
    ids: dict[str, EntityIds] = {}
    for entity in inputs.entities:
        rows = learned_from = inputs.rows(entity)
        if entity == "user" and inputs.user_rows is not None:
            learned_from = inputs.user_rows
        quantizer = fit_quantizer(
            learned_from, kind, inputs.config.quantizer, key=stream(inputs.key, entity), name=f"{entity} quantizer"
        )
        report = quantizer.report(learned_from)
        for line in collapse_warnings(report, entity):
            logger.warning("%s", line)
        ids[entity] = QuantizedIds.of_codes(
            entity,
            rows,
            quantizer,
            quantizer.encode(rows),
            report,
            unique=inputs.unique(entity),
            spare=inputs.config.ids.spare,
        )
    return ids


def _distance(quantizer: Quantizer, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Squared distance of rows to their reconstruction, f32[m]; inf for zeros, which come last."""
    distance = ((rows - quantizer.decode(values)) ** 2).sum(1)
    return np.where((rows != 0).any(1), distance, np.inf)


def _collision_numbers(values: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Place of each row by distance among the rows with the same codes, ties by row, i64[n]."""
    _, group = np.unique(values, axis=0, return_inverse=True)
    order = np.lexsort((distance, group.reshape(-1)))
    ordered = group.reshape(-1)[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    number = np.empty(len(values), np.int64)
    number[order] = np.arange(len(values)) - np.repeat(starts, np.diff(starts, append=len(values)))
    return number


def _length(config: Config, *, kind: QuantizerKind) -> int:
    books = 1 if kind.one_codebook else config.quantizer.codebooks
    return books + (config.answer != "vector")


def _quantized(label: str, kind: QuantizerKind) -> Kind:
    return Kind(
        label=label,
        fit=functools.partial(fit_quantized, kind=kind),
        load=functools.partial(QuantizedIds.load, kind=kind),
        activity=f"learning to quantize users and items ({kind.name})",
        learns_histories=True,
        length=functools.partial(_length, kind=kind),
    )


MQ = _quantized("MQ", learned.MQ)
RQ_VAE = _quantized("RQ-VAE", learned.RQ_VAE)
VQ_VAE = _quantized("VQ-VAE", learned.VQ_VAE)
KMEANS = _quantized("K-means", centroids.KMEANS)
RQ_KMEANS = _quantized("RQ-K-means", residual.RQ_KMEANS)
