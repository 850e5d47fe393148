"""The pairwise loss: beside a loop over positions, the next items and what was drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec.baselines.next_item_model import NextItem, SequenceConfig, pairwise_loss
from jaxrec.types import Batch

ITEMS = 9
SOURCE = np.array([[3, 7, 1, 5, 9, 2, 0], [4, 8, 6, 3, 0, 0, 0]])
TARGET = np.array([[7, 1, 5, 9, 2, 8, 0], [8, 6, 3, 4, 0, 0, 0]])
SEGMENTS = np.array([[1, 1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 0, 0, 0]])
BATCH = Batch(SOURCE, SEGMENTS, TARGET, SEGMENTS, (SEGMENTS > 0).astype(np.float32))


class Rows(NextItem):
    """Nothing but output weights."""

    def __init__(self) -> None:
        self.config = SequenceConfig(dim=4)
        self.table = nnx.Param(jax.random.normal(jax.random.key(0), (ITEMS, 4)))

    @property
    def items(self) -> jax.Array:
        return self.table[...]


@pytest.fixture(scope="module")
def hidden() -> jax.Array:
    return jax.random.normal(jax.random.key(1), (2, 7, 4))


@pytest.mark.parametrize("ahead", [1, 3])
def test_the_pairwise_loss_is_that_of_a_loop(hidden: jax.Array, ahead: int) -> None:
    model, key = Rows(), jax.random.key(5)
    h, w = np.asarray(hidden, np.float64), np.asarray(model.items, np.float64)
    each, left_out = [], 0
    for step in range(ahead):
        drawn = jax.random.randint(jax.random.fold_in(key, step), (2, 7 - step), 0, ITEMS)
        for row, place in np.ndindex(2, 7 - step):
            segment = SEGMENTS[row, place]
            if not segment or SEGMENTS[row, place + step] != segment:
                continue
            own = {*SOURCE[row][SEGMENTS[row] == segment], *TARGET[row][SEGMENTS[row] == segment]}
            item, other = TARGET[row, place + step] - 1, int(drawn[row, place])
            if other + 1 in own:
                left_out += 1
                continue
            each.append(np.log1p(np.exp(-h[row, place] @ (w[item] - w[other]))))
    assert left_out > 0
    assert len(each) > 3
    actual = jax.jit(pairwise_loss, static_argnames="ahead")(model, hidden, BATCH, key, ahead=ahead)
    np.testing.assert_allclose(actual, np.mean(each), rtol=1e-5)


def test_without_pairs_the_pairwise_loss_is_0_and_flat(hidden: jax.Array) -> None:
    narrow = (x[:, :2] for x in (SOURCE, SEGMENTS, TARGET, SEGMENTS))
    empty = Batch(*narrow, np.zeros((2, 2), np.float32))

    def loss(hidden: jax.Array) -> jax.Array:
        return pairwise_loss(Rows(), hidden, empty, None, ahead=3)  # more than a row has places

    value, gradient = jax.jit(jax.value_and_grad(loss))(hidden[:, :2])
    assert value == 0
    np.testing.assert_array_equal(gradient, jnp.zeros((2, 2, 4)))
