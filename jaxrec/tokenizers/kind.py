"""The record of a kind of id: how it is fitted and loaded, and its properties."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from jaxrec.config import Config
from jaxrec.tokenizers.entity_ids import ENTITIES, EntityIds
from jaxrec.types import Histories, Vectors


@dataclasses.dataclass(frozen=True)
class IdInputs:
    """The inputs from which ids are made.

    Attributes:
      vectors: user f32[U,F] and item f32[I,F]; zeros for those without a training event.
      histories: training events.
      config: the run's config.
      key: random key.
      entities: entities that get ids, "user", "item" or both.
      user_rows: f32[n,F], the vectors on which users' quantizer is trained; None: those of `vectors`.
    """

    vectors: Vectors
    histories: Histories
    config: Config
    key: jax.Array
    entities: tuple[str, ...] = ENTITIES
    user_rows: np.ndarray | None = None

    def rows(self, entity: str) -> np.ndarray:
        """The vectors of "user" or "item", f32[n,F]."""
        return {"user": self.vectors.user, "item": self.vectors.item}[entity].astype(np.float32)

    def unique(self, entity: str) -> bool:
        """Whether ids must be unique, including newcomers': those of items if the model generates ids."""
        return entity == "item" and self.config.answer != "vector"


Fit = Callable[[IdInputs], dict[str, EntityIds]]
Load = Callable[..., EntityIds]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of id; to add one, write a module with such a record and add a line to the registry.

    Attributes:
      label: its name in tables.
      fit: fit(inputs) -> ids of each of `inputs.entities`, by entity.
      load: load(folder, entity, names) -> the ids that `EntityIds.save` wrote; usually `load` of the subclass.
      activity: progress message while ids are fitted; "" if that takes no time.
      shared_clusters: whether the first code is a cluster of users and items together.
      from_vectors: whether an id is made from a vector, so that anybody with a history can get one.
      learns_histories: whether, with causal user ids, it is fitted on users' vectors after each part of their history.
      length: length(config) -> approximate number of codes of an item's id, by which rows of tokens are sized.
    """

    label: str
    fit: Fit
    load: Load
    activity: str = ""
    shared_clusters: bool = False
    from_vectors: bool = True
    learns_histories: bool = False
    length: Callable[[Config], int] = lambda config: 1
