"""BERT4Rec: masks counted, the loss beside a loop, packing, and the mask behind a history."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrec.baselines.bert4rec import Bert4Rec, Bert4RecConfig, cloze_loss, draw_masks
from jaxrec.types import Batch

CONFIG = Bert4RecConfig(dim=8, length=6, dropout=0.0, heads=2, inner=12, compute_dtype="float32", mask=0.4, last=0.3)
ITEMS = 15


@pytest.fixture(scope="module")
def model() -> Bert4Rec:
    return Bert4Rec(CONFIG, ITEMS, rngs=nnx.Rngs(0))


def test_masks_are_at_the_rate_or_at_the_end_alone() -> None:
    segments = np.tile([1, 1, 1, 1, 2, 2, 2, 0], (4000, 1))
    actual = np.asarray(draw_masks(segments, 0.4, 0.0, jax.random.key(0)))
    assert not actual[:, 7].any()
    np.testing.assert_allclose(actual[:, :7].mean(axis=0), 0.4, atol=0.04)
    np.testing.assert_array_equal(
        draw_masks(segments, 0.4, 1.0, jax.random.key(0)), np.tile([0, 0, 0, 1, 0, 0, 1, 0], (4000, 1))
    )
    some = np.asarray(draw_masks(segments, 0.0, 0.25, jax.random.key(1)))
    np.testing.assert_allclose(some[:, [3, 6]].mean(axis=0), 0.25, atol=0.04)
    assert not some[:, [0, 1, 2, 4, 5]].any()
    both = some[:, 3] & some[:, 6]
    np.testing.assert_allclose(both.mean(), 0.25**2, atol=0.02, err_msg="each sequence draws for itself")


@pytest.mark.slow
def test_the_loss_is_that_of_hidden_items(model: Bert4Rec) -> None:
    tokens = np.array([[3, 7, 1, 5, 9, 2, 0], [4, 4, 8, 15, 0, 0, 0]])
    segments = np.array([[1, 1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 0, 0, 0]])
    batch = Batch(tokens, segments, tokens, segments, (segments > 0).astype(np.float32))
    key = jax.random.key(5)

    # A loss that the labels' own scores enter: what it hides is read off from which labels matter.
    def loss(target):
        return float(cloze_loss(model, Batch(tokens, segments, target, segments, batch.weights), key)[0])

    whole, hidden = loss(tokens), np.zeros_like(segments, bool)
    for place in np.ndindex(*tokens.shape):
        other = tokens.copy()
        other[place] = tokens[place] % ITEMS + 1
        hidden[place] = loss(other) != whole
    assert hidden.any()
    assert not hidden[segments == 0].any()
    masked = np.where(hidden, ITEMS + 1, tokens)
    scores = np.asarray(model(masked, segments), np.float64) @ np.asarray(model.items, np.float64).T
    each = [np.log(np.exp(scores[at]).sum()) - scores[at][tokens[at] - 1] for at in zip(*np.nonzero(hidden))]
    np.testing.assert_allclose(whole, np.mean(each), rtol=1e-5)


@pytest.mark.slow
def test_sequences_that_share_a_row_do_not_meet_and_see_both_ways(model: Bert4Rec) -> None:
    one, two = [3, 7, 1], [9, 2, 2, 15]
    packed = model(np.array([one + two + [0]]), np.array([[1] * 3 + [2] * 4 + [0]]))[0]
    np.testing.assert_allclose(packed[:3], model(np.array([one]), np.ones((1, 3), int))[0], atol=1e-5)
    np.testing.assert_allclose(packed[3:7], model(np.array([two]), np.ones((1, 4), int))[0], atol=1e-5)
    changed = model(np.array([[3, 7, 2]]), np.ones((1, 3), int))[0]
    assert (np.abs(changed[0] - packed[0]) > 1e-6).any()


@pytest.mark.long
def test_a_history_is_asked_with_a_mask_behind_it(model: Bert4Rec) -> None:
    tokens = np.array([[4, 9, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6], [0] * 6])
    actual = model.answers(tokens, np.arange(3))
    for row, length in ((0, 2), (1, 6), (2, 0)):
        masked = np.array([[*tokens[row, :length], ITEMS + 1]])
        np.testing.assert_allclose(actual[row], model(masked, np.ones_like(masked))[0, -1], atol=1e-5)
    assert model.items.shape == (ITEMS, 8), "the mask is never recommended"
