"""The optimizer against torch's AdamW, its schedule at the corners, and what decay leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrec.config import TrainConfig
from jaxrec.training.optimizer import decay_mask, learning_rate, make_optimizer


def test_five_steps_equal_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = {"kernel": rng.normal(size=(4, 3)).astype(np.float32), "bias": rng.normal(size=3).astype(np.float32)}
    config = TrainConfig(learning_rate=1e-2, warmup=0.0, schedule="constant", weight_decay=0.1, clip=1.0)
    optimizer = make_optimizer(config, 5)
    params, state = start, optimizer.init(start)
    theirs = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in start.items()}
    groups = [{"params": [theirs["kernel"]], "weight_decay": 0.1}, {"params": [theirs["bias"]], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1e-2)
    for _ in range(5):
        gradients = {name: rng.normal(size=value.shape).astype(np.float32) for name, value in start.items()}
        updates, state = jax.jit(optimizer.update)(gradients, state, params)
        params = optax.apply_updates(params, updates)
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(gradients[name])
        torch.nn.utils.clip_grad_norm_(list(theirs.values()), 1.0)
        reference.step()
    for name, parameter in theirs.items():
        np.testing.assert_allclose(params[name], parameter.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "middle", "last"), [("linear", 0.5, 0.0), ("cosine", 0.5, 0.0), ("constant", 1, 1)]
)
def test_schedule_corners(schedule, middle, last) -> None:
    rate = learning_rate(TrainConfig(learning_rate=2.0, warmup=0.1, schedule=schedule), 1000)
    np.testing.assert_allclose([rate(0), rate(49), rate(99), rate(100)], [0.02, 1.0, 2.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose([rate(550), rate(1000)], [2 * middle, 2 * last], atol=1e-6)


def test_no_warm_up_starts_at_the_top() -> None:
    assert learning_rate(TrainConfig(learning_rate=2.0, warmup=0.0), 10)(0) == 2.0
    with pytest.raises(ValueError, match=r"train.warmup=1.5"):
        learning_rate(TrainConfig(warmup=1.5), 10)


def test_decay_is_for_matrices_between_hidden_states() -> None:
    params = {
        "embedding": jnp.ones((4, 2)),
        "layers": [{"query": jnp.ones((2, 2)), "norm": {"scale": jnp.ones(2)}, "out": {"bias": jnp.ones((1, 2))}}],
        "relative_bias": jnp.ones((8, 2)),
        "head": {"rows": jnp.ones((4, 2)), "table": jnp.ones((4, 2))},
        "embedding_adapter": {"a": jnp.ones((4, 2)), "b": jnp.ones((2, 2))},
    }
    mask = decay_mask(params)
    assert mask["layers"][0]["query"]
    assert sum(jax.tree.leaves(mask)) == 1


def test_an_unseen_row_of_the_table_does_not_move() -> None:
    params = {"embedding": jnp.ones((3, 2)), "kernel": jnp.ones((2, 2))}
    optimizer = make_optimizer(TrainConfig(weight_decay=0.5, warmup=0.0), 10)
    gradients = {"embedding": jnp.zeros((3, 2)).at[0].set(1.0), "kernel": jnp.zeros((2, 2))}
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    np.testing.assert_array_equal(updates["embedding"][1:], 0)
    assert (updates["embedding"][0] < 0).all()
    assert (updates["kernel"] < 0).all()


def test_relative_updates_grow_with_what_they_change() -> None:
    """By hand: Adam's first update is the gradient's sign, so a relative one is learning rate x root mean square."""
    config = TrainConfig(learning_rate=0.01, relative=True, warmup=0.0, schedule="constant", weight_decay=0.0, clip=0.0)
    params = {"small": jnp.array([0.1, -0.1]), "large": jnp.array([30.0, 40.0])}
    optimizer = make_optimizer(config, 5)
    gradients = {"small": jnp.array([2.0, -3.0]), "large": jnp.array([-1.0, 5.0])}
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    np.testing.assert_allclose(updates["small"], [-0.001, 0.001], rtol=1e-3)
    rms = np.sqrt((30.0**2 + 40.0**2) / 2)
    np.testing.assert_allclose(updates["large"], [0.01 * rms, -0.01 * rms], rtol=1e-3)
