"""Ids that are numbers: random (RID) or in training order (SID), as digits of the text vocabulary; or tokens (IID)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from jaxrec.keys import generator
from jaxrec.tokenizers.entity_ids import EntityIds
from jaxrec.tokenizers.kind import IdInputs, Kind
from jaxrec.tokenizers.vocabulary import DIGIT
from jaxrec.types import Codes

TOKENS = {"user": "<UID{}>", "item": "<IID{}>"}


@dataclasses.dataclass(frozen=True)
class NumberIds(EntityIds):
    """Ids that are plain numbers, and numbering of newcomers.

    Digits are tokens of the text tokenizer (META ID's and P5's in-vocabulary ids), one token each, with leading zeros:
    all ids have one length, so a trie has one depth, no beam wins by being shorter, and items with near numbers share
    their first tokens. P5 lets its tokenizer cut a number into pieces of one to three digits instead.

    Attributes:
      anchors: f32[size,F], what the tokens of "iid" start from (META ID, appendix A.2), zeros for numbers that are
        free; of no rows where the tokens are digits.
    """

    anchors: np.ndarray

    def codes_of(self, vectors: np.ndarray, *, beside: EntityIds | None = None) -> np.ndarray:
        """Always raises ValueError, as numbers are not made from vectors."""
        raise ValueError(
            f"numbering {self.entity}s (ids.kind rid, sid or iid) has no id for somebody without a number; "
            "set ids.users none, or take newcomers in with launch.update"
        )

    def _unique_codes(self, vectors: np.ndarray, rows: np.ndarray, *, beside: EntityIds | None) -> np.ndarray:
        """The next free numbers, regardless of the vectors; existing rows keep their number."""
        rows = np.asarray(rows)
        old = rows < len(self.codes.values)
        used, most = self._numbers(), int(np.prod(self.codes.sizes, dtype=np.int64))
        fresh = int(used.max(initial=-1)) + 1 + np.arange((~old).sum())
        if len(fresh) and fresh[-1] >= most:
            raise ValueError(
                f"{self.entity}s are numbered up to {most - 1}, all in use; fit the ids anew with more ids.spare"
            )
        numbers = np.empty(len(rows), np.int64)
        numbers[old], numbers[~old] = used[rows[old]], fresh
        if self.codes.levels[0] == DIGIT:
            return _digits(numbers, len(self.codes.sizes))
        return numbers[:, None].astype(np.int32)

    def codewords(self) -> list[np.ndarray | None]:
        """The vectors that tokens of "iid" start from; digits stand for nothing."""
        return super().codewords() if self.codes.levels[0] == DIGIT else [self.anchors]

    def _numbers(self) -> np.ndarray:
        """The number that each row of codes spells, i64[n]."""
        places = np.cumprod(np.array([1, *self.codes.sizes[:0:-1]], np.int64))[::-1]
        return self.codes.values.astype(np.int64) @ places


def random_order(inputs: IdInputs, entity: str) -> np.ndarray:
    """All entities in a seeded random order, i64[n]."""
    return generator(inputs.config.seed, f"numbers of {entity}s").permutation(len(inputs.rows(entity)))


def training_order(inputs: IdInputs, entity: str) -> np.ndarray:
    """Items as they first come in the histories, user after user, and users as they stand, i64[n].

    Hua et al. 2023, section 4.1. Whoever has no training event follows in a seeded order: to number them as they come
    in held-out events, as the released codes of P5 do in a second pass, would put a user's test item beside the
    user's validation item.
    """
    if entity == "user":
        trained = np.flatnonzero(np.diff(inputs.histories.offsets))
    else:
        items, first = np.unique(inputs.histories.items, return_index=True)
        trained = items[np.argsort(first)]
    order = random_order(inputs, entity)
    return np.concatenate([trained, order[~np.isin(order, trained)]])


def fit_digits(inputs: IdInputs, *, order: Callable[[IdInputs, str], np.ndarray]) -> dict[str, EntityIds]:
    """Numbers everybody in an order, order(inputs, entity) -> i64[n]; `ids.spare` numbers are left for newcomers."""
    ids: dict[str, EntityIds] = {}
    for entity in inputs.entities:
        numbers = np.argsort(order(inputs, entity))
        width = len(str(max(len(numbers) + inputs.config.ids.spare - 1, 0)))
        codes = Codes(_digits(numbers, width), (10,) * width, (DIGIT,) * width)
        ids[entity] = NumberIds(entity, codes, True, np.zeros((0, 0), np.float32))
    return ids


def fit_tokens(inputs: IdInputs) -> dict[str, EntityIds]:
    """A token for everybody, which starts from the vector; `ids.spare` tokens are left for newcomers."""
    ids: dict[str, EntityIds] = {}
    for entity in inputs.entities:
        rows, spare = inputs.rows(entity), inputs.config.ids.spare
        values = np.arange(len(rows), dtype=np.int32)[:, None]
        codes = Codes(values, (len(rows) + spare,), (TOKENS[entity],))
        ids[entity] = NumberIds(entity, codes, True, np.pad(rows, ((0, spare), (0, 0))))
    return ids


def _digits(numbers: np.ndarray, width: int) -> np.ndarray:
    """Decimal digits with zeros in front, i32[n,width]."""
    return (numbers[:, None] // 10 ** np.arange(width)[::-1] % 10).astype(np.int32)


def _numbered(label: str, order: Callable[[IdInputs, str], np.ndarray]) -> Kind:
    return Kind(
        label=label,
        fit=functools.partial(fit_digits, order=order),
        load=NumberIds.load,
        from_vectors=False,
        length=lambda config: 5,  # up to 100,000 items
    )


RID = _numbered("RID", random_order)
SID = _numbered("SID", training_order)
IID = Kind(label="IID", fit=fit_tokens, load=NumberIds.load, from_vectors=False)
