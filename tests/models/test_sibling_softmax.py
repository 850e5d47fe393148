"""The loss among siblings: both ways to compute it beside a loop in numpy, with gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.models.sibling_softmax import Siblings, sibling_cross_entropy

N, ITEMS, D, WIDTH = 40, 30, 5, 9


@pytest.fixture(scope="module")
def case() -> tuple:
    random = np.random.default_rng(0)
    first = random.integers(0, ITEMS, N)
    count = np.minimum(random.integers(1, WIDTH + 1, N), ITEMS - first)
    label = random.integers(0, count)
    weights = random.random(N) * (random.random(N) < 0.7)
    arrays = (x.astype(np.int32) for x in (first, count, label))
    hidden, table = (random.normal(size=(n, D)).astype(np.float32) for n in (N, ITEMS))
    return jnp.asarray(hidden), jnp.asarray(table), Siblings(*map(jnp.asarray, arrays)), weights.astype(np.float32)


def expected(hidden, table, siblings: Siblings, weights) -> float:
    total = 0.0
    for h, first, count, label, weight in zip(hidden, *siblings, weights, strict=True):
        logits = np.asarray(table)[first : first + count] @ np.asarray(h)
        total += weight * (np.log(np.exp(logits).sum()) - logits[label])
    return total


@pytest.mark.parametrize("loops", [True, False])
def test_it_is_the_loop_in_numpy(case: tuple, loops: bool) -> None:
    hidden, table, siblings, weights = case
    loss = jax.jit(sibling_cross_entropy, static_argnums=(4,), static_argnames="loops")
    np.testing.assert_allclose(loss(*case, WIDTH, loops=loops), expected(*case), rtol=1e-5)

    def scaled(hidden, table):
        return 3 * sibling_cross_entropy(hidden, table, siblings, weights, WIDTH, loops=loops)

    step, direction = 1e-2, np.random.default_rng(1).normal(size=(2, ITEMS, D)).astype(np.float32)
    for argument, x in enumerate((hidden, table)):
        gradient = jax.grad(scaled, argnums=argument)(hidden, table)
        moved = direction[argument, :1] * np.ones_like(x) if argument == 0 else direction[argument]
        around = [list(case), list(case)]
        around[0][argument], around[1][argument] = x - step * moved, x + step * moved
        slope = 3 * (expected(*around[1]) - expected(*around[0])) / (2 * step)
        np.testing.assert_allclose(jnp.sum(gradient * moved), slope, rtol=2e-3)


def test_rows_without_weight_may_be_anything(case: tuple) -> None:
    hidden, table, siblings, weights = case
    broken = jnp.where(weights == 0, ITEMS + 5, siblings.first)
    for loops in (True, False):
        loss = sibling_cross_entropy(hidden, table, siblings._replace(first=broken), weights, WIDTH, loops=loops)
        np.testing.assert_allclose(loss, expected(*case), rtol=1e-5)
