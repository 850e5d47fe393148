"""META ID (ICML 2025) from events to recommendations: walks, skip-gram, joint K-means, T5, constrained beam search."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable

import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec

from jaxrec.config import T5Config, from_dict, to_json
from jaxrec.data.pipeline import count, packed
from jaxrec.evaluate.evaluate import Result, evaluate_recommender, seen_rows
from jaxrec.hub.t5 import load_weights, read_t5
from jaxrec.keys import generator, stream
from jaxrec.methods.metapath import embed
from jaxrec.methods.run import Run, cached_vectors, save_vectors, write_whole
from jaxrec.models.objectives import sequence_loss
from jaxrec.models.t5 import T5
from jaxrec.recommend.recommender import TrieRecommender
from jaxrec.tasks.examples import Prompts, TrainingExamples, pad_rows, recent
from jaxrec.tasks.prompts import templates, texts
from jaxrec.tokenizers import vocabulary as vocabularies
from jaxrec.tokenizers.fold_in import before_each_event, of_each_user
from jaxrec.tokenizers.meta_id import MetaIds
from jaxrec.tokenizers.trie import Trie
from jaxrec.tokenizers.vocabulary import Vocabulary
from jaxrec.train.checkpoint import restore_best
from jaxrec.train.loop import Fitted, fit
from jaxrec.train.optimizer import make_optimizer
from jaxrec.train.sharding import make_mesh, share_of_data
from jaxrec.train.state import functional, rebuilder
from jaxrec.types import Histories, TopK, Vectors

SHARDING = (
    (r"embedding/table$", PartitionSpec("model", None)),
    (r"(^|/)head$", PartitionSpec(None, "model")),
)
"""The embedding table, which holds most of a small model's parameters, is cut over the mesh's `model` axis."""


@dataclasses.dataclass(frozen=True)
class MetaId:
    """A META ID system: the parts of one run that recommend together.

    Attributes:
      run: config, data and folder.
      vectors: what the ids were made from; users are folded in from the item vectors.
      ids: codes of users and items.
      vocabulary: text and new tokens.
      model: the language model.
    """

    run: Run
    vectors: Vectors
    ids: MetaIds
    vocabulary: Vocabulary
    model: T5

    @functools.cached_property
    def item_tokens(self) -> np.ndarray:
        """The items' ids as tokens, i32[I,3]."""
        return self.vocabulary.ids("<Item>", self.ids.items).tokens

    def item_name(self, item: int) -> str:
        """An item's id as people read it, `<Item><CT3><CI17>`."""
        return _text(self.vocabulary, self.item_tokens[item])

    def user_name(self, histories: Histories, user: int) -> str:
        """A user's id as the prompts hold it, `<User><CT3><CI17>`; empty without user ids."""
        tokens = self.user_tokens(histories)
        return "" if tokens is None else _text(self.vocabulary, tokens[user])

    @functools.cached_property
    def recommender(self) -> TrieRecommender:
        """Ranks items for prompts, by the config's recommender."""
        settings = self.run.config.eval
        return TrieRecommender(
            self.model,
            Trie.build(self.item_tokens),
            mode=settings.recommender,
            beams=settings.beams,
            batch_users=settings.batch_users,
        )

    def user_tokens(self, histories: Histories) -> np.ndarray | None:
        """The ids that users have once these histories are known, i32[U,3]; None where the config has no user ids.

        Static ids belong to the run's own users; anybody else, and every causal id, is folded in from the history.
        """
        kind = self.run.config.ids.users
        if kind == "none":
            return None
        codes = self.ids.users.values
        if kind == "causal" or histories.n_users != len(codes):
            codes = self.ids.encode(of_each_user(histories, self.vectors.item), "user", unique=False)
        return _user_rows(self.vocabulary, self.ids, codes)

    def asker(self, histories: Histories, task: str, prompt: str) -> Callable[[np.ndarray], np.ndarray]:
        """A function that asks about users: numbers i64[B] in, prompts i32[B,S] padded with 0 out.

        Args:
          histories: what is known of all users.
          task: "sequential" or "direct".
          prompt: "seen" or "unseen", whether training used the template.
        """
        template = templates(task, seen=prompt == "seen")[0]
        users = self.user_tokens(histories)
        prompts = Prompts.make(self.vocabulary, [template], self.item_tokens, histories, users)
        most = self.run.config.task.max_history

        def ask(users: np.ndarray) -> np.ndarray:
            rows = prompts.splice(np.zeros(len(users), np.int32), users, *recent(histories, users, most))
            return pad_rows(rows, int(np.diff(rows[1]).max(initial=1)))

        return ask

    def recommend(self, histories: Histories, users: np.ndarray, k: int, task: str = "sequential") -> TopK:
        """The best k items for some users; what they had is left out where the config says so.

        Args:
          histories: what is known of all users.
          users: i64[B], which of them.
          k: how many.
          task: "sequential" or "direct".
        """
        settings = self.run.config.eval
        width = int(np.diff(histories.offsets)[users].max(initial=1))
        seen = seen_rows(histories, users, width) if settings.mask_seen else None
        return self.recommender(self.asker(histories, task, settings.prompt)(users), seen, k)

    def measure(
        self, part: str, *, task: str = "sequential", users: np.ndarray | None = None, name: str = "META ID"
    ) -> Result:
        """Ranks of the held-out items of a part ("valid" or "test"), for all users or some."""
        settings, split = self.run.config.eval, self.run.split
        asked = int((split.target(part) >= 0).sum()) if users is None else len(users)
        # The recommender sorts what it is given by length; batches of one size, so that none is filled up for nothing.
        batches = max(1, -(-asked // (16 * settings.batch_users)))
        return evaluate_recommender(
            name,
            self.recommender,
            self.asker(split.history(part), task, settings.prompt),
            split,
            part,
            k=min(settings.beams, self.run.data.n_items),
            mask_seen=settings.mask_seen,
            batch_users=max(1, -(-asked // batches)),
            users=users,
        )


def build(run: Run) -> MetaId:
    """Everything but the trained weights; what an earlier call left in the run's folder is read, not made again."""
    config = run.config
    vectors = cached_vectors(run)
    if vectors is None:
        run.say("embedding users and items: meta-path walks and skip-gram")
        vectors = embed(
            run.learned_from, config.walks, config.skipgram, seed=config.seed, folder=run.folder / "skipgram"
        )
        save_vectors(run, vectors)
    ids_folder = run.folder / "ids"
    if ids_folder.is_dir():
        ids = MetaIds.load(ids_folder, run.data.user_names, run.data.item_names)
    else:
        run.say("clustering users and items into ids")
        ids = MetaIds.fit(vectors, config.ids, key=stream(run.key, "ids"))
        ids.save(ids_folder, run.data.user_names, run.data.item_names)
    vocabulary, shape, weights = _vocabulary(run, ids)
    model = T5(
        dataclasses.replace(shape, vocab=vocabulary.size),
        config.model.oov,
        _anchors(ids, len(vocabulary.new_tokens)),
        vocabulary.first_oov,
        rngs=nnx.Rngs(params=stream(run.key, "model")),
    )
    if weights is not None:
        load_weights(model, weights)
    return MetaId(run, vectors, ids, vocabulary, model)


def train(system: MetaId) -> tuple[MetaId, Fitted]:
    """Trains the language model, or goes on where an earlier call was stopped; returns the best weights.

    META ID, eq. 8: the negative log-likelihood of the answers' tokens, over templates, ids and the OOV projection.
    """
    run, settings = system.run, system.run.config.train
    mesh = make_mesh(settings.data_parallel, settings.model_parallel)
    if settings.rows % mesh.shape["data"]:
        raise ValueError(
            f"train.rows={settings.rows} doesn't divide over the {mesh.shape['data']} devices of the mesh's data axis; "
            "give a multiple, or lower train.data_parallel"
        )
    _keep_to_ids(system)
    process_index, process_count = share_of_data(mesh)
    data = packed(
        training_examples(system),
        rows=settings.rows,
        source_length=settings.source_length,
        target_length=settings.target_length,
        seed=run.config.seed,
        process_index=process_index,
        process_count=process_count,
    )
    steps = settings.steps or round(settings.epochs * data.steps_per_epoch)
    loss = functools.partial(sequence_loss, label_smoothing=settings.label_smoothing)
    params, buffers, loss_fn = functional(system.model, loss)
    rebuild = rebuilder(system.model)
    run.say(f"training: {steps} steps of {settings.rows} packed rows, {data.steps_per_epoch} an epoch")
    fitted = fit(
        loss_fn,
        params,
        buffers,
        make_optimizer(settings, steps),
        data,
        steps=steps,
        key=stream(run.key, "train"),
        mesh=mesh,
        rules=SHARDING,
        folder=run.folder,
        count=count,
        validate=lambda p, b: validate(dataclasses.replace(system, model=rebuild(p, b))),
        validate_every=max(1, round(settings.validate_every * data.steps_per_epoch)),
        patience=settings.patience,
        checkpoint_minutes=settings.checkpoint_minutes,
        log_every=settings.log_every,
    )
    return dataclasses.replace(system, model=rebuild(fitted.best_params, fitted.state.buffers)), fitted


def _keep_to_ids(system: MetaId) -> None:
    """Notes which ids training began with.

    Raises:
      ValueError: the ids were edited since.
    """
    file = system.run.folder / "trained_ids.sha256"
    rows = np.concatenate([system.ids.users.values, system.ids.items.values])
    now = hashlib.sha256(rows.tobytes()).hexdigest()
    if not file.is_file():
        write_whole(file, now + "\n")
    elif file.read_text().strip() != now:
        raise ValueError(
            f"the ids in {system.run.folder / 'ids'} were edited after training began; "
            "train on them in a new folder: --out NEW, after copying ids/ into it"
        )


def restore(system: MetaId) -> MetaId:
    """The system with the best weights of the run's checkpoints.

    Raises:
      ValueError: there are none yet, or the ids were edited since training began.
    """
    _keep_to_ids(system)
    _, params, buffers = nnx.split(system.model, nnx.Param, ...)
    params, buffers = restore_best(system.run.folder, params, buffers)
    return dataclasses.replace(system, model=rebuilder(system.model)(params, buffers))


def training_examples(system: MetaId) -> TrainingExamples:
    """What the model is trained on: nothing but the training part of the split, whatever the protocol."""
    config, train = system.run.config, system.run.split.train
    users, user_rows = system.user_tokens(train), "users"
    if config.ids.users == "causal":
        codes = system.ids.encode(before_each_event(train, system.vectors.item), "user", unique=False)
        users, user_rows = _user_rows(system.vocabulary, system.ids, codes), "events"
    return TrainingExamples(
        system.vocabulary,
        system.item_tokens,
        train,
        users,
        user_rows=user_rows,
        tasks=config.task.tasks,
        direct_share=config.task.direct_share,
        max_history=config.task.max_history,
        seed=config.seed,
    )


def validate(system: MetaId) -> dict[str, float]:
    """Ranking metrics on the validation items of some users, the same users at every call."""
    config, split = system.run.config, system.run.split
    users = np.flatnonzero(split.valid >= 0)
    if 0 < config.train.validate_users < len(users):
        users = generator(config.seed, "validation users").permutation(users)[: config.train.validate_users]
    row = system.measure("valid", task=config.task.tasks[0], users=users).row()
    return {name: float(value) for name, value in row.items() if "@" in name}


def _user_rows(vocabulary: Vocabulary, ids: MetaIds, codes: np.ndarray) -> np.ndarray:
    return vocabulary.ids("<User>", dataclasses.replace(ids.users, values=codes)).tokens


def _text(vocabulary: Vocabulary, tokens: np.ndarray) -> str:
    return "".join(vocabulary.tokenizer.convert_ids_to_tokens(tokens.tolist()))


def _anchors(ids: MetaIds, new_tokens: int) -> np.ndarray:
    """The anchor of each new token, f32[M,F]: a cluster token's is its centroid, all others have none (zeros)."""
    clusters, width = ids.centroids.shape
    anchors = np.zeros((new_tokens, width), np.float32)
    anchors[2 : 2 + clusters] = ids.centroids  # behind <User> and <Item>
    return anchors


def _vocabulary(run: Run, ids: MetaIds) -> tuple[Vocabulary, T5Config, dict[str, np.ndarray] | None]:
    """The vocabulary, the model's shape, and pretrained weights where the config names some and training starts."""
    config, folder, file = run.config.model, run.folder / "tokenizer", run.folder / "t5.json"
    names = vocabularies.new_token_names(ids.users, ids.items)
    if file.is_file() and any((run.folder / "checkpoints").glob("[0-9]*")):  # what was pretrained is not needed again
        return vocabularies.load(folder, names), from_dict(T5Config, json.loads(file.read_text())), None
    shape, weights = config.t5, None
    if config.init_from is not None:
        found, weights = read_t5(config.init_from)
        shape = dataclasses.replace(found, dropout=config.t5.dropout, compute_dtype=config.t5.compute_dtype)
    write_whole(file, to_json(shape) + "\n")
    if folder.is_dir():  # whole: it was renamed when it was
        return vocabularies.load(folder, names), shape, weights
    if config.init_from is not None:
        text = vocabularies.load_text_tokenizer(config.init_from)
    else:
        text = vocabularies.train_text_tokenizer(texts())
    made = vocabularies.extend(text, names, table_rows=shape.vocab if weights is not None else 0)
    part = folder.with_name("tokenizer.part")
    made.save(part)
    part.rename(folder)
    return made, shape, weights
