"""Training META ID on Beauty's prompts: packed rows beside the same T5 on rows padded to the longest of a batch."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.data import beauty_or_generated
from jaxrec.config import Config, T5Config, load_config
from jaxrec.data.packing import packed
from jaxrec.models.cross_entropy import sequence_loss
from jaxrec.models.t5 import T5
from jaxrec.tasks.ragged import pad_rows
from jaxrec.tasks.ranking_examples import RankingExamples
from jaxrec.tasks.templates import template_texts
from jaxrec.tokenizers import vocabulary
from jaxrec.tokenizers.meta_id import LEVELS
from jaxrec.training.loop import make_step
from jaxrec.training.optimizer import make_optimizer
from jaxrec.training.state import TrainState, functional
from jaxrec.types import Batch, Codes

name = "training"
reach, aim = 1.5, 2.2

EXAMPLES = 64  # of a padded batch: the paper's batch size
ROWS = 8  # of a packed batch on CPU: about as many examples
ROOT = pathlib.Path(__file__).parent.parent


def cases(quick: bool) -> tuple[Callable[[], object], Callable[[], object], float, str, str]:
    """Both sides train on one list of examples, each in batches of its own form; the work is real tokens."""
    config = load_config(ROOT / "configs" / "meta_id_beauty.py")
    examples, words, source = _examples(config, quick)
    on_cpu = jax.default_backend() == "cpu"
    rows, length, answers = (ROWS, 256, 32) if on_cpu or quick else _rows(config)
    packed_batches = packed(examples, rows=rows, source_length=length, target_length=answers, seed=0)
    batches = [batch for batch, _ in zip(packed_batches, range(3))]
    padded = _padded(batches)
    tokens = sum(int(np.count_nonzero(b.source) + np.count_nonzero(b.target)) for b in batches)
    shape = config.model.t5
    if on_cpu:  # where bfloat16 is slow
        shape = dataclasses.replace(shape, compute_dtype="float32")
    if quick:
        shape = dataclasses.replace(shape, d_model=64, d_ff=128, encoder_layers=1, decoder_layers=1)
    step, state, buffers = _step(shape, words, config)

    def run(work: list[Batch]) -> jax.Array:
        current, loss = jax.tree.map(jnp.copy, state), None
        for batch in work:
            current, metrics = step(current, buffers, batch)
            loss = metrics["loss"]
        assert loss is not None
        return loss.block_until_ready()

    examples_seen = sum(int(b.source_segments.max(1).sum()) for b in batches)
    note = (
        f"{source}, T5-small, {examples_seen} examples: ours {rows} x {length} packed, the peer {EXAMPLES} a batch "
        f"padded to their longest ({', '.join(str(b.source.shape[1]) for b in padded)} tokens)"
    )
    return functools.partial(run, batches), functools.partial(run, padded), tokens, "real tokens", note


def _rows(config: Config) -> tuple[int, int, int]:
    return config.train.rows, config.train.source_length, config.train.target_length


def _step(shape: T5Config, words: vocabulary.Vocabulary, config: Config):
    """The jitted training step that both sides share, its initial state and its buffers."""
    model = T5(dataclasses.replace(shape, vocab=words.size), config.model.oov, None, words.first_oov, rngs=nnx.Rngs(0))
    params, buffers, loss_fn = functional(model, sequence_loss)
    optimizer = make_optimizer(config.train, 1000)
    state = TrainState(jnp.int32(0), params, optimizer.init(params), jax.random.key(0))
    return jax.jit(make_step(loss_fn, optimizer), donate_argnums=0), state, buffers


def _padded(batches: list[Batch]) -> list[Batch]:
    """The examples of packed batches one by one, in batches of `EXAMPLES` padded to their longest."""
    source, target = [], []
    for batch in batches:
        for row in range(len(batch.source)):
            for number in range(1, int(batch.source_segments[row].max()) + 1):
                source.append(batch.source[row][batch.source_segments[row] == number])
                target.append(batch.target[row][batch.target_segments[row] == number])
    return [_padded_batch(source[i : i + EXAMPLES], target[i : i + EXAMPLES]) for i in range(0, len(source), EXAMPLES)]


def _padded_batch(source: list[np.ndarray], target: list[np.ndarray]) -> Batch:
    longest = -(-max(map(len, source)) // 8) * 8  # few shapes, so few compilations
    rows, answers = (
        pad_rows((np.concatenate(part), np.concatenate([[0], np.cumsum([len(x) for x in part])])), length)
        for part, length in ((source, longest), (target, max(map(len, target))))
    )
    segments, answer_segments = (rows > 0).astype(np.int32), (answers > 0).astype(np.int32)
    return Batch(rows, segments, answers, answer_segments, answer_segments.astype(np.float32))


def _examples(config: Config, quick: bool) -> tuple[RankingExamples, vocabulary.Vocabulary, str]:
    """Beauty's prompts with ids of the right form (timing does not depend on their meaning), or a generated world's."""
    split, source = beauty_or_generated(quick)
    train = split.train
    clusters = config.ids.clusters
    sizes = (clusters, -(-max(train.n_items, train.n_users) // clusters) + 1)
    words = vocabulary.extend(
        vocabulary.train_text_tokenizer(template_texts()),
        vocabulary.new_token_names(Codes(np.zeros((0, 2), np.int32), sizes, LEVELS)),
    )

    def ids(prefix: str, n: int) -> np.ndarray:
        number = np.arange(n, dtype=np.int32)
        return words.ids(prefix, Codes(np.stack([number % clusters, number // clusters], 1), sizes, LEVELS)).tokens

    examples = RankingExamples(
        words,
        ids("<Item>", train.n_items),
        train,
        ids("<User>", train.n_users),
        task=config.task,
    )
    return examples, words, source
