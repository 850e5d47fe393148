"""Skip-gram: the two forms against NumPy loops and against each other in expectation."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxrec.models import skipgram

NODES, WIDTH, WINDOW, NEGATIVES = 6, 5, 2, 3
COUNTS = np.array([1, 4, 0, 9, 2, 2])


@pytest.fixture(scope="module")
def params() -> skipgram.Params:
    keys = jax.random.split(jax.random.key(0))
    return {
        "node": jax.random.normal(keys[0], (NODES, WIDTH)),
        "context": jax.random.normal(keys[1], (NODES, WIDTH)),
    }


@pytest.fixture(scope="module")
def walks() -> jax.Array:
    rows = np.random.default_rng(0).integers(0, NODES, (4, 7))
    rows[1, 3:] = -1  # a dead end
    rows[2, 1:] = -1  # a start without edges: no pair at all
    return jnp.asarray(rows, jnp.int32)


@pytest.fixture(scope="module")
def noise() -> jax.Array:
    return jnp.asarray(skipgram.noise_table(COUNTS))


def pairs_of(walks: jax.Array) -> list[tuple[int, int]]:
    """(centre, context) of every pair, by the definition."""
    actual = []
    for row in np.asarray(walks).tolist():
        path = [node for node in row if node >= 0]
        for i, centre in enumerate(path):
            actual += [(centre, path[j]) for j in range(len(path)) if j != i and abs(i - j) <= WINDOW]
    return actual


def expected(params: skipgram.Params, walks: jax.Array) -> tuple[float, dict[str, np.ndarray]]:
    """Mean loss over pairs and its gradient, with negatives integrated out: float64 loops."""
    x, y = (np.asarray(params[name], np.float64) for name in ("node", "context"))
    share = np.where(COUNTS > 0, COUNTS, 0) ** 0.75 * (COUNTS > 0)
    share = share / share.sum()
    total, dx, dy = 0.0, np.zeros_like(x), np.zeros_like(y)
    pairs = pairs_of(walks)
    for i, j in pairs:
        for node, weight, sign in [(j, 1.0, -1), *((v, NEGATIVES * share[v], 1) for v in range(NODES))]:
            score = sign * (x[i] @ y[node])
            total += weight * np.log1p(np.exp(score))
            slope = weight * sign / (1 + np.exp(-score))
            dx[i] += slope * y[node]
            dy[node] += slope * x[i]
    return total / len(pairs), {"node": dx / len(pairs), "context": dy / len(pairs)}


FORMS = {
    "pairs": skipgram.pairs_loss,
    "banded": lambda *a, **k: skipgram.banded_loss(*a, shared=8, **k),
    "blocks": lambda *a, **k: skipgram.banded_loss(*a, shared=8, block=2, **k),
}


@pytest.mark.parametrize("form", FORMS)
def test_both_forms_are_the_definition_in_expectation(form: str, params, walks, noise) -> None:
    """The mean over many draws of negatives, loss and gradient, is the loop's within 5 standard errors."""

    @jax.jit
    def draws(keys: jax.Array):
        run = jax.value_and_grad(
            lambda p, k: FORMS[form](p, walks, noise, k, window=WINDOW, negatives=NEGATIVES), has_aux=True
        )
        return jax.lax.map(lambda k: run(params, k), keys)

    (losses, metrics), gradients = draws(jax.random.split(jax.random.key(1), 2000))
    assert (np.asarray(metrics["pairs"]) == len(pairs_of(walks))).all()
    loss, wanted = expected(params, walks)
    for got, want in [(losses, loss), *((gradients[name], wanted[name]) for name in wanted)]:
        values = np.asarray(got, np.float64)
        error = 5 * values.std(0) / np.sqrt(len(values)) + 1e-5
        assert (np.abs(values.mean(0) - want) <= error).all()


def test_by_hand(noise) -> None:
    # All vectors 0: every term of a pair, one positive and five negatives, is log 2.
    zeros = {"node": jnp.zeros((NODES, WIDTH)), "context": jnp.zeros((NODES, WIDTH))}
    walks = jnp.array([[0, 1, 2]], jnp.int32)
    for form in FORMS.values():
        if form is not FORMS["blocks"]:
            loss, metrics = form(zeros, walks, noise, jax.random.key(0), window=1, negatives=5)
            np.testing.assert_allclose(loss, 6 * np.log(2), rtol=1e-6)
            assert metrics["pairs"] == 4


def test_blocks_change_nothing_but_rounding(params, walks, noise) -> None:
    def run(block: int):
        return jax.value_and_grad(skipgram.banded_loss, has_aux=True)(
            params, walks, noise, jax.random.key(3), window=WINDOW, negatives=NEGATIVES, block=block
        )

    chex.assert_trees_all_close(run(0), run(1), run(2), rtol=2e-5, atol=1e-6)


def test_the_written_gradient_is_that_of_differences(params, walks, noise) -> None:
    def loss(p):
        return skipgram.banded_loss(p, walks, noise, jax.random.key(3), window=WINDOW, negatives=NEGATIVES)[0]

    gradient, direction = jax.grad(loss)(params), jax.tree.map(lambda x: jnp.sin(7 * x), params)
    up, down = (loss(jax.tree.map(lambda x, d, s=s: x + s * d, params, direction)) for s in (1e-2, -1e-2))
    along = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction)))
    np.testing.assert_allclose(along, (up - down) / 2e-2, rtol=1e-2)


@pytest.mark.parametrize("form", FORMS)
def test_no_pairs_no_loss_and_finite_gradients(form: str, params, noise) -> None:
    walks = jnp.full((2, 5), -1, jnp.int32).at[:, 0].set(3)
    (loss, _), gradient = jax.value_and_grad(FORMS[form], has_aux=True)(
        params, walks, noise, jax.random.key(0), window=WINDOW, negatives=NEGATIVES
    )
    np.testing.assert_allclose(loss, 0, atol=1e-4)
    assert all((np.asarray(g) == 0).all() for g in jax.tree.leaves(gradient))


@pytest.mark.parametrize("form", FORMS)
def test_extreme_scores_stay_finite(form: str, params, walks, noise) -> None:
    large = jax.tree.map(lambda x: 1e3 * x, params)
    loss, gradient = jax.value_and_grad(
        lambda p: FORMS[form](p, walks, noise, jax.random.key(0), window=WINDOW, negatives=NEGATIVES)[0]
    )(large)
    assert np.isfinite(loss)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


def test_one_trace_and_the_same_without_jit(params, walks, noise) -> None:
    def loss(p, w, k):
        return skipgram.banded_loss(p, w, noise, k, window=WINDOW, negatives=NEGATIVES, block=2)[0]

    traced = jax.jit(chex.assert_max_traces(loss, n=1))
    first = traced(params, walks, jax.random.key(0))
    assert first != traced(params, walks, jax.random.key(1))
    with jax.disable_jit():
        np.testing.assert_allclose(first, loss(params, walks, jax.random.key(0)), rtol=1e-6)


def test_noise_is_the_unigram_to_the_three_quarters(noise) -> None:
    drawn = np.bincount(skipgram.draw_noise(noise, (40_000,), key=jax.random.key(0)), minlength=NODES)
    assert drawn[2] == 0, "a node that no walk meets is never drawn"
    share = COUNTS[COUNTS > 0] ** 0.75
    assert scipy.stats.chisquare(drawn[COUNTS > 0], 40_000 * share / share.sum()).pvalue > 1e-4


def test_the_last_node_of_the_noise_may_be_unvisited() -> None:
    noise = jnp.asarray(skipgram.noise_table(np.array([3, 0])))
    assert (np.asarray(skipgram.draw_noise(noise, (1000,), key=jax.random.key(0))) == 0).all()


def test_softplus_and_its_slope_at_zero() -> None:
    x = jnp.array([-200.0, -3.0, 0.0, 3.0, 200.0])
    np.testing.assert_allclose(skipgram.softplus(x), np.logaddexp(0, np.asarray(x, np.float64)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(jax.vmap(jax.grad(skipgram.softplus))(x), scipy.special.expit(x), rtol=1e-5)


def test_starting_values() -> None:
    params = skipgram.init(50, 8, key=jax.random.key(0))
    assert not params["context"].any()
    assert 0 < np.abs(params["node"]).max() <= 0.5 / 8


def test_bad_arguments_are_named(params, walks, noise) -> None:
    with pytest.raises(ValueError, match="block=3 does not divide the 4 walks"):
        skipgram.banded_loss(params, walks, noise, jax.random.key(0), window=1, negatives=1, block=3)
    with pytest.raises(ValueError, match="counts are all 0"):
        skipgram.noise_table(np.zeros(3))
