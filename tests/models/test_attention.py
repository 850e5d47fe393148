import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec.models.attention import RelativeBias, attend, diagonals, relative_bucket
from jaxrec.models.dropout import Dropout

OFF = Dropout(0, None)


def draw(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (32, 64), (8, 20)])
def test_buckets_equal_pytorchs(bidirectional: bool, buckets: int, max_distance: int) -> None:
    torch = pytest.importorskip("torch")
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = np.arange(-1500, 1501)
    want = T5Attention._relative_position_bucket(torch.tensor(distance), bidirectional, buckets, max_distance)
    got = relative_bucket(distance, buckets, max_distance, bidirectional=bidirectional)
    np.testing.assert_array_equal(got, want.numpy())


def test_buckets_by_hand() -> None:
    # 8 buckets, one way: distances 0..3 one each, then 4 logarithmic ones up to 16: 4-5, 6-7, 8-11, 12 and more.
    back = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 1000]
    got = relative_bucket(-np.array(back), 8, 16, bidirectional=False)
    np.testing.assert_array_equal(got, [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7, 7, 7])
    assert relative_bucket(np.array([1, 5, 900]), 8, 16, bidirectional=False).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("queries", "keys"), [(4, 4), (3, 7), (7, 3), (1, 5), (5, 1)])
def test_diagonals_equal_a_loop(queries: int, keys: int) -> None:
    values = np.asarray(draw(0, 2, queries + keys - 1))
    want = np.array([[[v[j - i + queries - 1] for j in range(keys)] for i in range(queries)] for v in values])
    np.testing.assert_array_equal(diagonals(jnp.asarray(values), queries, keys), want)
    # Each value's gradient is how often it stands in the matrix.
    gradient = jax.grad(lambda v: diagonals(v, queries, keys).sum())(jnp.asarray(values))
    offsets = np.arange(keys)[None] - np.arange(queries)[:, None] + queries - 1
    np.testing.assert_allclose(gradient[0], np.bincount(offsets.ravel(), minlength=queries + keys - 1))


def test_a_later_position_gives_the_later_rows_of_the_bias() -> None:
    bias = RelativeBias(32, 128, 3, bidirectional=False, scale=1.0, rngs=nnx.Rngs(0))
    whole = bias(9, 9)
    np.testing.assert_array_equal(bias(2, 9, 7), whole[:, 7:])
    np.testing.assert_array_equal(bias(1, 5, 4), whole[:, 4:5, :5])


def loop(q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray, mask: np.ndarray) -> np.ndarray:
    out = np.zeros_like(q)
    for b, h, i in np.ndindex(q.shape[:3]):
        seen = mask[b, i]
        scores = k[b, h, seen] @ q[b, h, i] + bias[h, i, seen]
        weights = np.exp(scores - scores.max())
        out[b, h, i] = (weights / weights.sum()) @ v[b, h, seen]
    return out


def test_attention_equals_a_loop_and_traces_once() -> None:
    q, k, v, bias = draw(1, 2, 3, 4, 5), draw(2, 2, 3, 6, 5), draw(3, 2, 3, 6, 5), draw(4, 3, 4, 6)
    mask = np.asarray(draw(5, 2, 4, 6) > -0.5)
    attended = jax.jit(chex.assert_max_traces(lambda *a: attend(*a, OFF, "float32"), 1))
    want = loop(*(np.asarray(x) for x in (q, k, v, bias)), mask)
    for run in (attended, attended, lambda *a: attend(*a, OFF, "float32")):
        np.testing.assert_allclose(run(q, k, v, bias, mask), want, atol=1e-5)
    got = attend(q, k, v, bias, mask, OFF, "bfloat16")
    np.testing.assert_allclose(got, want, atol=0.05)


def test_a_query_that_may_look_at_nothing_is_finite() -> None:
    q, k, v = draw(1, 1, 1, 2, 4), draw(2, 1, 1, 3, 4), draw(3, 1, 1, 3, 4)
    mask = np.array([[[True, True, False], [False, False, False]]])

    def total(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.sum(attend(q, k, v, None, mask, OFF, "float32"))

    out = attend(q, k, v, None, mask, OFF, "float32")
    np.testing.assert_allclose(out[0, 0, 1], v[0, 0].mean(0), rtol=1e-5)
    chex.assert_tree_all_finite(jax.grad(total, argnums=(0, 1, 2))(q, k, v))


def test_the_biass_gradient_sums_the_batch() -> None:
    q, k, v, bias = draw(1, 3, 2, 4, 5), draw(2, 3, 2, 6, 5), draw(3, 3, 2, 6, 5), draw(4, 2, 4, 6)
    mask = np.ones((1, 4, 6), bool)

    def total(bias: jax.Array, rows: slice) -> jax.Array:
        return jnp.sum(attend(q[rows], k[rows], v[rows], bias, mask, OFF, "float32") ** 2)

    whole = jax.grad(total)(bias, slice(None))
    np.testing.assert_allclose(whole, sum(jax.grad(total)(bias, slice(b, b + 1)) for b in range(3)), atol=1e-5)
