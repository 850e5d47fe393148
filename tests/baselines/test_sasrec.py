"""SASRec: a block beside PyTorch's encoder layer, packing, causality, and what a history asks."""

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from jaxrec.baselines.next_item_model import next_item_loss, positions_in_segment
from jaxrec.baselines.sasrec import Block, SasRec, SasRecConfig
from jaxrec.models.dropout import Dropout
from jaxrec.types import Batch

CONFIG = SasRecConfig(dim=8, length=6, dropout=0.0, heads=2, inner=12, compute_dtype="float32")
ITEMS = 15


@pytest.fixture(scope="module")
def model() -> SasRec:
    model = SasRec(CONFIG, ITEMS, rngs=nnx.Rngs(0))
    for _, value in nnx.iter_graph(model):  # biases and norms start at 0 and 1, where mistakes hide
        if isinstance(value, nnx.Param):
            noise = jax.random.normal(jax.random.key(value.size), value.shape)
            value[...] = value[...] + 0.3 * noise
    return model


@pytest.mark.slow
def test_a_block_is_pytorchs_encoder_layer(model: SasRec) -> None:
    block, reference = (
        model.blocks[1],
        torch.nn.TransformerEncoderLayer(
            8, 2, 12, dropout=0.0, activation="relu", batch_first=True, norm_first=True, layer_norm_eps=1e-6
        ),
    )
    assert isinstance(block, Block)

    def give(to: torch.Tensor, *values) -> None:
        with torch.no_grad():
            to.copy_(torch.cat([torch.tensor(np.asarray(v[...]).T) for v in values]))

    heads = block.query, block.key, block.value
    give(reference.self_attn.in_proj_weight, *(x.kernel for x in heads))
    give(reference.self_attn.in_proj_bias, *(x.bias for x in heads))
    layers = ((reference.self_attn.out_proj, block.output), (reference.linear1, block.wide))
    for theirs, ours in (*layers, (reference.linear2, block.narrow)):
        give(theirs.weight, ours.kernel)
        give(theirs.bias, ours.bias)
    for theirs, ours in ((reference.norm1, block.attention_norm), (reference.norm2, block.feed_norm)):
        give(theirs.weight, ours.scale)
        give(theirs.bias, ours.bias)
    x = np.random.default_rng(0).normal(size=(3, 5, 8)).astype(np.float32)
    causal = np.tri(5, dtype=bool)
    actual = block(jax.numpy.asarray(x), jax.numpy.asarray(causal)[None], Dropout(0, None))
    expected = reference(torch.tensor(x), src_mask=torch.tensor(~causal)).detach()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.slow
def test_sequences_that_share_a_row_do_not_meet(model: SasRec) -> None:
    one, two = [3, 7, 1], [9, 2, 2, 15]
    packed = model(np.array([one + two + [0]]), np.array([[1] * 3 + [2] * 4 + [0]]))[0]
    np.testing.assert_allclose(packed[:3], model(np.array([one]), np.ones((1, 3), int))[0], atol=1e-5)
    np.testing.assert_allclose(packed[3:7], model(np.array([two]), np.ones((1, 4), int))[0], atol=1e-5)
    np.testing.assert_array_equal(positions_in_segment(np.array([[1, 1, 1, 2, 2, 0]])), [[0, 1, 2, 0, 1, 0]])


def test_nothing_sees_what_comes_later(model: SasRec) -> None:
    segments = np.ones((1, 5), int)
    one, two = (model(np.array([row]), segments)[0] for row in ([1, 2, 3, 4, 5], [1, 2, 3, 14, 15]))
    np.testing.assert_allclose(one[:3], two[:3], atol=1e-6)
    assert np.abs(one[3:] - two[3:]).min(axis=1).max() > 1e-3


@pytest.mark.slow
def test_answers_are_those_of_the_newest_item(model: SasRec) -> None:
    tokens = np.array([[4, 9, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]])
    actual = model.answers(tokens, np.arange(3))
    for row, length in ((0, 2), (1, 4)):
        alone = model(tokens[row : row + 1, :length], np.ones((1, length), int))[0, -1]
        np.testing.assert_allclose(actual[row], alone, atol=1e-5)
    assert np.isfinite(actual).all(), "nothing is known of the third, and that is no reason to break"


def test_the_loss_is_that_of_what_follows(model: SasRec) -> None:
    source, target = np.array([[3, 7, 1, 5, 0]]), np.array([[7, 1, 4, 6, 0]])
    segments = np.array([[1, 1, 1, 2, 0]])
    batch = Batch(source, segments, target, segments, (segments > 0).astype(np.float32))
    hidden = np.asarray(model(source, segments))[0].astype(np.float64)
    scores = hidden @ np.asarray(model.items, np.float64).T
    each = [np.log(np.exp(scores[i]).sum()) - scores[i, target[0, i] - 1] for i in range(4)]
    np.testing.assert_allclose(next_item_loss(model, batch)[0], np.mean(each), rtol=1e-5)


@pytest.mark.slow
def test_dropout_draws_by_its_key() -> None:
    model = SasRec(SasRecConfig(dim=8, length=6, dropout=0.5), ITEMS, rngs=nnx.Rngs(0))
    tokens, segments = np.array([[1, 2, 3]]), np.ones((1, 3), int)
    one, same, other = (model(tokens, segments, key=jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="heads=3"):
        SasRec(SasRecConfig(dim=8, heads=3), ITEMS, rngs=nnx.Rngs(0))
