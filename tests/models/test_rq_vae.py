"""RQ-VAE: residuals against a NumPy loop, gradients where they belong."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config import QuantizerConfig
from jaxrec.models import rq_vae
from jaxrec.models.masked_vq import Params

K, L, WIDTH, DIM, ROWS = 3, 5, 4, 6, 9
CONFIG = QuantizerConfig(codebooks=K, codewords=L, width=WIDTH, hidden=(8, 7), beta=0.25)


@pytest.fixture(scope="module")
def params() -> Params:
    return rq_vae.init(DIM, CONFIG, key=jax.random.key(0))


@pytest.fixture(scope="module")
def x() -> jax.Array:
    return jax.random.normal(jax.random.key(1), (ROWS, DIM))


def by_loops(books: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zeghidour et al. 2021, algorithm 1, a row at a time: what each level was given, and its codes."""
    given, codes = np.zeros((len(books), *z.shape)), np.zeros((len(books), len(z)), int)
    for row, left in enumerate(z.astype(np.float64)):
        for level, book in enumerate(books.astype(np.float64)):
            given[level, row] = left
            codes[level, row] = np.argmin([np.linalg.norm(left - word) for word in book])
            left = left - book[codes[level, row]]
    return given, codes


def test_by_hand() -> None:
    # 7 = 5 + 2, and 0.5 too many: the first level has 0 and 5, the second 0 and 2, the third -1 and 0.5.
    books = jnp.asarray([[[0.0], [5.0]], [[0.0], [2.0]], [[-1.0], [0.5]]])
    given, codes = rq_vae.residuals(books, jnp.asarray([[7.0], [1.0]]))
    np.testing.assert_array_equal(codes.T, [[1, 1, 1], [0, 0, 1]])
    np.testing.assert_array_equal(given[:, :, 0].T, [[7, 2, 0], [1, 1, 1]])


def test_residuals_against_loops() -> None:
    books = jax.random.normal(jax.random.key(2), (K, L, WIDTH))
    z = jax.random.normal(jax.random.key(3), (50, WIDTH))
    given, codes = jax.jit(rq_vae.residuals)(books, z)
    expected, wanted_codes = by_loops(np.asarray(books), np.asarray(z))
    np.testing.assert_array_equal(codes, wanted_codes)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


def test_loss_is_made_of_residuals(params: Params, x: jax.Array) -> None:
    loss, (metrics, given, codes) = rq_vae.loss(params, x, config=CONFIG, key=jax.random.key(0))
    books = np.asarray(params["codebook"], np.float64)
    left, wanted_codes = by_loops(books, np.asarray(given[0]))
    np.testing.assert_array_equal(codes, wanted_codes)
    words = np.stack([books[k, wanted_codes[k]] for k in range(K)])
    distance = ((left - words) ** 2).sum((0, 2)).mean()
    np.testing.assert_allclose(metrics["codebook"], distance, rtol=1e-5)
    np.testing.assert_allclose(metrics["commitment"], distance, rtol=1e-5)
    rebuilt = rq_vae.decode(params, codes.T)
    np.testing.assert_allclose(
        metrics["reconstruction"], ((np.asarray(x) - np.asarray(rebuilt)) ** 2).sum(1).mean(), rtol=1e-5
    )
    np.testing.assert_allclose(loss, metrics["reconstruction"] + 1.25 * distance, rtol=1e-5)
    np.testing.assert_array_equal(rq_vae.encode(params, x), codes.T)


def test_each_loss_moves_what_it_should(params: Params, x: jax.Array) -> None:
    def part(p: Params, name: str) -> jax.Array:
        return rq_vae.loss(p, x, config=CONFIG, key=jax.random.key(4))[1][0][name]

    moved = {}
    for name in ("reconstruction", "codebook", "commitment"):
        slopes = jax.grad(part)(params, name)
        chex.assert_tree_all_finite(slopes)
        moved[name] = {room for room, tree in slopes.items() if any(bool(a.any()) for a in jax.tree.leaves(tree))}
    assert moved == {"reconstruction": {"encoder", "decoder"}, "codebook": {"codebook"}, "commitment": {"encoder"}}


def test_straight_through_hands_the_decoders_slope_to_the_encoder(params: Params, x: jax.Array) -> None:
    """The encoder's last bias moves all rows alike: its slope is the sum of those of the decoder's inputs."""

    def rebuilding(p: Params) -> jax.Array:
        return rq_vae.loss(p, x, config=CONFIG, key=jax.random.key(0))[1][0]["reconstruction"]

    slope = jax.grad(rebuilding)(params)["encoder"][-1]["b"][0]
    codes = rq_vae.encode(params, x)

    # Moving every codeword of one level by one offset moves every decoder input by it, codes held.
    def moved(offset: jax.Array) -> jax.Array:
        books = params["codebook"].at[0].add(offset[None])
        return jnp.sum((x - rq_vae.decode({**params, "codebook": books}, codes)) ** 2, -1).mean()

    np.testing.assert_allclose(slope, jax.grad(moved)(jnp.zeros(WIDTH)), rtol=1e-5, atol=1e-6)


def test_later_levels_start_on_what_is_left(params: Params) -> None:
    x = jax.random.normal(jax.random.key(5), (400, DIM))
    started = rq_vae.start(params, x, key=jax.random.key(6))
    _, (_, given, codes) = rq_vae.loss(started, x, config=CONFIG, key=jax.random.key(0))
    spread = [float(jnp.var(level, axis=0).sum()) for level in given]
    assert spread[0] > spread[1] > spread[2]
    for level in range(K):
        assert len(np.unique(codes[level])) == L


def test_one_trace(params: Params, x: jax.Array) -> None:
    def loss(p: Params, x: jax.Array) -> jax.Array:
        return rq_vae.loss(p, x, config=CONFIG, key=jax.random.key(0))[0]

    traced = jax.jit(chex.assert_max_traces(loss, n=1))
    for i in range(3):
        traced(params, x + i)
