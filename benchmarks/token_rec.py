"""Training TokenRec on Beauty's prompts: packed rows beside the same model on an example a row, padded to 512."""

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
from jaxrec.config import Config, RetrievalConfig, T5Config, TaskConfig, load_config
from jaxrec.data.packing import packed
from jaxrec.models.lightgcn import events
from jaxrec.models.losses import loss_of
from jaxrec.models.retriever import LABELS, Retriever
from jaxrec.models.sparse import edges
from jaxrec.models.t5 import T5
from jaxrec.tasks.ranking_examples import RankingExamples
from jaxrec.tasks.templates import template_texts
from jaxrec.tokenizers import vocabulary
from jaxrec.training.loop import make_step
from jaxrec.training.optimizer import make_optimizer
from jaxrec.training.state import TrainState, functional
from jaxrec.types import Batch, Codes, Split

name = "token_rec"
reach, aim = 5.0, 8.0

EXAMPLES = 64  # of a padded batch, at most
PADDED = 512  # tokens that the released code pads every prompt to
STEPS = 3  # packed batches in a round
WIDTH = 64  # of the item vectors
CODEBOOKS, CODEWORDS = 3, 512
TOLERANCE = 1e-4  # of the loss, relative
ROOT = pathlib.Path(__file__).parent.parent


def cases(quick: bool) -> tuple[Callable[[], object], Callable[[], object], float, str, str]:
    """Both sides train the same model by the same jitted step on the same examples; the work is real tokens."""
    on_cpu = jax.default_backend() == "cpu"
    config = load_config(ROOT / "configs" / f"token_rec_beauty{'_cpu' if on_cpu else ''}.py")
    # Attention over rows of 256 takes a quarter of the time of rows of 512; a row holds about eight examples.
    rows, length, slots = (8, 256, 12) if on_cpu or quick else (config.train.rows, config.train.source_length, 24)
    data = make_world(quick)
    task = TaskConfig(tasks=("collaborative", "direct"))
    examples = RankingExamples(data.words, data.items, data.split.train, data.users, answer="vector", task=task, seed=0)
    packed_batches = packed(examples, rows=rows, source_length=length, target_length=LABELS * slots, seed=0)
    batches = [batch for batch, _ in zip(packed_batches, range(STEPS))]
    padded = _padded(batches)
    shape = dataclasses.replace(config.model.t5, vocab=data.words.size)
    if quick:
        shape = dataclasses.replace(shape, d_model=64, d_ff=128, encoder_layers=1, decoder_layers=1)
    step, state, buffers = _step(data, shape, config)

    def run(work: list[Batch]) -> jax.Array:
        current, loss = jax.tree.map(jnp.copy, state), None
        for batch in work:
            current, metrics = step(current, buffers, batch)
            loss = metrics["loss"]
        assert loss is not None
        return loss.block_until_ready()

    losses = _losses(data, shape, config, batches), _losses(data, shape, config, padded)
    np.testing.assert_allclose(*losses, rtol=TOLERANCE)
    n = sum(map(_count, batches))
    assert n == sum(map(_count, padded))
    tokens = sum(int(np.count_nonzero(batch.source)) for batch in batches)
    real = [tokens / sum(batch.source.size for batch in work) for work in (batches, padded)]
    note = (
        f"{data.source}, T5 of width {shape.d_model} with {shape.encoder_layers}+{shape.decoder_layers} layers, "
        f"{n} examples of {tokens / n:.0f} tokens: ours {STEPS} steps of {rows} x {length} packed ({real[0]:.0%} "
        f"real), the peer {len(padded)} of {len(padded[0].source)} x {PADDED}, an example a row ({real[1]:.0%} real); "
        f"softmax over {data.split.train.n_items:,} items; losses {losses[0]:.6f} and {losses[1]:.6f}"
    )
    return functools.partial(run, batches), functools.partial(run, padded), tokens, "real tokens", note


@dataclasses.dataclass(frozen=True)
class World:
    """Beauty, or a generated world, with random ids of TokenRec's form; timing does not depend on their meaning.

    Attributes:
      split: histories.
      source: the data's name.
      words: text and new tokens.
      items: ids i32[I,1+L], no two equal.
      users: ids i32[U,1+L].
    """

    split: Split
    source: str
    words: vocabulary.Vocabulary
    items: np.ndarray
    users: np.ndarray


def make_world(quick: bool, *, numbered: bool = False) -> World:
    """Data and ids; `numbered` appends the token that keeps item ids unique, as for ids that a decoder generates."""
    split, source = beauty_or_generated(quick)
    rng = np.random.default_rng(0)

    def codes(letter: str, n: int, numbers: int) -> Codes:
        drawn = rng.choice(CODEWORDS**CODEBOOKS, n, replace=False)
        values = np.stack(np.unravel_index(drawn, (CODEWORDS,) * CODEBOOKS), 1)
        levels = tuple(f"<{letter}{level}-{{}}>" for level in range(1, CODEBOOKS + 1))
        if numbers:
            values = np.concatenate([values, np.zeros((n, 1), np.int64)], 1)
        last = ((numbers,), (f"<{letter}+{{}}>",)) if numbers else ((), ())
        return Codes(values.astype(np.int32), (CODEWORDS,) * CODEBOOKS + last[0], levels + last[1])

    users, items = codes("U", split.train.n_users, 0), codes("V", split.train.n_items, 33 if numbered else 0)
    words = vocabulary.extend(
        vocabulary.train_text_tokenizer(template_texts()), vocabulary.new_token_names(users, items)
    )
    return World(split, source, words, words.ids("<Item>", items).tokens, words.ids("<User>", users).tokens)


def retriever(data: World, shape: T5Config, config: Config) -> Retriever:
    """TokenRec's model with random weights, anchors and item vectors; equal at every call."""
    rng, settings, rngs = np.random.default_rng(1), RetrievalConfig(), nnx.Rngs(0)
    anchors = rng.standard_normal((len(data.words.new_tokens), WIDTH), np.float32)
    t5 = T5(shape, config.model.oov, anchors, data.words.first_oov, rngs=rngs)
    items = rng.standard_normal((len(data.items), WIDTH), np.float32)
    train = data.split.train
    users = rng.standard_normal((train.n_users, WIDTH), np.float32)
    train_events = events(edges(train.users, train.items, train.n_items), train.n_users)
    return Retriever(t5, settings, data.words.encode(settings.decoder_prompt), items, users, train_events, rngs=rngs)


def _step(data: World, shape: T5Config, config: Config):
    """The jitted training step that both sides share, its initial state and its buffers."""
    model = retriever(data, shape, config)
    params, buffers, loss_fn = functional(model, loss_of(config).make(config.train))
    optimizer = make_optimizer(config.train, 1000)
    state = TrainState(jnp.int32(0), params, optimizer.init(params), jax.random.key(0))
    return jax.jit(make_step(loss_fn, optimizer), donate_argnums=0), state, buffers


def _losses(data: World, shape: T5Config, config: Config, batches: list[Batch]) -> float:
    """The mean loss of all examples before any step, in float32 and without dropout."""
    model = retriever(data, dataclasses.replace(shape, compute_dtype="float32"), config)
    params, buffers, loss_fn = functional(model, loss_of(config).make(config.train))
    with jax.default_matmul_precision("highest"):
        evaluate = jax.jit(lambda batch: loss_fn(params, buffers, batch, None)[0])
        return float(np.average([evaluate(batch) for batch in batches], weights=[_count(batch) for batch in batches]))


def _count(batch: Batch) -> int:
    """Examples of a batch."""
    return int(batch.weights.sum()) // LABELS


def _padded(batches: list[Batch]) -> list[Batch]:
    """The examples of packed batches, one a row, in as few equal batches of at most `EXAMPLES` rows as hold them.

    The last batch is filled up with empty rows, fewer than there are batches.
    """
    source, target = [], []
    for batch in batches:
        for row in range(len(batch.source)):
            for number in range(1, int(batch.source_segments[row].max()) + 1):
                source.append(batch.source[row][batch.source_segments[row] == number])
                target.append(batch.target[row][batch.target_segments[row] == number])
    count = -(-len(source) // EXAMPLES)
    size = -(-len(source) // count)
    rows, segments = np.zeros((2, count * size, PADDED), np.int32)
    answers, answer_segments = np.zeros((2, count * size, LABELS), np.int32)
    for row, (prompt, answer) in enumerate(zip(source, target, strict=True)):
        rows[row, : len(prompt)], segments[row, : len(prompt)] = prompt, 1
        answers[row], answer_segments[row] = answer, 1
    parts = rows, segments, answers, answer_segments, answer_segments.astype(np.float32)
    return [Batch(*(part[i : i + size] for part in parts)) for i in range(0, count * size, size)]
