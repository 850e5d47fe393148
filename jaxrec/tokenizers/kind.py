"""What a kind of id is: how it is fitted and loaded, and what others have to know of it."""

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
    """All that ids may be made of.

    Attributes:
      vectors: user f32[U,F] and item f32[I,F]; zeros for those whom no training event touched.
      histories: events that may be learned from.
      config: of the run.
      key: random key.
      entities: who gets ids, "user", "item" or both.
      user_rows: f32[n,F], rows that what is learned of users is learned from; None: those of `vectors`.
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
        """Whether ids have to be unique, newcomers' included: items' do where the model says ids."""
        return entity == "item" and self.config.answer == "id"


Fit = Callable[[IdInputs], dict[str, EntityIds]]
Load = Callable[..., EntityIds]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of id; a new one is a file with such a record and a line in the registry.

    Attributes:
      label: what tables call it.
      fit: fit(inputs) -> ids of each of `inputs.entities`, by entity.
      load: load(folder, entity, names) -> what `EntityIds.save` wrote; mostly `load` of the subclass.
      activity: what a run says while ids are fitted; "" where that takes no time.
      shared_clusters: whether the first code is a cluster that users and items are members of together.
      from_vectors: whether an id is made of a vector, so that whoever has a history can get one.
      learns_histories: whether, where user ids are causal, fitting wants users' vectors as parts of histories give
        them.
      length: length(config) -> about how many codes an item's id has, by which rows of tokens are sized.
    """

    label: str
    fit: Fit
    load: Load
    activity: str = ""
    shared_clusters: bool = False
    from_vectors: bool = True
    learns_histories: bool = False
    length: Callable[[Config], int] = lambda config: 1
