import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.models.dropout import Dropout
from jaxrec.models.grouped_attention import attend_grouped, attend_prompt_and_answer

NO_DROP = Dropout(0, None)


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def by_loops(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Head by head and query by query; heads 0, 1, ... of queries read head 0 of keys first."""
    out = np.zeros(q.shape)
    group = q.shape[1] // k.shape[1]
    for b, h, i in np.ndindex(q.shape[:3]):
        keys = np.flatnonzero(mask[b, i])
        scores = np.array([q[b, h, i] @ k[b, h // group, s] for s in keys]) / np.sqrt(q.shape[3])
        weights = np.exp(scores) / np.exp(scores).sum()
        out[b, h, i] = sum(w * v[b, h // group, s] for w, s in zip(weights, keys))
    return out


def test_by_hand() -> None:
    # One query of width 4 (so scores are halved) against keys that score 0 and 2 ln 3: weights 1/4 and 3/4.
    q, k = np.zeros((1, 2, 1, 4), np.float32), np.zeros((1, 1, 3, 4), np.float32)
    q[..., 0], k[0, 0, 1, 0] = 1, 2 * np.log(3)
    v = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    got = attend_grouped(q, k, v, np.array([[[True, True, False]]]), NO_DROP, "float32")
    for head in range(2):
        np.testing.assert_allclose(got[0, head, 0], [3, 4, 5, 6], rtol=1e-6)


def test_groups_read_their_shared_keys() -> None:
    q, k, v = arrays((2, 6, 5, 4), (2, 2, 7, 4), (2, 2, 7, 4))
    mask = np.random.default_rng(1).random((2, 5, 7)) < 0.6
    mask[:, :, 0] = True
    run = jax.jit(chex.assert_max_traces(lambda *a: attend_grouped(*a, NO_DROP, "float32"), 1))
    for _ in range(2):
        np.testing.assert_allclose(run(q, k, v, mask), by_loops(q, k, v, mask), atol=1e-5)
    rounded = attend_grouped(q, k, v, mask, NO_DROP, "bfloat16")
    np.testing.assert_allclose(rounded, by_loops(q, k, v, mask), atol=0.05)
    mask[0, 0] = False
    gradient = jax.grad(lambda q: jnp.sum(attend_grouped(q, k, v, mask, NO_DROP, "float32") ** 2))(jnp.asarray(q))
    chex.assert_tree_all_finite(gradient)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_beams_read_the_prompt_and_what_they_said_at_once(dtype: str, tolerance: float) -> None:
    beams, queries, prompt, length = 3, 2, 5, 4
    q, k, v = arrays((2, beams, 6, queries, 4), (2, 2, prompt, 4), (2, 2, prompt, 4))
    said_k, said_v = arrays((2, beams, 2, length, 4), (2, beams, 2, length, 4))
    memory_mask = np.random.default_rng(1).random((2, queries, prompt)) < 0.7
    said_mask = np.tri(queries, length, length - queries, dtype=bool)
    got = attend_prompt_and_answer(q, (k, v), memory_mask, (said_k, said_v), said_mask, dtype)
    for w in range(beams):
        keys, values = (np.concatenate([a, b[:, w]], axis=2) for a, b in ((k, said_k), (v, said_v)))
        mask = np.concatenate([memory_mask, np.broadcast_to(said_mask, (2, queries, length))], axis=2)
        np.testing.assert_allclose(got[:, w], by_loops(q[:, w], keys, values, mask), atol=tolerance)
