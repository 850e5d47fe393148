"""Caser: convolutions beside PyTorch's, windows that stay inside a sequence, users where they belong."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxrec.baselines.caser import Caser, CaserConfig
from jaxrec.models.dropout import Dropout

CONFIG = CaserConfig(dim=4, window=3, horizontal=5, vertical=2, dropout=0.0, compute_dtype="float32")
ITEMS, USERS = 15, 6


@pytest.fixture(scope="module")
def model() -> Caser:
    return Caser(CONFIG, ITEMS, USERS, rngs=nnx.Rngs(0))


def test_convolutions_are_pytorchs(model: Caser) -> None:
    x = np.random.default_rng(0).normal(size=(7, 3, 4)).astype(np.float32)
    image = torch.tensor(x)[:, None]
    actual = []
    for height, layer in enumerate(model.filters, start=1):
        kernel = torch.tensor(np.asarray(layer.kernel[...]).T.reshape(5, 1, height, 4))
        out = torch.nn.functional.conv2d(image, kernel, torch.tensor(np.asarray(layer.bias[...])))
        actual.append(torch.relu(out)[..., 0].amax(dim=2))
    vertical = torch.tensor(np.asarray(model.vertical[...]).T.reshape(2, 1, 3, 1))
    seen = torch.nn.functional.conv2d(image, vertical)[:, :, 0]  # [N, filters, features]
    actual.append(seen.permute(0, 2, 1).reshape(7, -1))
    joined = torch.cat(actual, dim=1).numpy() @ np.asarray(model.joined.kernel[...])
    expected = np.maximum(joined + np.asarray(model.joined.bias[...]), 0)
    np.testing.assert_allclose(model.convolved(jnp.asarray(x), Dropout(0, None)), expected, atol=1e-5)


@pytest.mark.slow
def test_a_place_sees_the_window_before_it_and_its_user(model: Caser) -> None:
    def user(number):
        return ITEMS + 1 + number

    row = np.array([[user(2), 3, 7, 1, 5, user(4), 9, 0]])
    actual = np.asarray(model(row, np.array([[1] * 5 + [2] * 2 + [0]])))[0]
    table = np.asarray(model.item_embedding[...]) * 2  # the root of the width
    windows = {0: [0, 0, 0], 1: [0, 0, 3], 2: [0, 3, 7], 3: [3, 7, 1], 4: [7, 1, 5], 5: [0, 0, 0], 6: [0, 0, 9]}
    for place, items in windows.items():
        window = np.stack([table[i - 1] if i else np.zeros(4) for i in items]).astype(np.float32)
        expected = model.convolved(jnp.asarray(window)[None], Dropout(0, None))[0]
        np.testing.assert_allclose(actual[place, :4], expected, atol=1e-5, err_msg=f"place {place}")
        of_user = np.asarray(model.user_embedding[...])[2 if place < 5 else 4]
        np.testing.assert_allclose(actual[place, 4:], of_user, atol=1e-6)
    answers = model.answers(np.array([[3, 7, 1, 5, 0], [9, 0, 0, 0, 0]]), np.array([2, 4]))
    np.testing.assert_allclose(answers, actual[[4, 6]], atol=1e-5)
