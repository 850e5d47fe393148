"""Collaborative tokens: which vectors they stand for, the network that embeds them, and what is not there."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import LlamaConfig, LoraConfig, OovConfig, T5Config
from jaxrec.models.collaborative_tokens import ITEM, STRANGER, USER, CollaborativeTokens, numbers
from jaxrec.models.cross_entropy import sequence_loss
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.llama import Llama
from jaxrec.models.t5 import T5
from jaxrec.types import Batch, Vectors

VOCAB, WIDTH, HIDDEN, F = 48, 16, 12, 5
DRAW = np.random.default_rng(0)
VECTORS = Vectors(*(DRAW.normal(size=(n, F)).astype(np.float32) for n in (7, 9)))
VECTORS.item[4] = 0  # an item without events
STRANGERS = DRAW.normal(size=(2, F)).astype(np.float32)
T5_SHAPE = T5Config(
    vocab=VOCAB, d_model=WIDTH, d_kv=4, heads=2, d_ff=24, encoder_layers=2, decoder_layers=2, buckets=8, dropout=0.0
)
LLAMA_SHAPE = LlamaConfig(vocab=VOCAB, d_model=WIDTH, d_kv=4, heads=2, kv_heads=1, d_ff=24, layers=2, window=6)


def token(kind: int, row: int) -> int:
    return VOCAB + int(numbers(kind, np.int64(row)))


def built(kind: str) -> LanguageModel:
    if kind == "t5":
        model: LanguageModel = T5(T5_SHAPE, OovConfig("none"), None, 40, rngs=nnx.Rngs(0))
    else:
        lora = LoraConfig(rank=2, dropout=0.0, base_dtype="float32")
        model = Llama(LLAMA_SHAPE, OovConfig("none"), lora, None, 40, 3, rngs=nnx.Rngs(0))
    tokens = CollaborativeTokens(VECTORS, HIDDEN, VOCAB, model.embedding.whole(), "float32", rngs=nnx.Rngs(1))
    for bias in (tokens.first_bias, tokens.second_bias):
        bias[...] = jnp.asarray(DRAW.normal(size=bias.shape), jnp.float32)
    return model.with_collaborative(tokens.with_strangers(STRANGERS))


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_embeddings_are_those_of_words_and_of_a_pytorch_network_of_vectors(kind: str) -> None:
    torch = pytest.importorskip("torch")
    model = built(kind)
    tokens = model.collaborative
    assert tokens is not None
    network = torch.nn.Sequential(torch.nn.Linear(F, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, WIDTH))
    for layer, kernel, bias in (
        (network[0], tokens.first_kernel, tokens.first_bias),
        (network[2], tokens.second_kernel, tokens.second_bias),
    ):
        layer.weight.data, layer.bias.data = (torch.tensor(np.asarray(x[...])) for x in (kernel, bias))
        layer.weight.data = layer.weight.data.T
    known = np.concatenate([VECTORS.item[VECTORS.item.any(axis=1)], VECTORS.user])
    scale = 1 / np.sqrt(np.mean(np.square(known.astype(np.float64))))
    places = {(0, 1): VECTORS.item[8], (0, 3): VECTORS.user[6], (1, 0): STRANGERS[1], (1, 2): VECTORS.item[0]}
    row = np.array([[5, token(ITEM, 8), 41, token(USER, 6)], [token(STRANGER, 1), 7, token(ITEM, 0), 0]], np.int32)
    wanted = np.asarray(model.embedding.whole())[np.where(row < VOCAB, row, 0)]
    for place, vector in places.items():
        wanted[place] = network(torch.tensor(vector * scale, dtype=torch.float32)).detach().numpy()
    chex.clear_trace_counter()
    embed = jax.jit(chex.assert_max_traces(lambda model, row: model.embed(row), 1))
    for run in (embed, embed, lambda model, row: model.embed(row)):
        np.testing.assert_allclose(run(model, jnp.asarray(row)), wanted, atol=1e-5)


def test_embeddings_begin_as_large_as_the_table() -> None:
    table = 0.02 * jax.random.normal(jax.random.key(0), (VOCAB, 64))
    many = Vectors(*(3 * DRAW.normal(size=(500, 32)).astype(np.float32) for _ in range(2)))
    tokens = CollaborativeTokens(many, 256, VOCAB, table, "float32", rngs=nnx.Rngs(0))
    size = float(jnp.sqrt(jnp.mean(jnp.square(tokens.embedded(jnp.asarray(many.item))))))
    assert 0.014 < size < 0.026, size


PROMPT = [5, 6, token(ITEM, 8), 7, 8, token(ITEM, 4), 9, 10, token(USER, 3)]


@jax.jit
def answered(model: LanguageModel, source: jax.Array, inputs: jax.Array) -> jax.Array:
    return model(source, (source != 0).astype(jnp.int32), inputs, jnp.ones_like(inputs))


@jax.jit
def stepped(model: LanguageModel, source: jax.Array, inputs: jax.Array) -> jax.Array:
    memory, cache, hidden = model.read(source), model.empty_cache(1, 1, inputs.shape[1]), []
    for place in range(inputs.shape[1]):
        now, cache = model.step(inputs[:, None, place : place + 1], place, cache, memory)
        hidden.append(now[:, 0])
    return jnp.concatenate(hidden, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_a_token_without_a_vector_is_not_there(kind: str) -> None:
    """Neither in training nor in decoding, in which both models give the same states."""
    model = built(kind)
    assert model.collaborative is not None
    bare = model.with_collaborative(model.collaborative.without_vectors())
    source, inputs = jnp.asarray([PROMPT]), jnp.asarray([[model.start, 11, 12]])
    for one in (model, bare):
        np.testing.assert_allclose(stepped(one, source, inputs), answered(one, source, inputs), atol=2e-5)
    without_4 = jnp.asarray([[0 if t == token(ITEM, 4) else t for t in PROMPT]])
    without_any = jnp.asarray([[0 if t >= VOCAB else t for t in PROMPT]])
    np.testing.assert_allclose(answered(model, source, inputs), answered(model, without_4, inputs), atol=1e-6)
    np.testing.assert_allclose(answered(bare, source, inputs), answered(bare, without_any, inputs), atol=1e-6)
    assert np.abs(answered(model, source, inputs) - answered(bare, source, inputs)).max() > 1e-3
    if kind == "llama":  # positions go on as if the places were not there
        words = jnp.asarray([[t for t in PROMPT if t < VOCAB]])
        np.testing.assert_allclose(answered(bare, source, inputs), answered(bare, words, inputs), atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_gradients_reach_the_network_where_there_are_vectors_and_nothing_of_it_elsewhere(kind: str) -> None:
    model = built(kind)
    assert model.collaborative is not None
    row = np.zeros((1, 12), np.int32)
    row[0, : len(PROMPT)] = PROMPT
    target = np.array([[11, 12, 1]], np.int32)
    batch = Batch(row, (row != 0).astype(np.int32), target, np.ones_like(target), np.ones(target.shape, np.float32))
    for one, learns in ((model, True), (model.with_collaborative(model.collaborative.without_vectors()), False)):
        graph, params, rest = nnx.split(one, nnx.Param, ...)
        gradients = jax.jit(
            jax.grad(lambda params, graph=graph, rest=rest: sequence_loss(nnx.merge(graph, params, rest), batch)[0])
        )(params)
        chex.assert_tree_all_finite(gradients)
        of_network = jax.tree.leaves(gradients["collaborative"])
        assert len(of_network) == 4
        assert all(bool(np.any(gradient)) == learns for gradient in of_network)
