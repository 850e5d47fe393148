"""HGN: scores beside a PyTorch module of the paper's equations, windows that stay inside a sequence, gradients."""

import dataclasses

import chex
import jax
import numpy as np
import pytest
import torch
from flax import nnx

from jaxrec.baselines.hgn import Hgn, HgnConfig, hgn_loss
from jaxrec.types import Batch

CONFIG = HgnConfig(dim=4, window=3, dropout=0.0, compute_dtype="float32")
ITEMS, USERS = 15, 6


def fresh(**settings) -> Hgn:
    model = Hgn(dataclasses.replace(CONFIG, **settings), ITEMS, USERS, rngs=nnx.Rngs(0))
    for _, value in nnx.iter_graph(model):  # embeddings start near 0, where all gates are half open
        if isinstance(value, nnx.Param):
            value[...] = value[...] + jax.random.normal(jax.random.key(value.size), value.shape)
    return model


@pytest.fixture(scope="module")
def model() -> Hgn:
    return fresh()


def user(number: int) -> int:
    return ITEMS + 1 + number


ROW = np.array([[user(2), 3, 7, 1, 5, user(4), 9, 0]])
SEGMENTS = np.array([[1] * 5 + [2] * 2 + [0]])


def array(param: nnx.Param) -> torch.Tensor:
    return torch.tensor(np.asarray(param[...]))


class Reference(torch.nn.Module):
    """The paper's equations for one window of at most L items, oldest first; the gates of older items are unused."""

    def __init__(self, ours: Hgn, pooling: str) -> None:
        super().__init__()
        self.items, self.users, self.targets = (
            torch.nn.Embedding.from_pretrained(array(x))
            for x in (ours.item_embedding, ours.user_embedding, ours.output_embedding)
        )
        self.by_item, self.by_user = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        with torch.no_grad():
            for theirs, mine in ((self.by_item, ours.feature_by_item), (self.by_user, ours.feature_by_user)):
                assert mine.bias is not None
                theirs.weight.copy_(array(mine.kernel).T)
                theirs.bias.copy_(array(mine.bias))
        self.w3, self.w4 = array(ours.instance_by_item), array(ours.instance_by_user)
        self.pooling = pooling

    def forward(self, who: int, window: list[int]) -> torch.Tensor:
        """Scores of all items."""
        w, u = self.targets.weight, self.users(torch.tensor(who))
        if not window:
            return w @ u
        e = self.items(torch.tensor(window))
        gated = e * torch.sigmoid(self.by_item(e) + self.by_user(u))
        gates = torch.sigmoid((gated @ self.w3)[:, 0] + (u @ self.w4)[-len(window) :])
        gated = gated * gates[:, None]
        pooled = gated.sum(0) / gates.sum() if self.pooling == "mean" else gated.amax(0)
        return w @ u + w @ pooled + sum(w @ one for one in e)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_scores_are_those_of_the_equations_for_the_window_before_a_place(pooling: str) -> None:
    model = fresh(pooling=pooling)
    reference = Reference(model, pooling)
    hidden = jax.jit(Hgn.__call__)(model, ROW, SEGMENTS)
    actual = np.asarray(hidden @ model.items.T)[0]
    windows = {0: [], 1: [3], 2: [3, 7], 3: [3, 7, 1], 4: [7, 1, 5], 5: [], 6: [9]}
    for place, tokens in windows.items():
        with torch.no_grad():
            expected = reference(2 if place < 5 else 4, [token - 1 for token in tokens])
        np.testing.assert_allclose(actual[place], expected.numpy(), atol=1e-4, err_msg=f"place {place}")
    assert np.isfinite(actual).all(), "padding, too"
    answers = model.answers(np.array([[3, 7, 1, 5, 0], [9, 0, 0, 0, 0], [0] * 5]), np.array([2, 4, 4]))
    np.testing.assert_allclose(answers, hidden[0, np.array([4, 6, 5])], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "pooling"), [("bpr", "mean"), ("bpr", "max"), ("softmax", "mean")])
def test_gradients_are_finite_and_reach_every_parameter(loss: str, pooling: str) -> None:
    model = fresh(loss=loss, pooling=pooling, targets=2)
    target = np.array([[3, 7, 1, 5, 2, 9, 4, 0]])
    batch = Batch(ROW, SEGMENTS, target, SEGMENTS, (SEGMENTS > 0).astype(np.float32))
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def of_params(params) -> jax.Array:
        return hgn_loss(nnx.merge(graph, params, rest), batch, jax.random.key(1))[0]

    chex.clear_trace_counter()
    traced = jax.jit(jax.value_and_grad(chex.assert_max_traces(of_params, 1)))
    value, gradients = traced(params)
    traced(params)
    np.testing.assert_allclose(value, of_params(params), rtol=1e-5)
    for gradient in jax.tree.leaves(gradients):
        assert np.isfinite(gradient).all()
        assert (gradient != 0).any()


def test_dropout_draws_by_its_key() -> None:
    model = fresh(dropout=0.5)
    one, same, other = (model(ROW, SEGMENTS, key=jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
