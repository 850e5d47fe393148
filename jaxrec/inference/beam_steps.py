"""A beam search in readable form: which prefixes of ids were kept at each step, at what odds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from jaxrec.inference import queries
from jaxrec.inference.queries import Query
from jaxrec.models.retriever import Retriever
from jaxrec.recommend.batches import MULTIPLE
from jaxrec.recommend.beam_search import BeamStep
from jaxrec.recommend.trie_recommender import TrieRecommender
from jaxrec.system.system import System


@dataclasses.dataclass(frozen=True)
class Beam:
    """A prefix of ids that a step kept.

    Attributes:
      tokens: as text: "<Item><CT3>".
      log_probability: of these tokens.
      item: the item's number where the id is whole; -1 before.
    """

    tokens: str
    log_probability: float
    item: int


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a beam search: how many prefixes were scored, and those that were kept, best first."""

    tried: int
    beams: list[Beam]


def says_ids(system: System) -> bool:
    """Whether the run's model was trained to generate ids, so that it has steps to show."""
    settings = system.config
    if isinstance(system.model, Retriever) or not settings.task.ranking:
        return False
    return settings.answer == "id" or settings.item_head.id_weight > 0


def lists_by_ids(system: System) -> bool:
    """Whether the run's lists come from a beam search at all: not from scores of all items, or an item head alone."""
    settings = system.config
    by_head = settings.answer == "both" and settings.item_head.share == 1
    return says_ids(system) and settings.eval.recommender == "beam" and not by_head


def beam_steps(system: System, query: Query, task: str) -> list[Step]:
    """The steps of a beam search for one request, those in which all ids are alike left out; the last lists items.

    Args:
      system: that answers.
      query: from `queries.query`.
      task: from `queries.ranking_task`.
    Raises:
      ValueError: the run generates no ids.
    """
    if not says_ids(system):
        raise ValueError(f"{system.folder} generates no ids, and so has no beam search to show")
    recommender = queries.recommender(system, [query])
    assert isinstance(recommender, TrieRecommender)
    prompt = queries.prompts(system, [query], task)
    padded = np.pad(prompt, ((0, 0), (0, -prompt.shape[1] % MULTIPLE)))
    allowed = queries.allowed_items(system, [query])
    top, steps = jax.device_get(recommender.steps(padded, allowed))
    trie = recommender.trie
    prefix = "<Item>" if system.config.task.autoregressive else ""  # which the prompt ends with
    shown = []
    for depth, step in enumerate(steps, trie.stem + 1):
        rows = np.asarray(trie.rows)[np.asarray(trie.starts[depth])[step.nodes[0]], :depth]
        kept = zip(rows, step.scores[0], strict=True)
        beams = [Beam(prefix + _text(system, row), float(score), -1) for row, score in kept if score > -np.inf]
        shown.append(Step(int(step.tried[0]), beams))
    items = [
        Beam(system.item_name(int(item)), float(score), int(item))
        for item, score in zip(top.items[0], top.scores[0], strict=True)
        if item >= 0
    ]
    return [*shown, Step(_below(recommender, steps, allowed), items)]


def _below(recommender: TrieRecommender, steps: Sequence[BeamStep], allowed: np.ndarray) -> int:
    """How many items that may be listed are below the beams of the last step."""
    trie = recommender.trie
    is_open = allowed[0][np.asarray(trie.items)]
    if not steps:
        return int(is_open.sum())
    starts, last = np.asarray(trie.starts[trie.depth - 1]), steps[-1]
    nodes = last.nodes[0][last.scores[0] > -np.inf]
    return int(sum(is_open[starts[node] : starts[node + 1]].sum() for node in nodes))


def _text(system: System, tokens: np.ndarray) -> str:
    return "".join(system.vocabulary.tokenizer.convert_ids_to_tokens(tokens.tolist()))
