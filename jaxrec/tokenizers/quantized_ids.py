"""TokenRec's tokenizer: vectors of users and items to codes, `<V1-42><V2-12><V3-98>`, by one quantizer for each."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import zipfile
from typing import Any

import jax
import numpy as np

from jaxrec.config import QuantizerConfig, from_dict
from jaxrec.keys import stream
from jaxrec.progress import logger
from jaxrec.tokenizers.id_files import read_codes, write_codes
from jaxrec.tokenizers.quantizers.quantizer import Quantizer, collapsed, fit_quantizer
from jaxrec.types import Codes, Vectors

KINDS = ("user", "item")
COLLISION = "<V+{}>"


@dataclasses.dataclass(frozen=True)
class QuantizedIds:
    """Ids of users and items, and what it takes to give one to somebody new.

    Attributes:
      users: values i32[U, L], levels "<U1-{}>", "<U2-{}>", ...; users that are alike may share an id.
      items: i32[I, L], levels "<V1-{}>", ...; under `unique` i32[I, L+1], the last being the number that sets
        items with equal codes apart.
      user_quantizer: from a vector to codes.
      item_quantizer: likewise.
      unique: whether no two items share an id, as decoding needs it.
      reports: of both quantizers on what they were fitted to, as `Quantizer.report` gives them.
    """

    users: Codes
    items: Codes
    user_quantizer: Quantizer
    item_quantizer: Quantizer
    unique: bool
    reports: dict[str, Any]

    @classmethod
    def fit(
        cls,
        vectors: Vectors,
        kind: str,
        config: QuantizerConfig,
        *,
        key: jax.Array,
        unique: bool,
        spare: int = 32,
        user_rows: np.ndarray | None = None,
    ) -> QuantizedIds:
        """Trains a quantizer for users and one for items, and names everybody; TokenRec, section 2.3.

        Entities whose vector is zeros, which no training event touched, are not learned from; they all get
        the codes of zeros.

        Args:
          vectors: user f32[U, F] and item f32[I, F].
          kind: "mq", "rq_vae", "vq_vae", "kmeans" or "rq_kmeans".
          config: of both quantizers.
          key: random key.
          unique: gives items one more level: 0 for the item nearest to what the codes stand for, 1 for
            the next that has the same codes, and so on.
          spare: numbers of that level beyond those in use, for newcomers.
          user_rows: f32[n, F], other rows to train the users' quantizer on, for instance of shorter histories.
        Raises:
          ValueError: an unknown kind, no vector but zeros, or a vector that is not finite.
        """
        rows = {"user": vectors.user if user_rows is None else user_rows, "item": vectors.item}
        quantizers = {
            who: fit_quantizer(rows[who], kind, config, key=stream(key, who), name=f"{who} quantizer") for who in KINDS
        }
        reports = {who: quantizers[who].report(rows[who]) for who in KINDS}
        for who in KINDS:
            for line in collapsed(reports[who], who):
                logger.warning("%s", line)
        codes = {who: quantizers[who].encode(getattr(vectors, who)) for who in KINDS}
        return cls.made(vectors, quantizers, codes, reports, unique=unique, spare=spare)

    @classmethod
    def made(
        cls,
        vectors: Vectors,
        quantizers: dict[str, Quantizer],
        found: dict[str, np.ndarray],
        reports: dict[str, Any],
        *,
        unique: bool,
        spare: int,
    ) -> QuantizedIds:
        """Ids from codes that somebody found, i32[U,L] for "user" and i32[I,L] for "item"; all else as in `fit`."""
        user, item = quantizers["user"], quantizers["item"]
        codes, sizes, levels = found["item"], item.sizes, _levels("V", item)
        if unique:
            number = _numbers(codes, _distance(item, vectors.item, codes))
            codes = np.concatenate([codes, number[:, None]], axis=1).astype(np.int32)
            sizes, levels = (*sizes, int(number.max(initial=-1)) + 1 + spare), (*levels, COLLISION)
        users = Codes(found["user"], user.sizes, _levels("U", user))
        return cls(users, Codes(codes, sizes, levels), user, item, unique, reports)

    def encode(self, new: np.ndarray, kind: str, *, unique: bool, instead: np.ndarray | None = None) -> np.ndarray:
        """Codes for vectors that were not there when the ids were made; nothing is retrained or changed.

        Equal vectors get equal codes. With `unique`, which is for items, a last number sets them apart from the items
        that are there and from each other, the one nearest to what the codes stand for first: encode all
        newcomers in one call. Without, that level is left away.

        Args:
          new: vectors, f32[m, F].
          kind: "user" or "item".
          unique: whether to end in a free number.
          instead: i64[m], rows whose ids these will replace; what they hold counts as free. None: of nobody.
        Returns:
          i32[m, L], or i32[m, L+1] with `unique`.
        Raises:
          ValueError: another width or kind, numbers asked for ids that have none, or none is left.
        """
        quantizer = self._quantizer(kind)
        codes = quantizer.encode(new)
        if not unique:
            return codes
        if kind == "user" or not self.unique:
            why = "users may share ids" if kind == "user" else "these ids were made without"
            raise ValueError(f"unique=True: there is no number that sets {kind}s apart, {why}; ask with unique=False")
        most = self.items.sizes[-1]
        taken: dict[tuple[int, ...], set[int]] = {}
        held_by_others = np.setdiff1d(np.arange(len(self.items.values)), [] if instead is None else instead)
        for *code, number in self.items.values[held_by_others].tolist():
            taken.setdefault(tuple(code), set()).add(number)
        numbers = np.empty(len(codes), np.int32)
        for row in np.argsort(_distance(quantizer, new, codes), kind="stable"):
            held = taken.setdefault(tuple(codes[row].tolist()), set())
            free = next((number for number in range(most) if number not in held), None)
            if free is None:
                name = "".join(level.format(code) for level, code in zip(self.items.levels, codes[row]))
                raise ValueError(
                    f"all {most} numbers {COLLISION.format('N')} behind {name} are in use; "
                    "fit the ids anew with a larger ids.spare"
                )
            held.add(free)
            numbers[row] = free
        return np.concatenate([codes, numbers[:, None]], axis=1)

    def with_rows(self, kind: str, rows: np.ndarray, values: np.ndarray) -> QuantizedIds:
        """A copy in which some entities have the codes that `encode` gave them.

        Args:
          kind: "user" or "item".
          rows: i64[m], whose codes; rows behind the last are new entities.
          values: i32[m, L].
        Raises:
          ValueError: another number of levels, a code that is not below its size, or an item's id stands twice.
        """
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is not one of {', '.join(KINDS)}")
        old = self.users if kind == "user" else self.items
        if values.ndim != 2 or values.shape[1] != len(old.sizes):
            raise ValueError(f"values have shape {values.shape}, wanted [m, {len(old.sizes)}] for {kind}s of these ids")
        if ((values < 0) | (values >= np.array(old.sizes))).any():
            raise ValueError(f"values go from {values.min()} to {values.max()}, wanted 0 to below {old.sizes}")
        more = max(len(old.values), int(rows.max(initial=-1)) + 1) - len(old.values)
        table = np.concatenate([old.values, np.zeros((more, len(old.sizes)), np.int32)])
        table[rows] = values
        if kind == "item" and self.unique and len(np.unique(table, axis=0)) < len(table):
            raise ValueError("an item's id stands twice; take all newcomers' codes from one encode(..., unique=True)")
        return dataclasses.replace(self, **{f"{kind}s": dataclasses.replace(old, values=table)})

    def codewords(self, kind: str) -> list[np.ndarray | None]:
        """Codewords of each level of `kind`, f32[size, d]; None for the numbers that set items apart."""
        words: list[np.ndarray | None] = list(self._quantizer(kind).codewords())
        return [*words, None] if kind == "item" and self.unique else words

    def report(self) -> dict[str, Any]:
        """How well the ids came out, for JSON.

        Returns:
          For "user" and "item": what `Quantizer.report` said of the rows that were fitted, "ids" (how many differ), and
          "collapsed", a sentence for each codebook that is hardly used.
        """
        values = {"user": self.users.values, "item": self.items.values}
        return {
            who: {
                **self.reports[who],
                "ids": len(np.unique(values[who], axis=0)),
                "collapsed": collapsed(self.reports[who], who),
            }
            for who in KINDS
        }

    def save(self, folder: str | os.PathLike[str], user_names: np.ndarray, item_names: np.ndarray) -> None:
        """Writes users.txt, items.txt (readable, may be edited) and quantizers.npz; the folder appears whole or not."""
        folder = pathlib.Path(folder)
        part = folder.with_name(folder.name + ".part")
        part.mkdir(parents=True, exist_ok=True)
        write_codes(part / "users.txt", self.users, user_names, "<User>")
        write_codes(part / "items.txt", self.items, item_names, "<Item>")
        arrays = {}
        for who in KINDS:
            for name, value in self._quantizer(who).arrays().items():
                arrays[f"{who}.{name}"] = value
        about = {
            "kind": self.item_quantizer.kind,
            "config": dataclasses.asdict(self.item_quantizer.config),
            "unique": self.unique,
            "item_sizes": self.items.sizes,
            "reports": self.reports,
        }
        np.savez(part / "quantizers.npz", about=json.dumps(about), **arrays)
        part.rename(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], user_names: np.ndarray, item_names: np.ndarray) -> QuantizedIds:
        """Reads what `save` wrote, with the text files' edits.

        Raises:
          ValueError: a line can't be understood, a name or id is missing, unknown or (of an item that decoding needs
            to be unique) double, or a code is not below its size; names the file and the line. Or
            quantizers.npz is not of `save`.
        """
        folder = pathlib.Path(folder)
        file = folder / "quantizers.npz"
        try:
            with file.open("rb") as stream, np.load(stream) as kept:
                arrays = dict(kept)
            about = json.loads(str(arrays.pop("about")))
            config = from_dict(QuantizerConfig, about["config"])
            quantizers = {
                who: Quantizer.from_arrays(
                    about["kind"],
                    config,
                    {name.removeprefix(f"{who}."): a for name, a in arrays.items() if name.startswith(f"{who}.")},
                )
                for who in KINDS
            }
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{file} can't be read as quantizers ({error}); fit the ids anew") from error
        user, item = quantizers["user"], quantizers["item"]
        levels = (*_levels("V", item), *((COLLISION,) if about["unique"] else ()))
        users = read_codes(
            folder / "users.txt", user_names, "<User>", _levels("U", user), sizes=user.sizes, unique=False
        )
        items = read_codes(
            folder / "items.txt", item_names, "<Item>", levels, sizes=about["item_sizes"], unique=about["unique"]
        )
        return cls(users, items, user, item, about["unique"], about["reports"])

    def _quantizer(self, kind: str) -> Quantizer:
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is not one of {', '.join(KINDS)}")
        return self.user_quantizer if kind == "user" else self.item_quantizer


def _levels(letter: str, quantizer: Quantizer) -> tuple[str, ...]:
    return tuple(f"<{letter}{number}-{{}}>" for number in range(1, len(quantizer.sizes) + 1))


def _distance(quantizer: Quantizer, rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Squared distance of rows to what their codes stand for, f32[m]; inf for zeros, which come last."""
    distance = ((rows - quantizer.decode(codes)) ** 2).sum(1)
    return np.where((rows != 0).any(1), distance, np.inf)


def _numbers(codes: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Place of each row by distance among the rows with the same codes, ties by row, i64[n]."""
    _, group = np.unique(codes, axis=0, return_inverse=True)
    order = np.lexsort((distance, group.reshape(-1)))
    ordered = group.reshape(-1)[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    number = np.empty(len(codes), np.int64)
    number[order] = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    return number
