"""Ids that are numbers: random (RID) or in training order (SID), as digits of the text vocabulary; or tokens (IID)."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import zipfile
from typing import Any

import numpy as np

from jaxrec.keys import generator
from jaxrec.tokenizers.id_files import read_codes, write_codes
from jaxrec.tokenizers.vocabulary import DIGIT
from jaxrec.types import Codes, Histories, Vectors

KINDS = ("user", "item")
TOKENS = {"user": "<UID{}>", "item": "<IID{}>"}


@dataclasses.dataclass(frozen=True)
class NumberedIds:
    """Ids of users and items that say nothing but which one it is, and how numbering goes on with newcomers.

    Digits are tokens that a text tokenizer has (META ID's and P5's in-vocabulary ids), one token each, with zeros in
    front: all ids are of one length, so a trie has one depth, no beam wins by being shorter, and items with near
    numbers share their first tokens. P5 lets its tokenizer cut a number into pieces of one to three digits instead.

    Attributes:
      kind: "rid", "sid" or "iid".
      users: values i32[U,W] of digits, or i32[U,1] of numbers under "iid".
      items: i32[I,W] or i32[I,1].
      vectors: under "iid" what the tokens start from (META ID, appendix A.2): anchors f32[size,F] of users and
        items, zeros for numbers that are free. Otherwise of no rows.
    """

    kind: str
    users: Codes
    items: Codes
    vectors: Vectors

    @classmethod
    def fit(cls, vectors: Vectors, histories: Histories, kind: str, *, seed: int, spare: int = 32) -> NumberedIds:
        """Numbers everybody.

        "sid": items in the order in which they come in the histories, user after user (Hua et al. 2023, section
        4.1), users as they stand. Whoever has no training event follows in a seeded order: to number them as they
        come in held-out events, as the released codes of P5 do in a second pass, would put a user's test item beside
        the user's validation item. "rid": all in a seeded order.

        Args:
          vectors: user f32[U,F] and item f32[I,F]; "iid" takes them for anchors, the others just count them.
          histories: what may be learned from.
          kind: "rid", "sid" or "iid".
          seed: of the orders.
          spare: numbers left for newcomers.
        Raises:
          ValueError: an unknown kind.
        """
        if kind not in ("rid", "sid", "iid"):
            raise ValueError(f"kind={kind!r} is not one of rid, sid, iid")
        numbers = {}
        seen = {"user": np.flatnonzero(np.diff(histories.offsets)), "item": _in_order(histories.items)}
        for who in KINDS:
            n = len(getattr(vectors, who))
            order = generator(seed, f"numbers of {who}s").permutation(n)
            if kind == "sid":
                order = np.concatenate([seen[who], order[~np.isin(order, seen[who])]])
            numbers[who] = np.arange(n) if kind == "iid" else np.argsort(order)
        made = {}
        for who in KINDS:
            n = len(numbers[who])
            width = len(str(max(n + spare - 1, 0)))
            made[who] = Codes(_digits(numbers[who], width), (10,) * width, (DIGIT,) * width)
            if kind == "iid":
                made[who] = Codes(numbers[who][:, None].astype(np.int32), (n + spare,), (TOKENS[who],))
        anchors = Vectors(np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
        if kind == "iid":
            anchors = Vectors(*(np.pad(rows, ((0, spare), (0, 0))) for rows in (vectors.user, vectors.item)))
        return cls(kind, made["user"], made["item"], anchors)

    def encode(self, new: np.ndarray, kind: str, *, unique: bool, instead: np.ndarray | None = None) -> np.ndarray:
        """The next free numbers, whatever the vectors; whoever is there already keeps the number.

        Args:
          new: f32[m,F], which only says how many.
          kind: "user" or "item".
          unique: ids of this kind always are.
          instead: i64[m], which rows they will be; those that are there get what they have. None: all are new.
        Returns:
          i32[m,W].
        Raises:
          ValueError: another kind, no number is left, or an id is asked for somebody who is not to be kept.
        """
        codes = self._codes(kind)
        if not unique and instead is None:
            raise ValueError(
                f"ids.kind={self.kind} numbers {kind}s and has no id for somebody without a number; "
                "set ids.users none, or take newcomers in with launch.update"
            )
        rows = np.full(len(new), -1) if instead is None else np.asarray(instead)
        known = (rows >= 0) & (rows < len(codes.values))
        used, most = self._numbers(codes), int(np.prod(codes.sizes, dtype=np.int64))
        fresh = int(used.max(initial=-1)) + 1 + np.arange((~known).sum())
        if len(fresh) and fresh[-1] >= most:
            raise ValueError(f"{kind}s are numbered up to {most - 1}, all in use; fit the ids anew with more ids.spare")
        numbers = np.empty(len(new), np.int64)
        numbers[known], numbers[~known] = used[rows[known]], fresh
        return _digits(numbers, len(codes.sizes)) if codes.levels[0] == DIGIT else numbers[:, None].astype(np.int32)

    def with_rows(self, kind: str, rows: np.ndarray, values: np.ndarray) -> NumberedIds:
        """A copy in which some entities have the codes that `encode` gave them.

        Args:
          kind: "user" or "item".
          rows: i64[m], whose codes; rows behind the last are new entities.
          values: i32[m,W].
        Raises:
          ValueError: another number of levels, a code that is not below its size, or an id stands twice.
        """
        old = self._codes(kind)
        if values.ndim != 2 or values.shape[1] != len(old.sizes):
            raise ValueError(f"values have shape {values.shape}, wanted [m, {len(old.sizes)}] for {kind}s of these ids")
        if ((values < 0) | (values >= np.array(old.sizes))).any():
            raise ValueError(f"values go from {values.min()} to {values.max()}, wanted 0 to below {old.sizes}")
        more = max(len(old.values), int(rows.max(initial=-1)) + 1) - len(old.values)
        table = np.concatenate([old.values, np.zeros((more, len(old.sizes)), np.int32)])
        table[rows] = values
        if len(np.unique(table, axis=0)) < len(table):
            raise ValueError(f"an id of {kind}s stands twice; take all newcomers' codes from one encode")
        return dataclasses.replace(self, **{f"{kind}s": dataclasses.replace(old, values=table)})

    def codewords(self, kind: str) -> list[np.ndarray | None]:
        """What each level's tokens stand for: vectors f32[size,F] under "iid"; digits stand for nothing."""
        levels = self._codes(kind).levels
        return [getattr(self.vectors, kind)] if self.kind == "iid" else [None] * len(levels)

    def report(self) -> dict[str, Any]:
        """How many ids there are, for JSON."""
        return {who: {"ids": len(self._codes(who).values)} for who in KINDS}

    def save(self, folder: str | os.PathLike[str], user_names: np.ndarray, item_names: np.ndarray) -> None:
        """Writes users.txt, items.txt (readable, may be edited) and numbers.npz; the folder appears whole or not."""
        folder = pathlib.Path(folder)
        part = folder.with_name(folder.name + ".part")
        part.mkdir(parents=True, exist_ok=True)
        write_codes(part / "users.txt", self.users, user_names, "<User>")
        write_codes(part / "items.txt", self.items, item_names, "<Item>")
        arrays: dict[str, Any] = {f"{who}_sizes": np.array(self._codes(who).sizes) for who in KINDS}
        np.savez(part / "numbers.npz", kind=self.kind, user=self.vectors.user, item=self.vectors.item, **arrays)
        part.rename(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], user_names: np.ndarray, item_names: np.ndarray) -> NumberedIds:
        """Reads what `save` wrote, with the text files' edits.

        Raises:
          ValueError: a line can't be understood, a name or id is missing, unknown or double, or numbers.npz is not of
            `save`; names the file and the line.
        """
        folder = pathlib.Path(folder)
        file = folder / "numbers.npz"
        try:
            with file.open("rb") as stream, np.load(stream) as kept:
                kind, vectors = str(kept["kind"]), Vectors(kept["user"], kept["item"])
                sizes = {who: tuple(kept[f"{who}_sizes"].tolist()) for who in KINDS}
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{file} can't be read as numbers ({error}); fit the ids anew") from error
        found = {}
        for who, names, prefix in (("user", user_names, "<User>"), ("item", item_names, "<Item>")):
            levels = (TOKENS[who],) if kind == "iid" else (DIGIT,) * len(sizes[who])
            found[who] = read_codes(folder / f"{who}s.txt", names, prefix, levels, sizes=sizes[who])
        return cls(kind, found["user"], found["item"], vectors)

    def _codes(self, kind: str) -> Codes:
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is not one of {', '.join(KINDS)}")
        return self.users if kind == "user" else self.items

    @staticmethod
    def _numbers(codes: Codes) -> np.ndarray:
        """The number that each row of codes spells, i64[n]."""
        places = np.cumprod(np.array([1, *codes.sizes[:0:-1]], np.int64))[::-1]
        return codes.values.astype(np.int64) @ places


def _digits(numbers: np.ndarray, width: int) -> np.ndarray:
    """Decimal digits with zeros in front, i32[n,width]."""
    return (numbers[:, None] // 10 ** np.arange(width)[::-1] % 10).astype(np.int32)


def _in_order(numbers: np.ndarray) -> np.ndarray:
    """Different numbers in the order in which each first comes."""
    found, first = np.unique(numbers, return_index=True)
    return found[np.argsort(first)]
