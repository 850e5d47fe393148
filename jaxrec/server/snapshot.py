"""A run as it answers at one moment: never changed, replaced as a whole by new events or a reload."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import jax
import numpy as np

from jaxrec.inference import queries
from jaxrec.inference.queries import Names, Query
from jaxrec.models.retriever import Retriever
from jaxrec.server.blend import ServedBlend
from jaxrec.server.limits import Limits
from jaxrec.server.version import version_of
from jaxrec.system.system import System
from jaxrec.text import listed, quoted
from jaxrec.types import TopK

Stage = Callable[[str], None]
"""Called with the name of each stage of a batch when it is over."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A run's state and what requests need beside it.

    Attributes:
      system: with the users and items of its store.
      names: numbers of its users and items.
      titles: of all items in lower case, for the search.
      allow_lists: item numbers i32[n] of the server's named lists, as far as the run has the items.
      heads: the JSON of each item without its score; made when it is first listed.
      version: of config and weights.
      most: items of the lists that are computed, of which each request gets its first k.
      length: of the prompts, which are padded to it.
      limits: batch sizes that device calls are padded to.
      blend: that answers in the run's place, with the run's names, ids and store; None: the run itself answers.
    """

    system: System
    names: Names
    titles: list[str]
    allow_lists: Mapping[str, np.ndarray]
    heads: list[bytes]
    version: str
    most: int
    length: int
    limits: Limits
    blend: ServedBlend | None = None

    @classmethod
    def of(
        cls,
        system: System,
        limits: Limits,
        allow_lists: Mapping[str, Sequence[str]] = MappingProxyType({}),
        before: Snapshot | None = None,
        blend: ServedBlend | None = None,
    ) -> Snapshot:
        """The state of a run.

        Args:
          system: the run.
          limits: of the server.
          allow_lists: names of items by the names of lists.
          before: of the same run with fewer users and items, from which what is unchanged is taken; None: all is made.
          blend: that answers, whose first run the system is; None: the run itself answers.
        """
        data, settings = system.data, system.config
        names = Names.of(system, before and before.names)
        version = before.version if before else blend.version if blend else version_of(system)
        first = len(before.titles) if before else 0
        new = zip(data.titles()[first:], data.item_names[first:], strict=True)
        titles = (before.titles if before else []) + [f"{title}\n{name}".casefold() for title, name in new]
        heads = (before.heads if before else []) + [b""] * (data.n_items - first)
        lists = {
            name: np.array([names.items[item] for item in items if item in names.items], np.int32)
            for name, items in allow_lists.items()
        }
        most = length = 0
        if settings.task.ranking:
            most = min(limits.k, data.n_items)
            if blend:
                most, blend = min(most, blend.histories.n_items), blend.at(system.histories)
            elif _has_beams(system):
                most = min(most, settings.eval.beams)
            length = queries.longest_prompt(system)
        return cls(system, names, titles, lists, heads, version, most, length, limits, blend)

    def is_before(self, system: System) -> bool:
        """Whether a system of the same run has all users and items of this state, in this order."""
        mine, data = self.system.data, system.data
        return all(
            old.tolist() == new[: len(old)].tolist()
            for old, new in ((mine.user_names, data.user_names), (mine.item_names, data.item_names))
        )

    def compile(self) -> None:
        """Compiles the device call of each batch size, and answers once with each."""
        if not self.ranks:
            return
        task, none = self.system.config.task.ranking[0], np.zeros(0, np.int32)
        examples = self.blend.examples() if self.blend else [Query(None, none, none, None, True)]
        for size in self.limits.batch_sizes:
            for query in examples:
                self.answer([query] * size, task)

    @property
    def scored_items(self) -> int:
        """Size of the catalogue that is scored, on which compiled shapes depend."""
        return self.blend.histories.n_items if self.blend else self.system.data.n_items

    @property
    def ranks(self) -> bool:
        """Whether the run recommends items; one of text tasks alone does not."""
        return self.length > 0

    @property
    def score(self) -> str:
        """What scores are."""
        if self.blend:
            return "weighted log-probability"
        return "cosine" if isinstance(self.system.model, Retriever) else "log-probability"

    def task(self, name: str | None) -> str:
        """The ranking task of a name, or the main one; raises ValueError if the model was not trained on it."""
        task = queries.ranking_task(self.system, name)
        if self.blend and task != (main := self.system.config.task.ranking[0]):
            raise ValueError(f"task {quoted(task)} is not blended; {self.blend.name} knows {main}")
        return task

    def check(self, query: Query) -> None:
        """Raises ValueError if a query can't be answered."""
        if self.blend:
            self.blend.check(query)

    def why_fewer(self, query: Query, n: int, k: int) -> str:
        """Why a list has n items of the k that were wanted; "" where it has k."""
        if self.blend and n < k:
            allowed = queries.allowed_items(self.system, [query])[0]
            if later := int(allowed[self.scored_items :].sum()):
                return f"{n} of {k} items: the other {later} that may be listed came after the blend was made"
        return queries.why_fewer(self.system, query, n, k)

    def check_k(self, k: int) -> None:
        """Raises ValueError if a list of k items can't be asked for."""
        queries.check_k(self.system, k)
        if k > self.scored_items:
            raise ValueError(
                f"k={k} exceeds the {self.scored_items} items of this blend; those that came after it are not in it"
            )
        if k > self.most:
            bound_by_beams = _has_beams(self.system) and self.most < self.limits.k
            reason = "serve with more --beams" if bound_by_beams else "serve with a higher --limits.k"
            raise ValueError(f"k={k} exceeds the {self.most} items that this server lists; lower k, or {reason}")

    def allow_list(self, name: str) -> np.ndarray:
        """Item numbers i32[n] of a named list; raises ValueError if the server has no such list."""
        if name not in self.allow_lists:
            there = f"there are: {listed(self.allow_lists)}" if self.allow_lists else "it has none"
            raise ValueError(f"allow list {quoted(name)} is not one of this server's; {there}")
        return self.allow_lists[name]

    def answer(self, asked: Sequence[Query], task: str, stage: Stage = lambda name: None) -> TopK:
        """The best `most` items for each query, in one device call of a compiled shape, or one a part of a blend.

        Args:
          asked: at most as many as the largest batch size.
          task: of the prompts.
          stage: is told when prompts are built and when the device is done.
        Returns:
          TopK of numpy arrays, a row per query.
        """
        size = next(size for size in self.limits.batch_sizes if size >= len(asked))
        padded = [*asked, *[asked[-1]] * (size - len(asked))]
        allowed = queries.allowed_items(self.system, padded)
        if self.blend:
            stage("prompts")
            top = self.blend.top_k(padded, allowed, self.most)
        else:
            prompts, recommender = queries.prompts(self.system, padded, task), queries.recommender(self.system, padded)
            source = np.zeros((size, self.length), np.int32)
            source[:, : prompts.shape[1]] = prompts
            stage("prompts")
            top = jax.device_get(recommender.run(source, None, allowed, k=self.most))
        stage("device")
        return TopK(top.items[: len(asked)], top.scores[: len(asked)])

    def item(self, number: int) -> dict[str, str]:
        """An item's name, title and id."""
        data = self.system.data
        return {
            "item": str(data.item_names[number]),
            "title": str(data.titles()[number]),
            "id_tokens": self.system.item_name(number),
        }

    def head(self, number: int) -> bytes:
        """The JSON of a listed item up to its score: `{"item":"a","title":"A","id_tokens":"<Item><CT1>","score":`."""
        if not (head := self.heads[number]):
            text = json.dumps(self.item(number), separators=(",", ":"))
            head = self.heads[number] = text[:-1].encode() + b',"score":'
        return head

    def search(self, text: str, limit: int) -> list[int]:
        """Items whose title or name contains a text in any case, those that begin with it first."""
        text = text.casefold()
        begins: list[int] = []
        contains: list[int] = []
        for number, title in enumerate(self.titles):
            if text in title:
                (begins if title.startswith(text) else contains).append(number)
                if len(begins) >= limit:
                    break
        return (begins + contains)[:limit]


def _has_beams(system: System) -> bool:
    return not isinstance(system.model, Retriever) and system.config.eval.recommender == "beam"
