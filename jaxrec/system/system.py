"""A run with all its parts (vectors, ids, vocabulary, model): builds prompts, recommends and ranks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from jaxrec.config import Config
from jaxrec.embedders.embedder import Embedding
from jaxrec.embedders.fold_in import of_each_user, scale_to_mean_length
from jaxrec.embedders.registry import embedder
from jaxrec.evaluate.full_ranking import Result, evaluate_recommender
from jaxrec.evaluate.seen_items import blocks, history_lengths, seen_rows
from jaxrec.hub.registry import backbone
from jaxrec.models.collaborative_tokens import ITEM, STRANGER, USER, CollaborativeTokens, numbers
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.retriever import Retriever
from jaxrec.recommend.retrieval import VectorRecommender
from jaxrec.recommend.trie_recommender import TrieRecommender
from jaxrec.system.run import Run
from jaxrec.tasks.ragged import histories_of, pad_rows, shuffle_rows
from jaxrec.tasks.ranking_examples import Prompts, recent_events
from jaxrec.tasks.templates import answered_template
from jaxrec.tokenizers.id_files import code_text
from jaxrec.tokenizers.ids import Ids
from jaxrec.tokenizers.registry import id_kind
from jaxrec.tokenizers.trie import Trie
from jaxrec.tokenizers.vocabulary import VECTOR, Vocabulary
from jaxrec.training.sharding import make_mesh
from jaxrec.types import Codes, Histories, TopK

LISTED = 30
"""Length of the lists by which retrieval is evaluated; the largest cutoff in TokenRec's tables."""

ROWS = 32
"""Codes of users are computed for a multiple of this many, see `steady_user_codes`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class System(Run):
    """A run with its parts, which together recommend.

    Attributes:
      embedding: collaborative vectors of users and items; retrieval searches those of the items.
      ids: codes of users and items.
      vocabulary: text tokens and new tokens.
      model: a language model that generates ids, or a retriever that outputs vectors.
      histories: current history of each user; new users come after those of the run's data.
    """

    embedding: Embedding
    ids: Ids
    vocabulary: Vocabulary
    model: LanguageModel | Retriever
    histories: Histories

    @property
    def name(self) -> str:
        """The method's name in tables."""
        return method_name(self.config)

    @functools.cached_property
    def item_tokens(self) -> np.ndarray:
        """Ids of the items as tokens, i32[I,1+L]."""
        return self.vocabulary.ids("<Item>", self.ids.items.codes).tokens

    @functools.cached_property
    def item_mentions(self) -> np.ndarray:
        """Items as prompts mention them: `item_tokens` or, with collaborative tokens, i32[I,2+L]."""
        codes = self.ids.items.codes
        return self.vocabulary.ids("<Item>", self._with_vectors(codes, ITEM, np.arange(len(codes.values)))).tokens

    @property
    def answer_tokens(self) -> np.ndarray:
        """What the model generates for each item after its start token, i32[I,1+L], or i32[I,L] after `<Item>`."""
        return self.item_tokens[:, int(self.config.task.autoregressive) :]

    def item_name(self, item: int) -> str:
        """An item's id as text: `<Item><CT3><CI17>`."""
        return self.ids.items.text(item)

    def user_name(self, codes: Codes | None, user: int) -> str:
        """A user's id as text, as in prompts: `<User><CT3><CI17>`; "" without user ids."""
        return "" if codes is None else "<User>" + code_text(codes, codes.values[user])

    @functools.cached_property
    def recommender(self) -> TrieRecommender | VectorRecommender:
        """The recommender that the config names; it ranks items for prompts."""
        settings = self.config.eval
        if isinstance(self.model, Retriever):
            return VectorRecommender(
                self.model,
                self.model.place(self.embedding.vectors.item),
                query=_query,
                batch_users=settings.batch_users,
                approximate=self.config.retrieval.approximate,
                mesh=self._mesh(),
            )
        return TrieRecommender(
            self.current_model,
            Trie.build(self.answer_tokens),
            mode=settings.recommender,
            beams=settings.beams,
            batch_users=settings.batch_users,
        )

    @functools.cached_property
    def current_model(self) -> LanguageModel:
        """The model that generates answers, with what its parts need of users and items that came after training."""
        model = self.model
        assert not isinstance(model, Retriever)
        if model.collaborative is not None:
            return model.with_collaborative(model.collaborative.with_vectors(self.embedding.vectors))
        if model.items is None:
            return model
        head = model.items.extended(self.item_tokens, self.embedding.vectors.item)
        return model if head is model.items else model.with_items(head)

    def recommender_to(self, strangers: Histories) -> TrieRecommender | VectorRecommender:
        """The recommender for prompts that hold new users, with these histories, numbered as in `user_codes`."""
        recommender, collaborative = self.recommender, self._collaborative
        if collaborative is None or isinstance(recommender, VectorRecommender):
            return recommender
        vectors = collaborative.with_strangers(self._folded_in(strangers))
        return recommender.with_model(self.current_model.with_collaborative(vectors))

    @property
    def _collaborative(self) -> CollaborativeTokens | None:
        return None if isinstance(self.model, Retriever) else self.current_model.collaborative

    def _mesh(self) -> Mesh | None:
        """The mesh over which the catalogue is sharded; None unless the model was sharded and the devices are there."""
        settings = self.config.train
        if (
            settings.model_parallel == 1
            or jax.device_count() < max(settings.data_parallel, 1) * settings.model_parallel
        ):
            return None
        return make_mesh(settings.data_parallel, settings.model_parallel)

    def user_codes(self, histories: Histories, users: np.ndarray | None = None) -> Codes | None:
        """Codes of the users in prompts, a row per history; None where prompts hold nothing of them.

        These are their ids and, with collaborative tokens, a last level of such; without ids, this level alone.

        Args:
          histories: from which ids of new users, and causal ids, are computed by folding in.
          users: i64[n], the system's users whose histories these are, for static ids; None: new users.
        """
        codes = self.user_id_codes(histories, users)
        if codes is None and not self.config.task.collaborative_tokens.hidden:
            return None
        kind, rows = (STRANGER, np.arange(histories.n_users)) if users is None else (USER, users)
        return self._with_vectors(codes or Codes(np.zeros((len(rows), 0), np.int32), (), ()), kind, rows)

    def _with_vectors(self, codes: Codes, kind: int, rows: np.ndarray) -> Codes:
        """Codes with a last level of collaborative tokens, if prompts have such; `rows` i64[n] of their vectors."""
        if not self.config.task.collaborative_tokens.hidden:
            return codes
        of_vectors = numbers(kind, rows).astype(np.int32)[:, None]
        sizes = (*codes.sizes, int(of_vectors.max(initial=0)) + 1)
        return Codes(np.concatenate([codes.values, of_vectors], axis=1), sizes, (*codes.levels, VECTOR))

    def user_id_codes(self, histories: Histories, users: np.ndarray | None = None) -> Codes | None:
        """As `user_codes`, of the ids alone; None where the config has no user ids."""
        kind, static_codes = self.config.ids.users, self.ids.users.codes
        if kind == "none":
            return None
        if kind == "static" and users is not None:
            return dataclasses.replace(static_codes, values=static_codes.values[users])
        if kind == "static":
            return self.ids.user_codes(self._folded_in(histories))
        return self.ids.user_codes(of_each_user(histories, self.embedding.vectors.item))

    def _folded_in(self, histories: Histories) -> np.ndarray:
        """Vectors of new users with these histories, as long as the embedder's user vectors are, f32[n,F]."""
        vectors = self.embedding.vectors
        return scale_to_mean_length(of_each_user(histories, vectors.item), vectors.user)

    def asker(self, histories: Histories, codes: Codes | None, task: str, prompt: str) -> Callable[..., np.ndarray]:
        """A function that builds prompts: user numbers i64[B] -> prompts i32[B,S], padded with 0.

        Args:
          histories: of all users.
          codes: from `user_codes`, a row per user.
          task: "sequential", "collaborative", "direct" or "autoregressive".
          prompt: "seen" or "unseen": a template that training used, or one that it did not.
        Returns:
          ask(users, draw=users): where the history is shuffled, its order depends only on the number in `draw`.
        """
        settings = self.config.task
        template = answered_template(task, seen=prompt == "seen", vectors=settings.prompt_vectors)
        tokens = None if codes is None else self.vocabulary.ids("<User>", codes).tokens
        prompts = Prompts.make(self.vocabulary, [template], self.item_mentions, histories, tokens)
        max_history = settings.max_history if "history" in template.slots else 0
        shuffles = settings.shuffle and task == "collaborative"

        def ask(users: np.ndarray, draw: np.ndarray | None = None) -> np.ndarray:
            numbers = (users if draw is None else draw).astype(np.uint64)
            items = shuffle_rows(recent_events(histories, users, max_history), np.full(len(users), shuffles), numbers)
            rows = prompts.splice(np.zeros(len(users), np.int32), users, items)
            return pad_rows(rows, int(np.diff(rows[1]).max(initial=1)))

        return ask

    def recommend(self, users: np.ndarray, k: int, task: str | None = None) -> TopK:
        """The best k items for some of the system's users, from their current histories.

        Args:
          users: i64[B].
          k: number of items.
          task: one that the run was trained on; None: its main task.
        Returns:
          TopK of B rows.
        """
        histories = histories_of(self.histories, users)
        return self._top_k(self.recommender, histories, self.user_codes(histories, users), users, k, task)

    def recommend_to_strangers(self, histories: Histories, k: int, task: str | None = None) -> TopK:
        """The best k items for each of some histories of new users, whose ids are computed by folding in.

        No list depends on the other histories.
        """
        recommender, draw = self.recommender_to(histories), np.zeros(histories.n_users, np.int64)
        return self._top_k(recommender, histories, self.user_codes(histories), draw, k, task)

    def _top_k(
        self,
        recommender: TrieRecommender | VectorRecommender,
        histories: Histories,
        codes: Codes | None,
        draw: np.ndarray,
        k: int,
        task: str | None,
    ) -> TopK:
        """Top-k lists for all of these histories, without their own items if eval.mask_seen is set."""
        settings, users = self.config.eval, np.arange(histories.n_users)
        if settings.mask_seen and len(parts := blocks(history_lengths(histories))) > 1:
            lists = [
                self._top_k(
                    recommender,
                    histories_of(histories, part),
                    None if codes is None else dataclasses.replace(codes, values=codes.values[part]),
                    draw[part],
                    k,
                    task,
                )
                for part in parts
            ]
            back = np.argsort(np.concatenate(parts))
            return jax.tree.map(lambda *rows: np.concatenate(rows)[back], *lists)
        width = int(np.diff(histories.offsets).max(initial=1))
        seen = seen_rows(histories, users, max(width, 1)) if settings.mask_seen else None
        ask = self.asker(histories, codes, task or self.config.task.ranking[0], main_prompt(settings.prompt))
        return recommender(ask(users, draw), seen, k)

    def measure(
        self,
        part: str,
        *,
        task: str | None = None,
        prompt: str | None = None,
        users: np.ndarray | None = None,
        name: str | None = None,
    ) -> Result:
        """Full ranking of the held-out items.

        Args:
          part: "valid" or "test".
          task: None: the main task.
          prompt: "seen" or "unseen"; None: as in the config, "seen" where it is "both".
          users: i64[n]; None: all users with a held-out item.
          name: of the row in tables; None: the method's name.
        """
        settings, split = self.config.eval, self.split
        histories, all_users = split.history(part), np.arange(self.data.n_users)
        task = task or self.config.task.ranking[0]
        n_users = int((split.target(part) >= 0).sum()) if users is None else len(users)
        # The recommender sorts prompts by length, so it gets many at once; batches of equal size avoid padding.
        batches = max(1, -(-n_users // (16 * settings.batch_users)))
        list_length = LISTED if isinstance(self.model, Retriever) else settings.beams
        return evaluate_recommender(
            name or self.name,
            self.recommender,
            self.asker(histories, self.user_codes(histories, all_users), task, prompt or main_prompt(settings.prompt)),
            split,
            part,
            k=min(list_length, self.data.n_items),
            mask_seen=settings.mask_seen,
            batch_users=max(1, -(-n_users // batches)),
            users=users,
        )


def method_name(config: Config) -> str:
    """The method's name in tables: "META ID", "TokenRec", or its parts, with the backbone's suffix."""
    parts = config.embedder, config.ids.kind, config.answer
    suffix = backbone(config.model.backbone).suffix
    if config.task.autoregressive and not backbone(config.model.backbone).items_alone:
        # No comma: behind one stands a group of users.
        suffix += " with item head" if config.answer == "both" else " autoregressive"
    if config.task.collaborative_tokens.hidden:
        suffix += " with collaborative tokens"
    if parts[:2] == ("walks", "meta_id") and config.answer != "vector" and config.ids.entities == "both":
        return "META ID" + suffix
    retrieves = config.answer == "vector" or (
        config.answer == "both" and config.item_head.rows == "vectors" and config.item_head.share == 1
    )
    if parts[:2] == ("lightgcn", "mq") and retrieves:
        return "TokenRec" + suffix
    record = embedder(config.embedder)
    ids = id_kind(config.ids.kind).label + {"both": "", "items": " (items)", "users": " (users)"}[config.ids.entities]
    answer = "retrieval" if retrieves else config.eval.recommender
    return f"{record.title if record.ranks else config.embedder} + {ids} ids + {answer}{suffix}"


def steady_user_codes(system: System, histories: Histories, users: np.ndarray | None) -> Codes | None:
    """`System.user_codes`, computed for a multiple of `ROWS` histories, of which those behind are empty.

    Whoever took one item is exactly as far from a centroid as that item, so that rounding, which depends on the number
    of rows, would decide their rank: a list would depend on who shares the batch. And each number would be compiled.
    """
    n, more = histories.n_users, -histories.n_users % ROWS
    padded = Histories(np.pad(histories.offsets, (0, more), mode="edge"), histories.items, histories.n_items)
    codes = system.user_codes(padded, None if users is None else np.pad(users, (0, more), mode="edge"))
    return None if codes is None else dataclasses.replace(codes, values=codes.values[:n])


def main_prompt(setting: str) -> str:
    """The prompt for recommendation and validation: "seen" where the config says "both"."""
    return "seen" if setting == "both" else setting


def _query(model: Retriever, source: jax.Array) -> jax.Array:
    return model(source)[:, 0]
