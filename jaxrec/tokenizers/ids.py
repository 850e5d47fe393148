"""The ids of users and items together: fitting, saving, loading, and ids for newcomers."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from jaxrec.config import IdConfig
from jaxrec.files import kept_folder
from jaxrec.tokenizers.entity_ids import ENTITIES, EntityIds
from jaxrec.tokenizers.kind import IdInputs
from jaxrec.tokenizers.registry import id_kind, kind_name
from jaxrec.types import Codes


@dataclasses.dataclass(frozen=True)
class Ids:
    """Ids of users and ids of items, of one kind or of two (META ID, appendix D and figure 7)."""

    users: EntityIds
    items: EntityIds

    def user_codes(self, vectors: np.ndarray) -> Codes:
        """Codes for users by their vectors f32[m,F] alone, values i32[m,L]; others may have the same."""
        return dataclasses.replace(self.users.codes, values=self.users.codes_of(vectors, beside=self.items))

    def with_users(self, rows: np.ndarray, vectors: np.ndarray) -> Ids:
        """A copy in which the users of these rows i64[m], new or not, have the ids of their vectors f32[m,F]."""
        codes = self.users.new_codes(vectors, rows, beside=self.items)
        return dataclasses.replace(self, users=self.users.with_rows(rows, codes))

    def with_items(self, rows: np.ndarray, vectors: np.ndarray) -> Ids:
        """A copy in which the items of these rows i64[m], new or not, have the ids of their vectors f32[m,F]."""
        codes = self.items.new_codes(vectors, rows, beside=self.users)
        return dataclasses.replace(self, items=self.items.with_rows(rows, codes))

    def anchors(self, new_tokens: tuple[str, ...]) -> np.ndarray | None:
        """The centroid or codeword that each new token stands for, f32[M,F]; zeros where none, None if none has one."""
        codewords: dict[str, np.ndarray | None] = {}
        for ids in (self.users, self.items):
            codewords |= dict(zip(ids.codes.levels, ids.codewords(), strict=True))
        width = next((rows.shape[1] for rows in codewords.values() if rows is not None), None)
        if width is None:
            return None
        anchors = np.zeros((len(new_tokens), width), np.float32)
        for level, rows in codewords.items():
            if rows is not None:
                first = new_tokens.index(level.format(0))
                anchors[first : first + len(rows)] = rows
        return anchors

    def report(self) -> dict[str, Any]:
        """Statistics of the ids of "user" and "item", for JSON."""
        return {"user": self.users.report(), "item": self.items.report()}

    def save(self, folder: str | os.PathLike[str], user_names: np.ndarray, item_names: np.ndarray) -> None:
        """Writes a text file and an .npz for users and for items; the folder is written atomically."""
        with kept_folder(pathlib.Path(folder), editable=".txt") as part:
            self.users.save(part, user_names)
            self.items.save(part, item_names)


def fit_ids(inputs: IdInputs) -> Ids:
    """Ids of users and items as `inputs.config.ids` asks for them.

    Raises:
      ValueError: an unknown kind, or vectors and histories that no ids can be made of; says what to do.
    """
    config = inputs.config.ids
    kinds = {entity: kind_name(entity, config.kind, config.entities) for entity in ENTITIES}
    ids: dict[str, EntityIds] = {}
    for name in dict.fromkeys(kinds.values()):
        entities = tuple(entity for entity in ENTITIES if kinds[entity] == name)
        ids |= id_kind(name).fit(dataclasses.replace(inputs, entities=entities))
    return Ids(ids["user"], ids["item"])


def load_ids(folder: str | os.PathLike[str], config: IdConfig, user_names: np.ndarray, item_names: np.ndarray) -> Ids:
    """What `Ids.save` wrote of the ids of this config, with the text files' edits.

    Raises:
      ValueError: a file is damaged, or not of this config's kind.
    """
    users, items = (
        id_kind(kind_name(entity, config.kind, config.entities)).load(folder, entity, names)
        for entity, names in (("user", user_names), ("item", item_names))
    )
    return Ids(users, items)
