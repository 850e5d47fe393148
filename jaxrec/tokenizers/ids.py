"""All kinds of ids by name: who makes them, what tables call them, and users' of one kind beside items' of another."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from jaxrec.config import IdConfig
from jaxrec.tokenizers.meta_id import MetaIds
from jaxrec.tokenizers.numbered_ids import NumberedIds
from jaxrec.tokenizers.quantized_ids import QuantizedIds
from jaxrec.types import Codes

PureIds = MetaIds | QuantizedIds | NumberedIds
LABELS = {
    "meta_id": "META ID",
    "spectral": "spectral META ID",
    "dbscan": "DBSCAN META ID",
    "mq": "MQ",
    "rq_vae": "RQ-VAE",
    "vq_vae": "VQ-VAE",
    "kmeans": "K-means",
    "rq_kmeans": "RQ-K-means",
    "cid": "CID",
    "rid": "RID",
    "sid": "SID",
    "iid": "IID",
}
CLUSTERED, NUMBERED = ("meta_id", "spectral", "dbscan"), ("rid", "sid", "iid")
QUANTIZED = tuple(kind for kind in LABELS if kind not in CLUSTERED + NUMBERED)
OTHERS = "rid"
"""What names those whom `IdConfig.entities` leaves out."""


@dataclasses.dataclass(frozen=True)
class MixedIds:
    """Users' ids of one kind and items' of another, as if they were one: META ID, appendix D and figure 7.

    Attributes:
      by_user: names users; what it holds of items is not read.
      by_item: names items; what it holds of users is not read.
    """

    by_user: PureIds
    by_item: PureIds

    @property
    def users(self) -> Codes:
        return self.by_user.users

    @property
    def items(self) -> Codes:
        return self.by_item.items

    def encode(self, new: np.ndarray, kind: str, *, unique: bool, instead: np.ndarray | None = None) -> np.ndarray:
        """As the kind's own ids do."""
        return self._of(kind).encode(new, kind, unique=unique, instead=instead)

    def with_rows(self, kind: str, rows: np.ndarray, values: np.ndarray) -> MixedIds:
        """A copy in which some entities have the codes that `encode` gave them."""
        return dataclasses.replace(self, **{f"by_{kind}": self._of(kind).with_rows(kind, rows, values)})

    def codewords(self, kind: str) -> list[np.ndarray | None]:
        """What the tokens of each level of `kind` stand for."""
        return self._of(kind).codewords(kind)

    def report(self) -> dict[str, Any]:
        """Of both, for JSON."""
        return {"by_user": self.by_user.report(), "by_item": self.by_item.report()}

    def save(self, folder: str | os.PathLike[str], user_names: np.ndarray, item_names: np.ndarray) -> None:
        """Writes folders by_user (of which users.txt counts) and by_item (items.txt); all appears whole or not."""
        folder = pathlib.Path(folder)
        part = folder.with_name(folder.name + ".part")
        for name, ids in (("by_user", self.by_user), ("by_item", self.by_item)):
            ids.save(part / name, user_names[: len(ids.users.values)], item_names[: len(ids.items.values)])
        part.rename(folder)

    def _of(self, kind: str) -> PureIds:
        if kind not in ("user", "item"):
            raise ValueError(f"kind={kind!r} is not one of user, item")
        return self.by_user if kind == "user" else self.by_item


Ids = PureIds | MixedIds


def load(folder: str | os.PathLike[str], config: IdConfig, user_names: np.ndarray, item_names: np.ndarray) -> Ids:
    """What `save` of the ids of this config wrote, with the text files' edits.

    Raises:
      ValueError: a file is damaged, or not of this config's kind.
    """
    folder = pathlib.Path(folder)
    if config.entities == "both":
        return _class_of(config.kind).load(folder, user_names, item_names)
    # Clusters are of those alone who are named by them, so the others have no rows.
    parts = {}
    for name, mine in (("by_user", config.entities == "users"), ("by_item", config.entities == "items")):
        alone = mine and config.kind in CLUSTERED
        users, items = len(user_names), len(item_names)
        if alone:
            users, items = (users, 0) if name == "by_user" else (0, items)
        kind = config.kind if mine else OTHERS
        parts[name] = _class_of(kind).load(folder / name, user_names[:users], item_names[:items])
    return MixedIds(**parts)


def _class_of(kind: str) -> type[PureIds]:
    return MetaIds if kind in CLUSTERED else NumberedIds if kind in NUMBERED else QuantizedIds
