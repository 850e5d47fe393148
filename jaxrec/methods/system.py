"""A recommender of any of the crossed methods: the parts of one run, and how users are asked about with them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np

from jaxrec.config import Config
from jaxrec.evaluate.evaluate import Result, evaluate_recommender, seen_rows
from jaxrec.evaluate.ranking import CUTOFFS
from jaxrec.methods.embedders import Embedding
from jaxrec.methods.run import Run
from jaxrec.models.retriever import Retriever
from jaxrec.models.t5 import T5
from jaxrec.recommend.recommender import TrieRecommender
from jaxrec.recommend.retrieval import VectorRecommender
from jaxrec.tasks.examples import Prompts, pad_rows, recent, shuffled
from jaxrec.tasks.prompts import templates
from jaxrec.tokenizers.fold_in import of_each_user
from jaxrec.tokenizers.id_files import text
from jaxrec.tokenizers.meta_id import MetaIds
from jaxrec.tokenizers.quantized_ids import QuantizedIds
from jaxrec.tokenizers.trie import Trie
from jaxrec.tokenizers.vocabulary import Vocabulary
from jaxrec.types import Codes, Histories, TopK

Ids = MetaIds | QuantizedIds


@dataclasses.dataclass(frozen=True)
class System:
    """The parts of one run that recommend together.

    Attributes:
      run: config, data and folder.
      embedding: vectors of users and items; retrieval searches the items'.
      ids: codes of users and items.
      vocabulary: text and new tokens.
      model: a T5 that says ids, or a retriever that answers with vectors.
      histories: all that is known of each user by now; newcomers stand behind the users of the run's data.
    """

    run: Run
    embedding: Embedding
    ids: Ids
    vocabulary: Vocabulary
    model: T5 | Retriever
    histories: Histories

    @property
    def name(self) -> str:
        """What tables call it."""
        return method_name(self.run.config)

    @functools.cached_property
    def item_tokens(self) -> np.ndarray:
        """The items' ids as tokens, i32[I,1+L]."""
        return self.vocabulary.ids("<Item>", self.ids.items).tokens

    def item_name(self, item: int) -> str:
        """An item's id as people read it, `<Item><CT3><CI17>`."""
        return "<Item>" + text(self.ids.items, self.ids.items.values[item])

    def user_name(self, histories: Histories, user: int) -> str:
        """A user's id as the prompts hold it, `<User><CT3><CI17>`; empty without user ids."""
        codes = self.user_codes(histories)
        return "" if codes is None else "<User>" + text(codes, codes.values[user])

    @functools.cached_property
    def recommender(self) -> TrieRecommender | VectorRecommender:
        """Ranks items for prompts, by the config's recommender."""
        settings = self.run.config.eval
        if isinstance(self.model, Retriever):
            return VectorRecommender(
                self.model,
                self.model.place(self.embedding.vectors.item),
                query=_query,
                batch_users=settings.batch_users,
                approximate=self.run.config.retrieval.approximate,
            )
        return TrieRecommender(
            self.model,
            Trie.build(self.item_tokens),
            mode=settings.recommender,
            beams=settings.beams,
            batch_users=settings.batch_users,
        )

    def user_codes(self, histories: Histories) -> Codes | None:
        """The codes that users have once these histories are known; None where the config has no user ids.

        Static ids belong to the system's own users; anybody else, and every causal id, is folded in from the history.
        """
        kind = self.run.config.ids.users
        if kind == "none":
            return None
        if kind == "static" and histories.n_users == len(self.ids.users.values):
            return self.ids.users
        vectors = of_each_user(histories, self.embedding.vectors.item)
        return dataclasses.replace(self.ids.users, values=self.ids.encode(vectors, "user", unique=False))

    def user_tokens(self, histories: Histories) -> np.ndarray | None:
        """`user_codes` as ids, i32[U,1+L]."""
        codes = self.user_codes(histories)
        return None if codes is None else self.vocabulary.ids("<User>", codes).tokens

    def asker(self, histories: Histories, task: str, prompt: str) -> Callable[[np.ndarray], np.ndarray]:
        """A function that asks about users: numbers i64[B] in, prompts i32[B,S] padded with 0 out.

        Args:
          histories: what is known of all users.
          task: "sequential", "collaborative" or "direct".
          prompt: "seen" or "unseen", whether training used the template.
        """
        settings = self.run.config.task
        template = templates(task, seen=prompt == "seen")[0]
        users = self.user_tokens(histories)
        prompts = Prompts.make(self.vocabulary, [template], self.item_tokens, histories, users)
        most = settings.max_history if "history" in template.slots else 0
        shuffles = settings.shuffle and task == "collaborative"

        def ask(users: np.ndarray) -> np.ndarray:
            shown = recent(histories, users, most)
            shown = shuffled(shown, np.full(len(users), shuffles), users.astype(np.uint64))
            rows = prompts.splice(np.zeros(len(users), np.int32), users, shown)
            return pad_rows(rows, int(np.diff(rows[1]).max(initial=1)))

        return ask

    def recommend(self, histories: Histories, users: np.ndarray, k: int, task: str | None = None) -> TopK:
        """The best k items for some users; what they had is left out where the config says so.

        Args:
          histories: what is known of all users.
          users: i64[B], which of them.
          k: how many.
          task: one that the run was trained on; default its first.
        """
        settings = self.run.config.eval
        task = task or self.run.config.task.tasks[0]
        width = int(np.diff(histories.offsets)[users].max(initial=1))
        seen = seen_rows(histories, users, width) if settings.mask_seen else None
        return self.recommender(self.asker(histories, task, _prompt(settings.prompt))(users), seen, k)

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
        settings, split = self.run.config.eval, self.run.split
        task = task or self.run.config.task.tasks[0]
        asked = int((split.target(part) >= 0).sum()) if users is None else len(users)
        # The recommender sorts what it is given by length; batches of one size, so that none is filled up for nothing.
        batches = max(1, -(-asked // (16 * settings.batch_users)))
        most = max(CUTOFFS) if isinstance(self.model, Retriever) else settings.beams
        return evaluate_recommender(
            name or self.name,
            self.recommender,
            self.asker(split.history(part), task, prompt or _prompt(settings.prompt)),
            split,
            part,
            k=min(most, self.run.data.n_items),
            mask_seen=settings.mask_seen,
            batch_users=max(1, -(-asked // batches)),
            users=users,
        )


def method_name(config: Config) -> str:
    """META ID and TokenRec by their names, what is crossed by its parts."""
    parts = config.embedder, config.ids.kind, config.answer
    if parts == ("walks", "meta_id", "id"):
        return "META ID"
    if parts == ("lightgcn", "mq", "vector"):
        return "TokenRec"
    embedder = {"walks": "walks", "lightgcn": "LightGCN", "mf": "MF"}[config.embedder]
    ids = {"meta_id": "META ID", "mq": "MQ", "rq_vae": "RQ-VAE", "vq_vae": "VQ-VAE", "kmeans": "K-means"}
    answer = {"id": config.eval.recommender, "vector": "retrieval"}[config.answer]
    return f"{embedder} + {ids[config.ids.kind]} ids + {answer}"


def _prompt(setting: str) -> str:
    """The prompt that selects and recommends where both are measured."""
    return "seen" if setting == "both" else setting


def _query(model: Retriever, source: jax.Array) -> jax.Array:
    return model(source)[:, 0]
