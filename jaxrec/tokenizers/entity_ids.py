"""Ids of all users or all items: their codes, codes for newcomers, and files."""

from __future__ import annotations

import abc
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from jaxrec.files import read_kept
from jaxrec.tokenizers.id_files import code_text, read_codes, write_codes
from jaxrec.types import Codes, DataError

ENTITIES = ("user", "item")
PREFIXES = {"user": "<User>", "item": "<Item>"}


@dataclasses.dataclass(frozen=True)
class EntityIds(abc.ABC):
    """Ids of all users or all items. A kind of id is a subclass that implements at least `codes_of`.

    Fields of a subclass that are arrays, numbers or strings are saved and loaded automatically; for others it
    overrides `arrays` and `from_arrays`.

    Attributes:
      entity: "user" or "item".
      codes: values i32[n,L], and the names of each level's tokens.
      unique: whether ids must be unique, including newcomers', as decoding requires.
    """

    entity: str
    codes: Codes
    unique: bool

    @property
    def prefix(self) -> str:
        """The token that an id begins with, "<User>" or "<Item>"."""
        return PREFIXES[self.entity]

    @property
    def distinct_in_files(self) -> bool:
        """Whether a file in which two entities share an id is an error."""
        return self.unique

    def text(self, row: int) -> str:
        """An id as text, `<Item><CT3><CI17>`."""
        return self.prefix + code_text(self.codes, self.codes.values[row])

    @abc.abstractmethod
    def codes_of(self, vectors: np.ndarray, *, beside: EntityIds | None = None) -> np.ndarray:
        """Codes from vectors alone, for entities without a row; equal vectors get equal codes, which others may share.

        Args:
          vectors: f32[m,F].
          beside: ids of the other entity, used by "joint" ranks of META ID.
        Returns:
          i32[m,L], below `codes.sizes`; without the level that only distinguishes equal codes.
        Raises:
          ValueError: the vectors have another width, or ids of this kind are not made from vectors.
        """

    def new_codes(self, vectors: np.ndarray, rows: np.ndarray, *, beside: EntityIds | None = None) -> np.ndarray:
        """Codes for entities that are new, or that have new vectors. Nothing is retrained or changed.

        If ids are unique, all newcomers must be in one call.

        Args:
          vectors: f32[m,F].
          rows: i64[m], their rows; rows beyond the last are new entities.
          beside: as in `codes_of`.
        Returns:
          i32[m,L], below `codes.sizes`; `with_rows` takes them.
        Raises:
          ValueError: the vectors have another width, or no free id is left.
        """
        if self.unique:
            return self._unique_codes(vectors, rows, beside=beside)
        return self.codes_of(vectors, beside=beside)

    def _unique_codes(self, vectors: np.ndarray, rows: np.ndarray, *, beside: EntityIds | None) -> np.ndarray:
        """`new_codes` where ids are unique; a subclass whose ids may have to be overrides it."""
        raise NotImplementedError(f"{type(self).__name__} can't make unique ids for newcomers")

    def with_rows(self, rows: np.ndarray, values: np.ndarray) -> Self:
        """A copy in which some entities have the codes that `new_codes` gave them.

        Args:
          rows: i64[m]; rows beyond the last are new entities.
          values: i32[m,L].
        Raises:
          ValueError: another number of levels, a code that is not below its size, or an id that stands twice where ids
            are unique.
        """
        sizes = self.codes.sizes
        if values.ndim != 2 or values.shape[1] != len(sizes):
            raise ValueError(
                f"values have shape {values.shape}, expected [m, {len(sizes)}] for {self.entity}s of these ids"
            )
        if ((values < 0) | (values >= np.array(sizes))).any():
            raise ValueError(f"values go from {values.min()} to {values.max()}, expected 0 to below {sizes}")
        added = max(len(self.codes.values), int(rows.max(initial=-1)) + 1) - len(self.codes.values)
        all_values = np.concatenate([self.codes.values, np.zeros((added, len(sizes)), np.int32)])
        all_values[rows] = values
        if self.unique and len(np.unique(all_values, axis=0)) < len(all_values):
            raise ValueError(
                f"an id of {self.entity}s stands twice; take the codes of all newcomers from one call of new_codes"
            )
        return dataclasses.replace(self, codes=dataclasses.replace(self.codes, values=all_values))

    def codewords(self) -> list[np.ndarray | None]:
        """The vectors of each level's tokens, f32[size,d]; None for a level without vectors."""
        return [None] * len(self.codes.levels)

    def report(self) -> dict[str, Any]:
        """Statistics of the ids, for JSON; "ids" is the number of distinct ids."""
        return {"ids": len(np.unique(self.codes.values, axis=0))}

    def arrays(self) -> dict[str, Any]:
        """All that `from_arrays` needs beside entity, codes and unique, by name, as numpy can save it."""
        base = {field.name for field in dataclasses.fields(EntityIds)}
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in base}

    @classmethod
    def from_arrays(
        cls, entity: str, codes: Codes, unique: bool, arrays: dict[str, np.ndarray], **options: Any
    ) -> Self:
        """The ids that `arrays` came from; `options` are those of `load`.

        Raises:
          KeyError, TypeError or ValueError: an array is missing, superfluous or of another shape.
        """
        return cls(entity, codes, unique, **{n: a.item() if a.ndim == 0 else a for n, a in arrays.items()}, **options)

    def save(self, folder: str | os.PathLike[str], names: Sequence[str] | np.ndarray) -> None:
        """Writes users.txt or items.txt, which can be edited, and an .npz with the rest.

        Args:
          folder: an existing folder.
          names: str[n], of the entities.
        """
        file = pathlib.Path(folder) / f"{self.entity}s"
        write_codes(file.with_suffix(".txt"), self.codes, np.asarray(names), self.prefix)
        np.savez(
            file.with_suffix(".npz"),
            sizes=np.array(self.codes.sizes),
            levels=np.array(self.codes.levels),
            unique=self.unique,
            distinct=self.distinct_in_files,
            **{f"its_{name}": value for name, value in self.arrays().items()},
        )

    @classmethod
    def load(cls, folder: str | os.PathLike[str], entity: str, names: np.ndarray, **options: Any) -> Self:
        """Reads what `save` wrote, with the text file's edits.

        Args:
          folder: of `save`.
          entity: "user" or "item".
          names: str[n], all of which must be in the file.
          options: further arguments of `from_arrays`.
        Raises:
          DataError: a line can't be understood, a name or id is missing, unknown or double, a code is not below its
            size, or the .npz is not of `save`; names the file and, in a text file, the line.
        """
        file = pathlib.Path(folder) / f"{entity}s"
        arrays = read_kept(file.with_suffix(".npz"), "npz", "fit the ids anew, in a new folder, or put it back")
        try:
            sizes, levels = tuple(arrays["sizes"].tolist()), tuple(arrays["levels"].tolist())
            no_codes = Codes(np.zeros((0, len(sizes)), np.int32), sizes, levels)
            own = {name.removeprefix("its_"): array for name, array in arrays.items() if name.startswith("its_")}
            ids = cls.from_arrays(entity, no_codes, bool(arrays["unique"]), own, **options)
            distinct = bool(arrays["distinct"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{file.with_suffix('.npz')} can't be read as ids of {entity}s ({error}); fit the ids anew"
            ) from error
        try:
            codes = read_codes(file.with_suffix(".txt"), names, PREFIXES[entity], levels, sizes=sizes, unique=distinct)
        except DataError:
            raise
        except ValueError as error:
            raise DataError(str(error)) from error
        return dataclasses.replace(ids, codes=codes)
