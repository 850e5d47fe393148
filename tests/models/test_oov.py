import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import OovConfig
from jaxrec.models.oov import Buffer, ExtendedEmbedding, Frozen

VOCAB, WIDTH, FIRST = 20, 8, 12
ANCHORS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
ANCHORS[3:] = 0  # fine tokens have none


def build(scope: str = "encoder", anchors: np.ndarray | None = ANCHORS, alpha: float = 0.1) -> ExtendedEmbedding:
    config = OovConfig(scope=scope, alpha=alpha)  # type: ignore[arg-type]
    return ExtendedEmbedding(VOCAB, WIDTH, config, anchors, FIRST, "float32", rngs=nnx.Rngs(0))


def extended_table(embedding: ExtendedEmbedding) -> np.ndarray:
    table = np.array(embedding.table[...])
    for m, anchor in enumerate(ANCHORS):
        table[FIRST + m] += embedding.alpha * anchor @ np.asarray(embedding.kernel[...])
    return table


def test_encoder_scope_touches_new_tokens_of_the_encoder_alone() -> None:
    embedding = build("encoder")
    tokens = np.arange(VOCAB).reshape(2, -1)
    table = np.asarray(embedding.table[...])
    want = extended_table(embedding)
    look = jax.jit(chex.assert_max_traces(lambda m, t: m(t, encoder=True), 1))
    for run in (look, look, lambda m, t: m(t, encoder=True)):
        np.testing.assert_allclose(run(embedding, tokens), want[tokens], atol=1e-6)
    np.testing.assert_array_equal(embedding(tokens, encoder=False), table[tokens])
    changed = np.flatnonzero((want != table).any(1))
    assert changed.tolist() == [FIRST, FIRST + 1, FIRST + 2]
    hidden = jax.random.normal(jax.random.key(1), (2, 3, WIDTH))
    np.testing.assert_allclose(embedding.scores(hidden), hidden @ table.T, atol=1e-5)


def test_shared_scope_is_one_extended_table_everywhere() -> None:
    embedding = build("shared")
    tokens = np.arange(VOCAB).reshape(2, -1)
    want = extended_table(embedding)
    for encoder in (True, False):
        np.testing.assert_allclose(embedding(tokens, encoder=encoder), want[tokens], atol=1e-6)
    hidden = jax.random.normal(jax.random.key(1), (2, 3, WIDTH))
    np.testing.assert_allclose(embedding.scores(hidden), hidden @ want.T, atol=1e-5)


@pytest.mark.parametrize("arguments", [{"scope": "none"}, {"scope": "shared", "anchors": None}])
def test_no_projection(arguments: dict) -> None:
    embedding = build(**arguments)
    tokens = np.arange(VOCAB)[None]
    np.testing.assert_array_equal(embedding(tokens, encoder=True)[0], embedding.table[...])
    assert set(dict(nnx.to_flat_state(nnx.state(embedding)))) == {("table",)}


def test_the_projection_keeps_the_geometry_and_has_the_tables_size() -> None:
    embedding = build()
    projected = ANCHORS @ np.asarray(embedding.kernel[...])
    gram, want = projected @ projected.T, ANCHORS @ ANCHORS.T
    ratio = gram[0, 0] / want[0, 0]
    np.testing.assert_allclose(gram, ratio * want, rtol=1e-4, atol=1e-5)
    rms = np.sqrt(np.mean(projected[:3] ** 2))
    np.testing.assert_allclose(rms, np.sqrt(np.mean(np.square(embedding.table[...]))), rtol=1e-5)
    embedding.table[...] = 7 * embedding.table[...]
    embedding.rescale()
    np.testing.assert_allclose(ANCHORS @ np.asarray(embedding.kernel[...]), 7 * projected, rtol=1e-4)


@pytest.mark.parametrize("scope", ["encoder", "shared"])
def test_the_kernel_learns_and_the_anchors_are_no_parameter(scope: str) -> None:
    embedding = build(scope)
    graph, params, buffers = nnx.split(embedding, nnx.Param, Buffer)
    assert [path for path, _ in nnx.to_flat_state(buffers)] == [("anchors",)]

    def loss(params: nnx.State) -> jax.Array:
        model = nnx.merge(graph, params, buffers)
        return jnp.sum(model.scores(jnp.tanh(model(jnp.arange(VOCAB)[None], encoder=True))) ** 2)

    gradient = jax.grad(loss)(params)
    chex.assert_tree_all_finite(gradient)
    assert all(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(gradient))


def test_all_zero_anchors_are_finite() -> None:
    embedding = build(anchors=np.zeros((5, 3), np.float32))
    tokens = np.arange(VOCAB)[None]
    np.testing.assert_array_equal(embedding(tokens, encoder=True)[0], embedding.table[...])
    chex.assert_tree_all_finite(nnx.state(embedding))


def test_anchors_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"anchors \(9, 3\) with first_oov=12"):
        build(anchors=np.zeros((9, 3), np.float32))


@pytest.mark.parametrize("scope", ["none", "shared"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_frozen_table_has_trained_rows_for_new_tokens(scope: str, dtype: str) -> None:
    config = OovConfig(scope=scope)  # type: ignore[arg-type]
    embedding = ExtendedEmbedding(
        VOCAB, WIDTH, config, ANCHORS, FIRST, "float32", scale=0.5, frozen=dtype, rngs=nnx.Rngs(0)
    )
    assert embedding.table[...].dtype == dtype
    embedding.rows[...] = jax.random.normal(jax.random.key(2), (VOCAB - FIRST, WIDTH))
    plain = build(scope)
    whole = np.asarray(embedding.whole())
    np.testing.assert_array_equal(whole[:FIRST], embedding.table[:FIRST].astype(np.float32))
    np.testing.assert_array_equal(whole[FIRST:], embedding.rows[...])
    plain.table[...] = jnp.asarray(whole)  # an embedding of one trained table, else the same
    if scope == "shared":
        plain.kernel[...] = embedding.kernel[...]
    tokens = np.arange(VOCAB).reshape(2, -1)
    hidden = jax.random.normal(jax.random.key(1), (2, 3, WIDTH))

    def uses(model: ExtendedEmbedding) -> tuple[jax.Array, jax.Array]:
        return model(tokens, encoder=True), model.scores(hidden)

    for got, want in zip(uses(embedding), uses(plain), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)

    def gradient(model: ExtendedEmbedding) -> dict:
        graph, params, rest = nnx.split(model, nnx.Param, ...)
        mix = jax.random.normal(jax.random.key(3), (2, 3, VOCAB))

        def loss(params: nnx.State) -> jax.Array:
            embedded, scores = uses(nnx.merge(graph, params, rest))
            return jnp.sum(embedded**2) + jnp.sum(scores * mix)

        return dict(nnx.to_flat_state(jax.grad(loss)(params)))

    got, want = gradient(embedding), gradient(plain)
    assert set(got) == set(want) - {("table",)} | {("rows",)}
    np.testing.assert_allclose(got["rows",][...], want["table",][FIRST:], atol=1e-4)


def test_a_frozen_table_without_new_tokens_is_all_there_is() -> None:
    embedding = ExtendedEmbedding(
        VOCAB, WIDTH, OovConfig(), None, VOCAB, "float32", frozen="bfloat16", rngs=nnx.Rngs(0)
    )
    assert not nnx.to_flat_state(nnx.state(embedding, nnx.Param))
    assert isinstance(embedding.table, Frozen)
    np.testing.assert_array_equal(embedding.whole(), embedding.table[...].astype(np.float32))
