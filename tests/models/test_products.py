import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.models.products import dense, product


def draw(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def test_dense_by_hand() -> None:
    x = jnp.array([[[1.0, 2.0]], [[0.0, -1.0]]])
    kernel = jnp.array([[1.0, 0.0, 3.0], [2.0, 1.0, 0.0]])
    np.testing.assert_array_equal(dense(x, kernel, "float32"), [[[5, 2, 3]], [[-2, -1, 0]]])
    np.testing.assert_array_equal(dense(x, kernel, "bfloat16"), [[[5, 2, 3]], [[-2, -1, 0]]])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dense_equals_numpy_with_gradients_and_traces_once(dtype: str) -> None:
    x, kernel, weight = draw(0, 2, 3, 4), draw(1, 4, 5), draw(2, 2, 3, 5)
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(1)
    def gradient(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.grad(lambda x, kernel: jnp.sum(weight * dense(x, kernel, dtype)), (0, 1))(x, kernel)

    tolerance = 1e-5 if dtype == "float32" else 0.05
    np.testing.assert_allclose(dense(x, kernel, dtype), np.asarray(x) @ np.asarray(kernel), atol=tolerance)
    for _ in range(2):
        to_x, to_kernel = gradient(x, kernel)
    np.testing.assert_allclose(to_x, np.asarray(weight) @ np.asarray(kernel).T, atol=tolerance)
    np.testing.assert_allclose(to_kernel, np.tensordot(x, weight, ((0, 1), (0, 1))), atol=2 * tolerance)


@pytest.mark.parametrize("equation", ["bsd,dn->bsn", "bhqk,bhsk->bhqs", "bhqs,bhsk->bhqk", "btd,vd->btv"])
def test_rounded_products_are_near_and_so_are_their_gradients(equation: str) -> None:
    size = dict(zip("bhqskdnvt", (2, 3, 4, 5, 6, 7, 8, 9, 4)))
    in_a, in_b = equation.split("->")[0].split(",")
    a, b = draw(0, *(size[x] for x in in_a)), draw(1, *(size[x] for x in in_b))

    def loss(dtype: str):
        return lambda a, b: jnp.sum(jnp.sin(product(equation, a, b, dtype)))

    for got, want in zip(jax.grad(loss("bfloat16"), (0, 1))(a, b), jax.grad(loss("float32"), (0, 1))(a, b)):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, want, atol=0.03 * float(jnp.abs(want).max()))


def test_every_product_of_a_bfloat16_step_has_bfloat16_operands() -> None:
    def loss(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.sum(product("bsd,dn->bsn", a, b, "bfloat16") ** 2)

    text = jax.jit(jax.grad(loss, (0, 1))).lower(draw(0, 2, 3, 4), draw(1, 4, 5)).as_text()
    dots = [line for line in text.splitlines() if "dot_general" in line]
    assert len(dots) == 3
    assert all(line.count("xbf16>") == 2 for line in dots)
