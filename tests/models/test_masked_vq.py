"""The masked K-way quantizer: eq. 2-14 against NumPy, gradients where they belong, codebooks that live."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxrec.config import QuantizerConfig
from jaxrec.models import codebook, masked_vq

K, L, WIDTH, DIM, ROWS = 3, 5, 4, 6, 7
CONFIG = QuantizerConfig(codebooks=K, codewords=L, width=WIDTH, hidden=(8, 9, 10), mask=0.3, beta=0.25)


@pytest.fixture(scope="module")
def params() -> masked_vq.Params:
    made = masked_vq.init(DIM, CONFIG, key=jax.random.key(0))
    return jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(a.size), a.shape), made)  # biases too


@pytest.fixture(scope="module")
def x() -> jax.Array:
    return jax.random.normal(jax.random.key(1), (ROWS, DIM))


def numpy_mlp(layers: list, x: np.ndarray, k: int) -> np.ndarray:
    """One of the networks, layer by layer, in float64."""
    for i, layer in enumerate(layers):
        x = np.maximum(x, 0) if i else x
        x = x @ np.asarray(layer["w"][k], np.float64) + np.asarray(layer["b"][k], np.float64)
    return x


def by_loops(params: masked_vq.Params, seen: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    """Eq. (4) to (12) row by row and codebook by codebook, the encoder given `seen`."""
    books = np.asarray(params["codebook"], np.float64)
    codes = np.zeros((len(x), K), int)
    sums = {"reconstruction": 0.0, "codebook": 0.0, "commitment": 0.0}
    rebuilt = np.zeros_like(x)
    for row in range(len(x)):
        words = []
        for k in range(K):
            a = numpy_mlp(params["encoder"], seen[row], k)
            codes[row, k] = np.argmin([np.linalg.norm(a - word) for word in books[k]])
            words.append(books[k, codes[row, k]])
            sums["codebook"] += ((a - words[-1]) ** 2).sum() / len(x)
            sums["commitment"] += ((a - words[-1]) ** 2).sum() / len(x)
        rebuilt[row] = numpy_mlp(params["decoder"], np.mean(words, axis=0), 0)
        sums["reconstruction"] += ((x[row] - rebuilt[row]) ** 2).sum() / len(x)
    return {**sums, "codes": codes, "rebuilt": rebuilt}


def test_nearest_against_all_distances() -> None:
    books, rows = (jax.random.normal(jax.random.key(i), (K, n, WIDTH)) for i, n in enumerate((40, 300)))
    expected = np.linalg.norm(np.asarray(rows)[:, :, None] - np.asarray(books)[:, None], axis=-1).argmin(-1)
    np.testing.assert_array_equal(codebook.nearest(books, rows), expected)


def test_equal_codewords_give_the_first() -> None:
    books = jnp.asarray([[[5.0], [1.0], [1.0], [5.0]]])
    np.testing.assert_array_equal(codebook.nearest(books, jnp.asarray([[[0.0], [1.0], [9.0]]])), [[1, 1, 0]])


def test_one_codebook_by_hand() -> None:
    # Encoder and decoder hand the number on; codewords 0 and 2. The row 1.5 is nearest to 2.
    one = {"w": jnp.ones((1, 1, 1)), "b": jnp.zeros((1, 1))}
    params = {"encoder": [one], "codebook": jnp.asarray([[[0.0], [2.0]]]), "decoder": [one]}
    config = QuantizerConfig(codebooks=1, codewords=2, mask=0.0, beta=0.5)
    x = jnp.asarray([[1.5]])
    loss, (metrics, given, codes) = masked_vq.loss(params, x, config=config, key=jax.random.key(0))
    assert (codes.item(), given.item()) == (1, 1.5)
    assert {name: value.item() for name, value in metrics.items()} == {
        "reconstruction": 0.25,  # (1.5 - 2)^2
        "codebook": 0.25,
        "commitment": 0.25,
    }
    assert loss.item() == 0.25 + 0.25 + 0.5 * 0.25
    slopes = jax.grad(lambda p: masked_vq.loss(p, x, config=config, key=jax.random.key(0))[0])(params)
    assert slopes["codebook"].ravel().tolist() == [0.0, 2 * (2 - 1.5)]  # from eq. (11) alone
    # The decoder's input has slope 2 * (2 - 1.5) = 1, handed to the encoder; commitment adds 0.5 * 2 * (1.5 - 2).
    assert slopes["encoder"][0]["b"].item() == 1.0 - 0.5


@pytest.mark.slow
def test_loss_and_codes_against_loops(params: masked_vq.Params, x: jax.Array) -> None:
    key = jax.random.key(5)
    loss, (metrics, _, codes) = jax.jit(lambda p: masked_vq.loss(p, x, config=CONFIG, key=key))(params)
    seen = np.asarray(masked_vq.mask(x, CONFIG.mask, key=key), np.float64)
    assert (seen == 0).any()
    expected = by_loops(params, seen, np.asarray(x, np.float64))
    np.testing.assert_array_equal(codes.T, expected["codes"])
    for part in ("reconstruction", "codebook", "commitment"):
        np.testing.assert_allclose(metrics[part], expected[part], rtol=1e-5)
    total = expected["reconstruction"] + expected["codebook"] + 0.25 * expected["commitment"]
    np.testing.assert_allclose(loss, total, rtol=1e-5)
    plain = by_loops(params, np.asarray(x, np.float64), np.asarray(x, np.float64))
    np.testing.assert_array_equal(masked_vq.encode(params, x), plain["codes"])
    np.testing.assert_allclose(masked_vq.decode(params, plain["codes"]), plain["rebuilt"], rtol=1e-4, atol=1e-5)


def test_masks_are_drawn_for_every_row_entry_and_step() -> None:
    x = jnp.ones((400, 50))
    before = np.array(x)
    masks = np.stack([np.asarray(masked_vq.mask(x, 0.2, key=jax.random.key(step))) for step in range(2)]) == 0
    np.testing.assert_array_equal(x, before)
    # 40,000 entries: the share of zeros has a standard deviation of 0.002; of pairs that agree, 0.0033.
    assert abs(masks.mean() - 0.2) < 0.01
    independent = 0.2**2 + 0.8**2
    for one, other in [
        (masks[0], masks[1]),
        (masks[:, 1:], masks[:, :-1]),
        (masks[:, :, 1:], masks[:, :, :-1]),
    ]:
        assert abs((one == other).mean() - independent) < 0.015


def test_all_encoders_see_the_same_masked_row_and_the_input_stays(params: masked_vq.Params, x: jax.Array) -> None:
    """The released code changes its input from codebook to codebook; here each encoder is as if alone."""
    before, key = np.array(x), jax.random.key(2)
    _, (_, given, _) = masked_vq.loss(params, x, config=CONFIG, key=key)
    np.testing.assert_array_equal(x, before)
    seen = np.asarray(masked_vq.mask(x, CONFIG.mask, key=key), np.float64)
    for k in range(K):
        np.testing.assert_allclose(given[k], numpy_mlp(params["encoder"], seen, k), rtol=1e-4, atol=1e-5)


def test_straight_through_is_the_decoders_slope(params: masked_vq.Params, x: jax.Array) -> None:
    """Encoder outputs receive the slope of the pooled decoder input over K; worked out by finite differences."""
    a = jax.random.normal(jax.random.key(3), (K, ROWS, WIDTH))
    words = codebook.lookup(params["codebook"], codebook.nearest(params["codebook"], a))

    def rebuilt_from(a: jax.Array) -> jax.Array:
        pooled = codebook.straight_through(a, words).mean(0)
        return jnp.sum((x - masked_vq.mlp(params["decoder"], pooled[None])[0]) ** 2)

    slopes = jax.grad(rebuilt_from)(a)
    pooled = np.asarray(words, np.float64).mean(0)
    truth = np.zeros_like(pooled)
    for place in np.ndindex(pooled.shape):
        sides = []
        for step in (1e-6, -1e-6):
            moved = pooled.copy()
            moved[place] += step
            sides.append(((np.asarray(x, np.float64) - numpy_mlp(params["decoder"], moved, 0)) ** 2).sum())
        truth[place] = (sides[0] - sides[1]) / 2e-6
    for k in range(K):
        np.testing.assert_allclose(slopes[k], truth / K, rtol=1e-3, atol=1e-3)


def test_each_loss_moves_what_it_should(params: masked_vq.Params, x: jax.Array) -> None:
    def part(p: masked_vq.Params, name: str) -> jax.Array:
        return masked_vq.loss(p, x, config=CONFIG, key=jax.random.key(4))[1][0][name]

    moved = {}
    for name in ("reconstruction", "codebook", "commitment"):
        slopes = jax.grad(part)(params, name)
        chex.assert_tree_all_finite(slopes)
        moved[name] = {room for room, tree in slopes.items() if any(bool(a.any()) for a in jax.tree.leaves(tree))}
    assert moved == {"reconstruction": {"encoder", "decoder"}, "codebook": {"codebook"}, "commitment": {"encoder"}}


def test_decoder_slopes_by_finite_differences(params: masked_vq.Params, x: jax.Array) -> None:
    codes = masked_vq.encode(params, x)

    def error(decoder: masked_vq.Layers) -> jax.Array:
        return jnp.mean((masked_vq.decode({**params, "decoder": decoder}, codes) - x) ** 2)

    check_grads(error, (params["decoder"],), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_averages_replace_the_codebook_loss(params: masked_vq.Params, x: jax.Array) -> None:
    config = QuantizerConfig(codebooks=K, codewords=L, width=WIDTH, hidden=(8, 9, 10), ema=0.9)
    slopes = jax.grad(lambda p: masked_vq.loss(p, x, config=config, key=jax.random.key(0))[0])(params)
    assert not slopes["codebook"].any()


def test_one_trace(params: masked_vq.Params, x: jax.Array) -> None:
    def loss(p: masked_vq.Params, x: jax.Array, key: jax.Array) -> jax.Array:
        return masked_vq.loss(p, x, config=CONFIG, key=key)[0]

    traced = jax.jit(chex.assert_max_traces(loss, n=1))
    for i in range(3):
        traced(params, x + i, jax.random.key(i))


def test_averages_against_a_loop() -> None:
    """Van den Oord et al. 2017, eq. (6) to (8): three steps, in float64."""
    rng = np.random.default_rng(0)
    book = jnp.asarray(rng.normal(size=(K, L, WIDTH)), jnp.float32)
    use = codebook.fresh_use(book)
    size, total, place = np.ones((K, L)), np.array(book, np.float64), np.array(book, np.float64)
    for _ in range(3):
        rows, codes = rng.normal(size=(K, ROWS, WIDTH)).astype(np.float32), rng.integers(0, L - 1, (K, ROWS))
        book, use = codebook.follow(book, use, jnp.asarray(rows), jnp.asarray(codes), 0.9)
        for k in range(K):
            for word in range(L):
                mine = rows[k, codes[k] == word].astype(np.float64)
                size[k, word] = 0.9 * size[k, word] + 0.1 * len(mine)
                total[k, word] = 0.9 * total[k, word] + 0.1 * mine.sum(0)
                place[k, word] = total[k, word] / size[k, word]
    np.testing.assert_allclose(book, place, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(use.size, size, rtol=1e-5)


def test_a_codeword_that_nothing_chooses_stays_where_it_is() -> None:
    book = jnp.asarray([[[1.0], [3.0]]])
    use = codebook.fresh_use(book)
    for _ in range(400):  # 0.5^400 is 0 in single precision
        book, use = codebook.follow(book, use, jnp.asarray([[[2.0]]]), jnp.asarray([[0]]), 0.5)
    np.testing.assert_allclose(book, [[[2.0], [3.0]]], rtol=1e-6)


def test_dead_codewords_come_back_onto_rows() -> None:
    book = jnp.asarray([[[0.0, 0.0], [50.0, 50.0], [-90.0, 0.0]], [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]])
    rows = jax.random.normal(jax.random.key(0), (2, 8, 2))
    use, moved = codebook.fresh_use(book), book
    for step in range(1, 4):
        codes = codebook.nearest(moved, rows)
        # In the second codebook everything was chosen at step 2, whatever is near.
        codes = codes.at[1].set(jnp.arange(8) % 3) if step == 2 else codes
        moved, use, back = codebook.revive(moved, use, rows, codes, jnp.int32(step), 3)
        if step < 3:
            assert back == 0
            np.testing.assert_array_equal(moved, book)
    assert back == 2
    np.testing.assert_array_equal(moved[0, 0], book[0, 0])
    np.testing.assert_array_equal(moved[0, 1:], rows[0, :2])  # one row each
    np.testing.assert_array_equal(moved[1], book[1])
    assert set(np.asarray(codebook.nearest(moved, rows)[0])) == {0, 1, 2}
    np.testing.assert_array_equal(use.last[0, 1:], [3, 3])
    np.testing.assert_array_equal(use.total[0, 1:], rows[0, :2])


def test_kmeans_finds_planted_means() -> None:
    """Four far blobs, another four in the second codebook; 12 codewords miss none of them."""
    rng = np.random.default_rng(1)
    planted = rng.permutation(np.stack(np.meshgrid([0.0, 50.0], [0.0, 50.0]), -1).reshape(-1, 2))
    rows = np.stack([planted[rng.integers(0, 4, 200)] + rng.normal(size=(200, 2)) + 100 * k for k in range(2)])
    means = codebook.kmeans(jnp.asarray(rows, jnp.float32), 12, key=jax.random.key(0))
    for k in range(2):
        away = np.linalg.norm(planted[:, None] + 100 * k - np.asarray(means)[k], axis=-1)
        assert away.min(1).max() < 3
        codes = codebook.nearest(means, jnp.asarray(rows, jnp.float32))[k]
        for word in np.unique(codes):  # a mean is its members' mean
            np.testing.assert_allclose(means[k, word], rows[k][codes == word].mean(0), atol=0.5)


def test_more_codewords_than_rows_repeat_them() -> None:
    rows = jnp.asarray([[[1.0], [4.0], [9.0]]])
    means = codebook.kmeans(rows, 7, key=jax.random.key(0))
    assert set(np.asarray(means).ravel().tolist()) == {1.0, 4.0, 9.0}


def test_codebooks_start_where_encoders_look(params: masked_vq.Params) -> None:
    x = jax.random.normal(jax.random.key(8), (300, DIM))
    started = masked_vq.start(params, x, key=jax.random.key(9))
    chex.assert_trees_all_equal(started["encoder"], params["encoder"])
    given = masked_vq.encoded(started, x)
    codes = masked_vq.encode(started, x)
    for k in range(K):
        assert len(np.unique(codes[:, k])) == L
    left = jnp.sum((given - codebook.lookup(started["codebook"], codes.T)) ** 2)
    assert left < 0.8 * jnp.sum((given - given.mean(1, keepdims=True)) ** 2)


def test_codewords_are_normal_before_they_start() -> None:
    assert masked_vq.init(DIM, CONFIG, key=jax.random.key(0))["codebook"].shape == (K, L, WIDTH)
    linear = masked_vq.init(DIM, QuantizerConfig(hidden=()), key=jax.random.key(0))
    assert [layer["w"].shape[1:] for layer in linear["encoder"]] == [(DIM, 64)]
    assert [layer["w"].shape[1:] for layer in linear["decoder"]] == [(64, 64), (64, 64), (64, DIM)]
