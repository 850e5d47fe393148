"""Cross-entropy in blocks: loss and gradients beside PyTorch, blocks and padding that change nothing."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxrec.models.full_softmax import cross_entropy, sampled_cross_entropy

ROWS, ITEMS, WIDTH = 10, 23, 6


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    hidden, table = rng.normal(size=(ROWS, WIDTH)), rng.normal(size=(ITEMS, WIDTH))
    labels = rng.integers(0, ITEMS, ROWS)
    labels[:3] = 7  # a repeated label gathers its gradients in one row
    weights = rng.random(ROWS)
    weights[4:6] = 0
    return hidden.astype(np.float32), table.astype(np.float32), labels.astype(np.int32), weights.astype(np.float32)


@pytest.mark.parametrize("block", [3, 10, None])
def test_loss_and_gradients_beside_pytorch(case, block: int | None) -> None:
    hidden, table, labels, weights = case
    h, e = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (hidden, table))
    losses = torch.nn.functional.cross_entropy(h @ e.T, torch.tensor(labels).long(), reduction="none")
    share = torch.tensor(weights, dtype=torch.float64)
    (expected := (losses * share).sum() / share.sum() * 2.5).backward()
    actual, gradients = jax.jit(
        jax.value_and_grad(lambda h, e: 2.5 * cross_entropy(h, e, labels, weights, "float32", block=block), (0, 1))
    )(hidden, table)
    np.testing.assert_allclose(actual, expected.item(), rtol=1e-5)
    np.testing.assert_allclose(gradients[0], h.grad, atol=1e-6)
    np.testing.assert_allclose(gradients[1], e.grad, atol=1e-6)
    assert not np.asarray(gradients[0])[4:6].any(), "a weight of 0 pulls at nothing"


def test_rounded_operands_come_near(case) -> None:
    hidden, table, labels, weights = case
    actual = {}
    for dtype in ("float32", "bfloat16"):
        loss = functools.partial(cross_entropy, labels=labels, weights=weights, dtype=dtype, block=4)
        actual[dtype] = jax.tree.leaves(jax.value_and_grad(loss, (0, 1))(hidden, table))
    for exact, rounded in zip(*actual.values()):
        assert rounded.dtype == jnp.float32
        np.testing.assert_allclose(exact, rounded, atol=0.03)


def test_worked_by_hand() -> None:
    # Scores log 1, log 2, log 5: the label 1 has probability 2 / 8. The second row counts nothing, whatever it says.
    table = np.log([[1.0], [2.0], [5.0]]).astype(np.float32)
    actual = cross_entropy(jnp.array([[1.0], [9.0]]), table, np.array([1, -1]), np.array([3.0, 0.0]), "float32")
    np.testing.assert_allclose(actual, np.log(4), rtol=1e-6)


def test_no_weight_no_loss_and_large_scores_stay_finite(case) -> None:
    hidden, table, labels, _ = case
    assert cross_entropy(hidden, table, labels, np.zeros(ROWS, np.float32), "float32") == 0
    loss, gradients = jax.value_and_grad(
        lambda h: cross_entropy(h, table, labels, np.ones(ROWS, np.float32), "float32")
    )(1e4 * hidden)
    chex.assert_tree_all_finite((loss, gradients))


def test_a_sample_of_all_items_is_the_whole_softmax(case) -> None:
    hidden, table, labels, weights = case
    whole = functools.partial(cross_entropy, labels=labels, weights=weights, dtype="float32")
    sample = functools.partial(
        sampled_cross_entropy, labels=labels, weights=weights, dtype="float32", candidates=jnp.arange(ITEMS)
    )
    for a, b in zip(*(jax.tree.leaves(jax.value_and_grad(f, (0, 1))(hidden, table)) for f in (whole, sample))):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.fixture(scope="module")
def left_out(case) -> np.ndarray:
    """Up to four items for each row, twice the same among them, never its label."""
    rng = np.random.default_rng(1)
    items = rng.integers(-1, ITEMS, (ROWS, 4))
    items[0] = [3, 3, -1, 5]
    return np.where(items == case[2][:, None], -1, items)


@pytest.mark.parametrize("sampled", [False, True], ids=["all items", "a sample of all items, some twice"])
def test_items_left_out_are_as_if_they_were_not_there(case, left_out: np.ndarray, sampled: bool) -> None:
    hidden, table, labels, weights = case
    is_out = np.zeros((ROWS, ITEMS + 1), bool)
    np.put_along_axis(is_out, left_out, True, axis=1)

    def by_hand(hidden: jax.Array, table: jax.Array) -> jax.Array:
        log_probs = jax.nn.log_softmax(jnp.where(is_out[:, :-1], -jnp.inf, hidden @ table.T))
        return -(log_probs[np.arange(ROWS), labels] * weights).sum() / weights.sum()

    def actual(hidden: jax.Array, table: jax.Array) -> jax.Array:
        if not sampled:
            return cross_entropy(hidden, table, labels, weights, "float32", left_out=left_out, block=4)
        twice = jnp.append(jnp.arange(ITEMS), jnp.array([4, 9]))
        return sampled_cross_entropy(hidden, table, labels, weights, "float32", twice, left_out=left_out)

    for f, g in zip(*(jax.tree.leaves(jax.value_and_grad(f, (0, 1))(hidden, table)) for f in (by_hand, actual))):
        np.testing.assert_allclose(f, g, atol=1e-5)


def test_a_row_may_have_no_candidate_but_its_label() -> None:
    left_out = np.array([[0, 2, -1]])
    of_one = functools.partial(sampled_cross_entropy, candidates=jnp.array([0, 2, 2]), left_out=left_out)
    for loss in (functools.partial(cross_entropy, left_out=left_out), of_one):
        value, gradient = jax.value_and_grad(loss)(np.ones((1, 2)), np.eye(3, 2), np.array([1]), np.ones(1), "float32")
        chex.assert_trees_all_close((value, gradient), (np.float32(0), np.zeros((1, 2), np.float32)), atol=1e-6)


def test_a_row_that_does_not_count_may_have_no_candidate_at_all() -> None:
    left_out, weights = np.array([[0, 1], [1, -1], [0, 1]]), np.array([0.0, 1.0, 0.0])
    of_both = functools.partial(sampled_cross_entropy, candidates=jnp.arange(2), left_out=left_out)
    for loss in (functools.partial(cross_entropy, left_out=left_out, block=2), of_both):
        value, gradient = jax.value_and_grad(loss)(np.ones((3, 2)), np.eye(2), np.zeros(3, int), weights, "float32")
        chex.assert_trees_all_close((value, gradient), (np.float32(0), np.zeros((3, 2), np.float32)), atol=1e-6)


@pytest.mark.slow
def test_a_sample_stands_for_the_catalogue(case) -> None:
    """Over many samples its normaliser, the label aside, has the mean of the whole one."""
    hidden, table, labels, _ = case
    weights = np.zeros(ROWS, np.float32)
    weights[2] = 1
    losses = [
        float(sampled_cross_entropy(hidden, table, labels, weights, "float32", jax.random.randint(key, (6,), 0, ITEMS)))
        for key in jax.random.split(jax.random.key(0), 200)
    ]
    scores = hidden[2] @ table.T
    expected = np.exp(scores).sum() / np.exp(scores[labels[2]])
    np.testing.assert_allclose(np.mean(np.exp(losses)), expected, rtol=0.1)
