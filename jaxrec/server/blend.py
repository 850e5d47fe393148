"""A served blend: its scores for requests, in batches of few shapes, which are compiled at start."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from jaxrec.evaluate.blending import Blend
from jaxrec.evaluate.seen_items import padded_width
from jaxrec.inference.blends import BlendedParts
from jaxrec.inference.queries import Query, longest_prompt
from jaxrec.server.version import DIGITS, version_of
from jaxrec.system.catalogue_scores import catalogue_component
from jaxrec.system.system import System
from jaxrec.types import Array, Histories, TopK

LENGTHS = (0, 8, 16, 32, 64, 128, 256)
"""Lengths of histories that are compiled at start; next-item models pad to the next of them."""


@dataclasses.dataclass(frozen=True)
class ServedBlend:
    """A blend with the histories of the users whom its parts know.

    Users who came later are scored by their history alone, as somebody new is; items that came later are not listed.

    Attributes:
      name: of its row in tables.
      version: a hash of config and weights of its runs, of settings and check sums of its baselines, and of the
        blend's weights.
      blend: of the components that take part; a run's prompts have one length.
      histories: of the users of the runs' data, over the items of the runs' data.
    """

    name: str
    version: str
    blend: Blend
    histories: Histories

    @classmethod
    def of(cls, blended: BlendedParts) -> ServedBlend:
        """The blend of a folder; raises ValueError if it holds no run, whose store would keep what is new."""
        system_of(blended)
        components, weights, versions = [], [], []
        blend = blended.blend
        takes_part = dict(zip(blend.named_weights, blend.takes_part, strict=True))
        for part, component, weight in zip(blended.parts, blend.components, blend.weights, strict=True):
            versions.append([part.without_seed, component.parameter, weight])
            if isinstance(part.run, System):
                versions[-1].append(version_of(part.run))
                fixed = catalogue_component(part.run, length=longest_prompt(part.run))
                component = dataclasses.replace(component, score=fixed.score, score_new=fixed.score_new)
            elif part.run is not None:
                versions[-1].append([part.run.config.seed, *_trained_as(part.run.folder)])
            if takes_part[component.name]:
                components.append(component)
                weights.append(weight)
        if blend.reranker is not None:
            versions.append(blend.reranker.to_dict())
        version = hashlib.sha256(json.dumps(versions).encode()).hexdigest()[:DIGITS]
        histories = blended.run.split.history("test")
        served = dataclasses.replace(blend, components=tuple(components), weights=tuple(weights))
        return cls(blended.name, version, served, histories)

    def at(self, histories: Histories) -> ServedBlend:
        """With newer histories, of at least these users and items."""
        n_users, n_items = self.histories.n_users, self.histories.n_items
        items = histories.items[: histories.offsets[n_users]]
        kept = np.concatenate([[0], np.cumsum(items < n_items)])
        offsets = kept[histories.offsets[: n_users + 1]]
        return dataclasses.replace(self, histories=Histories(offsets, items[items < n_items], n_items))

    def examples(self) -> list[Query]:
        """Requests of all shapes that parts compile: of users with short and long histories, and of somebody new."""
        none, n_items = np.zeros(0, np.int32), self.histories.n_items
        sizes, first = np.unique(np.diff(self.histories.offsets), return_index=True)
        # The shortest history of each width.
        by_width = {padded_width(int(size)): int(user) for size, user in zip(sizes[::-1], first[::-1], strict=True)}
        users = [Query(user, self.histories.of(user), none, None, True) for user in by_width.values()]
        lengths = dict.fromkeys(min(length, n_items) for length in LENGTHS)
        strangers = [Query(None, np.arange(length, dtype=np.int32), none, None, True) for length in lengths]
        return users if self.of_users_alone else [*users, *strangers]

    @property
    def of_users_alone(self) -> list[str]:
        """The parts that can't score somebody new."""
        return [component.name for component in self.blend.components if component.score_new is None]

    def check(self, query: Query) -> None:
        """Raises ValueError if a part can't score this request."""
        if not self._is_of_data(query) and (names := self.of_users_alone):
            raise ValueError(
                f"{names[0]} has parameters for each user of the data and none for somebody new; name a user of the "
                "data"
            )

    def top_k(self, queries: Sequence[Query], allowed: np.ndarray, k: int) -> TopK:
        """The best k items for each query; -1 with -inf where fewer may be listed.

        Args:
          queries: as many as a compiled batch holds; each has passed `check`.
          allowed: items that may be listed, bool[B,I]; those beyond the blend's items are not.
          k: at most the number of the blend's items.
        """
        scores = np.empty((len(queries), self.histories.n_items), np.float32)
        are_of_data = np.array([self._is_of_data(query) for query in queries])
        for of_data in (True, False):
            if len(places := np.flatnonzero(are_of_data == of_data)):
                # Always as many rows as there are queries, so that one shape is compiled.
                rows = np.resize(places, len(queries))
                scores[places] = self._scores([queries[n] for n in rows.tolist()], of_data=of_data)[: len(places)]
        scores[~allowed[:, : scores.shape[1]]] = -np.inf
        top_scores, items = jax.device_get(_best(scores, k))
        return TopK(np.where(top_scores > -np.inf, items, -1), top_scores)

    def _is_of_data(self, query: Query) -> bool:
        return query.user is not None and query.user < self.histories.n_users

    def _scores(self, queries: Sequence[Query], *, of_data: bool) -> np.ndarray:
        """Weighted log-probabilities f32[B,I] for queries of users of the data, or of strangers."""
        if of_data:
            histories, users = self.histories, np.array([query.user for query in queries], np.int32)
        else:
            rows = [query.history[query.history < self.histories.n_items] for query in queries]
            offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
            histories = Histories(offsets, np.concatenate(rows), self.histories.n_items)
            users = np.arange(len(rows), dtype=np.int32)
        log_probs = []
        for component in self.blend.components:
            score = component.score if of_data else component.score_new
            assert score is not None
            log_probs.append(component.log_probs(np.asarray(score(histories, users))))
        return self.blend.scores(log_probs, histories, users)


def _trained_as(folder: pathlib.Path) -> list[str]:
    """What a baseline keeps of its training: check sums of its checkpoints, and what it chose on validation items."""
    return [path.read_text() for name in ("sums.json", "chosen.json") for path in sorted(folder.rglob(name))]


def system_of(blended: BlendedParts) -> System:
    """The first run of a blend: its names and ids are shown, and its store keeps new events.

    Raises:
      ValueError: the blend has baselines alone.
    """
    for part in blended.parts:
        if isinstance(part.run, System):
            return part.run
    raise ValueError(f"{blended.folder} blends baselines alone; add a run, whose store keeps new events, to serve it")


@functools.partial(jax.jit, static_argnames="k")
def _best(scores: Array, k: int) -> tuple[jax.Array, jax.Array]:
    top_scores, items = jax.lax.top_k(scores, k)
    return top_scores, items
