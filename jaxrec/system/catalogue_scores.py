"""A run's scores of the whole catalogue, as a component of blends."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.evaluate.blending import Component
from jaxrec.evaluate.seen_items import blocks, history_lengths, seen_rows
from jaxrec.models.retriever import Retriever
from jaxrec.models.unit import unit
from jaxrec.recommend.batches import run_by_length
from jaxrec.recommend.decoding_steps import StepDecoder
from jaxrec.recommend.exact_scoring import score_all
from jaxrec.recommend.trie_recommender import TrieRecommender
from jaxrec.system.system import System, main_prompt, steady_user_codes
from jaxrec.tasks.ragged import histories_of
from jaxrec.tokenizers.trie import Trie
from jaxrec.types import Array, Histories, TopK


def catalogue_component(system: System, name: str | None = None, *, length: int | None = None) -> Component:
    """The run as a component: a softmax over its scores or, with beam search, the probabilities of the listed items.

    Retrieval scores items by cosine (unknown items by -1), eval.recommender "exact" by the log-probability of their
    ids, and a model with an item head always scores all items by both answers. Otherwise, with "beam", the items that
    beam search lists have their probabilities, and what is missing to 1 is spread equally over all others, of which
    each gets less than the last listed one; items of the history, if they are masked, are among the others.

    Args:
      system: a trained run with a task that ranks items; its main task and eval settings are used.
      name: in tables; None: the method's name.
      length: tokens that all prompts are padded to, so that each number of users is compiled once; None: users are
        batched by the length of their prompts.
    """
    alone = not isinstance(system.model, Retriever) and system.model.items is None
    beam = alone and system.config.eval.recommender == "beam"
    return Component(
        name or system.name,
        lambda histories, users: _scores(system, histories_of(histories, users), users, length),
        lambda histories, users: _scores(system, histories_of(histories, users), None, length),
        "log-probabilities" if beam else "softmax",
    )


def spread(top: TopK, n_items: int) -> np.ndarray:
    """Lists with log-probabilities as log-probabilities of the whole catalogue, f32[B,I].

    What the listed probabilities lack to 1 is shared equally by the items that are not listed, but each gets less than
    the last listed item.

    Args:
      top: items i32[B,k], -1 = none; scores are log-probabilities.
      n_items: I.
    """
    items, scores = np.asarray(top.items), np.asarray(top.scores, np.float64)
    is_listed = items >= 0
    listed = np.where(is_listed, np.exp(scores), 0.0)
    n_others = np.maximum(n_items - is_listed.sum(axis=1), 1)
    share = np.log(np.maximum(1 - listed.sum(axis=1), 1e-30) / n_others)
    last = np.where(is_listed, scores, np.inf).min(axis=1).astype(np.float32)
    share = np.minimum(share.astype(np.float32), np.nextafter(last, np.float32(-np.inf)))
    spread_out = np.repeat(share[:, None], n_items, axis=1)
    rows, columns = np.nonzero(is_listed)
    spread_out[rows, items[rows, columns]] = scores[rows, columns]
    return spread_out


def _scores(system: System, histories: Histories, users: np.ndarray | None, length: int | None) -> np.ndarray:
    """Scores of all items for each of some histories, f32[B,I]; `users` are the system's, None = new users."""
    settings = system.config.eval
    codes, rows = steady_user_codes(system, histories, users), np.arange(histories.n_users)
    ask = system.asker(histories, codes, system.config.task.ranking[0], main_prompt(settings.prompt))
    source = ask(rows, np.zeros_like(rows) if users is None else users)  # no list depends on who shares the batch
    recommender = system.recommender if users is not None else system.recommender_to(histories)
    n_items = system.data.n_items
    if length is not None:
        source = np.pad(source, ((0, 0), (0, length - source.shape[1])))

    def scored(run: Callable[[np.ndarray], jax.Array]) -> np.ndarray:
        if length is not None:
            return np.asarray(run(source))
        return np.asarray(run_by_length(lambda source, *_: run(source), source, users=settings.batch_users))

    if not isinstance(recommender, TrieRecommender):
        return scored(functools.partial(_cosines, recommender.model, recommender.items))[:, :n_items]
    if recommender.mode == "exact" or recommender.model.items is not None:
        return scored(functools.partial(_log_probs, recommender.model, recommender.trie))
    if length is not None:
        allowed = np.ones((len(source), n_items), bool)
        if settings.mask_seen:
            allowed[histories.users, histories.items] = False
        top = jax.device_get(recommender.run(source, None, allowed, k=min(settings.beams, n_items)))
        return spread(top, n_items)
    scores = np.empty((len(source), n_items), np.float32)
    lengths = history_lengths(histories)
    for part in blocks(lengths) if settings.mask_seen else [rows]:
        width = max(int(lengths[part].max(initial=1)), 1)
        seen = seen_rows(histories, part, width) if settings.mask_seen else None
        scores[part] = spread(recommender(source[part], seen, min(settings.beams, n_items)), n_items)
    return scores


@jax.jit
def _cosines(model: Retriever, items: Array, source: Array) -> jax.Array:
    known = jnp.any(items != 0, axis=1)
    cosines = jnp.einsum("bf,if->bi", unit(model(source)[:, 0]), items, precision="highest")
    return jnp.where(known[None], cosines, -1.0)


@jax.jit
def _log_probs(model: StepDecoder, trie: Trie, source: Array) -> jax.Array:
    return score_all(model, source, trie)
