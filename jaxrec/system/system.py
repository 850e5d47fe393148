"""A recommender of any of the crossed methods: the parts of one run, and how users are asked about with them."""

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
from jaxrec.evaluate.full_ranking import Result, evaluate_recommender, seen_rows
from jaxrec.hub.registry import backbone
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.retriever import Retriever
from jaxrec.recommend.retrieval import VectorRecommender
from jaxrec.recommend.trie_recommender import TrieRecommender
from jaxrec.system.run import Run
from jaxrec.tasks.ragged import pad_rows, ragged_take, shuffle_rows
from jaxrec.tasks.ranking_examples import Prompts, recent_events
from jaxrec.tasks.templates import templates
from jaxrec.tokenizers.id_files import code_text
from jaxrec.tokenizers.ids import Ids
from jaxrec.tokenizers.registry import id_kind
from jaxrec.tokenizers.trie import Trie
from jaxrec.tokenizers.vocabulary import Vocabulary
from jaxrec.training.sharding import make_mesh
from jaxrec.types import Codes, Histories, TopK

LISTED = 30
"""How long retrieval's lists are when they are measured: TokenRec's tables end there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class System(Run):
    """A run whose parts are made: what recommends together.

    Attributes:
      embedding: vectors of users and items; retrieval searches the items'.
      ids: codes of users and items.
      vocabulary: text and new tokens.
      model: a language model that says ids, or a retriever that answers with vectors.
      histories: of each user by now; newcomers stand behind the users of the run's data.
    """

    embedding: Embedding
    ids: Ids
    vocabulary: Vocabulary
    model: LanguageModel | Retriever
    histories: Histories

    @property
    def name(self) -> str:
        """What tables call it."""
        return method_name(self.config)

    @functools.cached_property
    def item_tokens(self) -> np.ndarray:
        """The items' ids as tokens, i32[I,1+L]."""
        return self.vocabulary.ids("<Item>", self.ids.items.codes).tokens

    def item_name(self, item: int) -> str:
        """An item's id as people read it, `<Item><CT3><CI17>`."""
        return self.ids.items.text(item)

    def user_name(self, codes: Codes | None, user: int) -> str:
        """A user's id as the prompts hold it, `<User><CT3><CI17>`; empty without user ids."""
        return "" if codes is None else "<User>" + code_text(codes, codes.values[user])

    @functools.cached_property
    def recommender(self) -> TrieRecommender | VectorRecommender:
        """Ranks items for prompts, by the config's recommender."""
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
            self.model,
            Trie.build(self.item_tokens),
            mode=settings.recommender,
            beams=settings.beams,
            batch_users=settings.batch_users,
        )

    def _mesh(self) -> Mesh | None:
        """The mesh that shares the catalogue, where training shared the model and this process has the devices."""
        settings = self.config.train
        if (
            settings.model_parallel == 1
            or jax.device_count() < max(settings.data_parallel, 1) * settings.model_parallel
        ):
            return None
        return make_mesh(settings.data_parallel, settings.model_parallel)

    def user_codes(self, histories: Histories, users: np.ndarray | None = None) -> Codes | None:
        """The codes that the prompts hold; None where the config has no user ids.

        Args:
          histories: what is known of somebody, i.e. whom to encode by folding in.
          users: i64[n], whom of the system's users these are: static ids are theirs. None: strangers, or causal ids.
        """
        kind, table = self.config.ids.users, self.ids.users.codes
        if kind == "none":
            return None
        if kind == "static" and users is not None:
            return dataclasses.replace(table, values=table.values[users])
        vectors = of_each_user(histories, self.embedding.vectors.item)
        if kind == "static":  # the ids were made of the embedder's own vectors, which are longer
            vectors = scale_to_mean_length(vectors, self.embedding.vectors.user)
        return self.ids.user_codes(vectors)

    def asker(self, histories: Histories, codes: Codes | None, task: str, prompt: str) -> Callable[..., np.ndarray]:
        """A function that asks about users: numbers i64[B] in, prompts i32[B,S] padded with 0 out.

        Args:
          histories: what is known of all users.
          codes: of `user_codes`, a row a user.
          task: "sequential", "collaborative" or "direct".
          prompt: "seen" or "unseen", whether training used the template.
        Returns:
          ask(users, draw=users): a shuffled history's order is a function of the user's number in `draw`.
        """
        settings = self.config.task
        template = templates(task, seen=prompt == "seen")[0]
        tokens = None if codes is None else self.vocabulary.ids("<User>", codes).tokens
        prompts = Prompts.make(self.vocabulary, [template], self.item_tokens, histories, tokens)
        most = settings.max_history if "history" in template.slots else 0
        shuffles = settings.shuffle and task == "collaborative"

        def ask(users: np.ndarray, draw: np.ndarray | None = None) -> np.ndarray:
            numbers = (users if draw is None else draw).astype(np.uint64)
            items = shuffle_rows(recent_events(histories, users, most), np.full(len(users), shuffles), numbers)
            rows = prompts.splice(np.zeros(len(users), np.int32), users, items)
            return pad_rows(rows, int(np.diff(rows[1]).max(initial=1)))

        return ask

    def recommend(self, users: np.ndarray, k: int, task: str | None = None, exclude: np.ndarray | None = None) -> TopK:
        """The best k items for some of the system's users, by all that is known of them.

        Args:
          users: i64[B], which of them.
          k: how many.
          task: one that the run was trained on; default its first.
          exclude: items that are not recommended, i64[X].
        """
        histories = histories_of(self.histories, users)
        return self._answer(histories, self.user_codes(histories, users), users, k, task, exclude)

    def recommend_to_strangers(
        self, histories: Histories, k: int, task: str | None = None, exclude: np.ndarray | None = None
    ) -> TopK:
        """The best k items for each of some histories; whoever they belong to is folded in."""
        return self._answer(histories, self.user_codes(histories), np.arange(histories.n_users), k, task, exclude)

    def _answer(
        self,
        histories: Histories,
        codes: Codes | None,
        draw: np.ndarray,
        k: int,
        task: str | None,
        exclude: np.ndarray | None,
    ) -> TopK:
        """Lists for all of these histories; what they hold is left out where the config says so, `exclude` always."""
        settings, users = self.config.eval, np.arange(histories.n_users)
        width = int(np.diff(histories.offsets).max(initial=1))
        seen = seen_rows(histories, users, max(width, 1)) if settings.mask_seen else None
        if exclude is not None and len(exclude):
            seen = _with_excluded(seen, np.unique(exclude), histories.n_users)
        ask = self.asker(histories, codes, task or self.config.task.ranking[0], _prompt(settings.prompt))
        return self.recommender(ask(users, draw), seen, k)

    def measure(
        self,
        part: str,
        *,
        task: str | None = None,
        prompt: str | None = None,
        users: np.ndarray | None = None,
        name: str | None = None,
    ) -> Result:
        """Ranks of the held-out items of a part ("valid" or "test"), for all users or some.

        `task` and `prompt` are by default the first that the config names.
        """
        settings, split = self.config.eval, self.split
        history, everybody = split.history(part), np.arange(self.data.n_users)
        task = task or self.config.task.ranking[0]
        n_users = int((split.target(part) >= 0).sum()) if users is None else len(users)
        # The recommender sorts what it is given by length; batches of one size, so that none is filled up for nothing.
        batches = max(1, -(-n_users // (16 * settings.batch_users)))
        most = LISTED if isinstance(self.model, Retriever) else settings.beams
        return evaluate_recommender(
            name or self.name,
            self.recommender,
            self.asker(history, self.user_codes(history, everybody), task, prompt or _prompt(settings.prompt)),
            split,
            part,
            k=min(most, self.data.n_items),
            mask_seen=settings.mask_seen,
            batch_users=max(1, -(-n_users // batches)),
            users=users,
        )


def method_name(config: Config) -> str:
    """META ID and TokenRec by their names, what is crossed by its parts; each with its backbone's suffix."""
    parts = config.embedder, config.ids.kind, config.answer
    suffix = backbone(config.model.backbone).suffix
    if parts == ("walks", "meta_id", "id") and config.ids.entities == "both":
        return "META ID" + suffix
    if parts == ("lightgcn", "mq", "vector"):
        return "TokenRec" + suffix
    record = embedder(config.embedder)
    ids = id_kind(config.ids.kind).label + {"both": "", "items": " (items)", "users": " (users)"}[config.ids.entities]
    answer = {"id": config.eval.recommender, "vector": "retrieval"}[config.answer]
    return f"{record.title if record.ranks else config.embedder} + {ids} ids + {answer}{suffix}"


def histories_of(histories: Histories, users: np.ndarray) -> Histories:
    """The histories of some users i64[n] alone, in their order."""
    items, offsets = ragged_take(histories.items, histories.offsets[users], np.diff(histories.offsets)[users])
    return Histories(offsets, items, histories.n_items)


def _with_excluded(seen: np.ndarray | None, exclude: np.ndarray, n_users: int) -> np.ndarray:
    """Items to leave out, i32[B,X]: those of `seen` (padded with -1) and `exclude`, each once a row."""
    rows = np.tile(exclude.astype(np.int32), (n_users, 1))
    if seen is None:
        return rows
    again = (rows[:, :, None] == seen[:, None, :]).any(axis=2)
    return np.concatenate([seen, np.where(again, -1, rows)], axis=1)


def _prompt(setting: str) -> str:
    """The prompt that selects and recommends where both are measured."""
    return "seen" if setting == "both" else setting


def _query(model: Retriever, source: jax.Array) -> jax.Array:
    return model(source)[:, 0]
