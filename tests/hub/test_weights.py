"""Loading into small modules of the tests' own, so that nothing here knows a T5 or a LLaMA."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import OovConfig
from jaxrec.hub.weights import load_weights
from jaxrec.models.oov import ExtendedEmbedding, Frozen

TABLES = ("words", "head")
NAMES = {
    ("embedding", "table"): ("words", False),
    ("inner", "kernel"): ("inner", True),
    ("head",): ("head", True),
}
STORED, VOCAB, WIDTH, FIRST = 60, 100, 16, 64
"""60 stored rows, of which some are known; the new tokens are 64, 65, ..., and 60 to 63 fill up."""


class Small(nnx.Module):
    def __init__(
        self, scope: Any = "encoder", frozen: str | None = None, first: int = FIRST, width: int = WIDTH
    ) -> None:
        rngs = nnx.Rngs(0)
        self.embedding = ExtendedEmbedding(
            VOCAB, width, OovConfig(scope), anchors(), first, "float32", scale=0.02, frozen=frozen, rngs=rngs
        )
        self.inner = nnx.Dict(
            kernel=nnx.Param(jnp.zeros((3, 5))) if frozen is None else Frozen(jnp.zeros((3, 5), frozen))
        )
        self.head = nnx.Param(0.1 * jax.random.normal(jax.random.key(1), (width, VOCAB)))


def anchors() -> np.ndarray:
    """Of the tokens 64 to 83; those of 70 and 71 are zeros."""
    values = np.random.default_rng(7).normal(size=(20, 4)).astype(np.float32)
    values[6:8] = 0
    return values


def stored(rows: int = STORED, width: int = WIDTH) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    columns = rng.normal(size=(2, width))
    return {
        "words": (columns[0] + np.abs(columns[1]) * rng.normal(size=(rows, width))).astype(np.float32),
        "inner": rng.normal(size=(5, 3)).astype(np.float32),
        "head": rng.normal(3, 0.5, size=(rows, width)).astype(np.float32),
    }


def fill(model: Small, flat: dict[str, np.ndarray], **how) -> None:
    load_weights(model, flat, NAMES, tables=TABLES, **how)


def test_known_rows_and_other_weights_come_as_they_are() -> None:
    model, flat = Small(), stored()
    fill(model, flat, text_rows=50)
    table = np.asarray(model.embedding.table[...])
    np.testing.assert_array_equal(table[:50], flat["words"][:50])
    assert not np.isin(table[50:60], flat["words"]).any()  # stored rows that no token has are not used
    np.testing.assert_array_equal(model.head[...][:, :50], flat["head"][:50].T)
    np.testing.assert_array_equal(model.inner["kernel"][...], flat["inner"].T)
    fill(model, flat)
    np.testing.assert_array_equal(model.embedding.table[...][:60], flat["words"])


@pytest.mark.parametrize("frozen", [None, "bfloat16"])
def test_random_rows_have_each_columns_mean_and_deviation(frozen: str | None) -> None:
    width, flat = 400, stored(40, 400)
    model = Small(frozen=frozen, first=40, width=width)
    fill(model, flat)
    new = np.asarray(model.embedding.whole())[40:]
    standard = (new - flat["words"].mean(0)) / flat["words"].std(0)
    assert abs(standard.mean()) < 0.01
    np.testing.assert_allclose(standard.std(), 1, atol=0.01)
    np.testing.assert_allclose(standard.std(0), 1, atol=0.5)
    assert len(np.unique(new[:, 0])) == len(new)
    head = np.asarray(model.head[...]).T[40:]
    np.testing.assert_allclose(head.mean(), 3, atol=0.02)
    np.testing.assert_allclose(head.std(0).mean(), flat["head"].std(0).mean(), rtol=0.05)
    again = Small(frozen=frozen, first=40, width=width)
    fill(again, flat)
    np.testing.assert_array_equal(again.embedding.whole(), model.embedding.whole())


def test_mean_rows_are_the_mean_of_the_known_ones() -> None:
    model, flat = Small(), stored()
    fill(model, flat, text_rows=50, rule="mean")
    want = np.tile(flat["words"][:50].astype(np.float64).mean(0), (50, 1))
    np.testing.assert_allclose(model.embedding.table[...][50:], want, rtol=1e-5, atol=1e-6)
    want = np.tile(flat["head"][:50].astype(np.float64).mean(0), (50, 1))
    np.testing.assert_allclose(model.head[...].T[50:], want, rtol=1e-5)


@pytest.mark.parametrize("scope", ["encoder", "none"])
def test_anchored_rows_keep_the_anchors_angles_at_the_rows_spread(scope: str) -> None:
    model, flat = Small(scope), stored()
    fill(model, flat, rule="anchors", anchors=anchors() if scope == "none" else None)
    has = np.setdiff1d(np.arange(20), [6, 7])
    for name, table in (("words", model.embedding.table[...]), ("head", model.head[...].T)):
        added = np.asarray(table)[FIRST + has] - flat[name].mean(0)
        spread = np.sqrt(np.mean((flat[name] - flat[name].mean(0)) ** 2))
        np.testing.assert_allclose(np.sqrt(np.mean(added**2)), spread, rtol=1e-4)
        # 4 anchors' axes into 16 columns, semi-orthogonal: all inner products up to one factor.
        found, want = added @ added.T, anchors()[has] @ anchors()[has].T
        np.testing.assert_allclose(found / np.trace(found), want / np.trace(want), atol=1e-5)
        others = np.asarray(table)[[*range(60, 64), 70, 71, *range(84, 100)]]
        assert len(np.unique(others[:, 0])) == len(others)  # drawn
        assert np.abs((others - flat[name].mean(0)) / flat[name].std(0)).max() < 6


def test_anchors_have_to_be_there_and_to_fit() -> None:
    with pytest.raises(ValueError, match='want anchors, and a model with OOV scope "none" has none; pass them'):
        fill(Small("none"), stored(), rule="anchors")
    with pytest.raises(ValueError, match="37 anchors from token 64 on exceed a table of 100"):
        fill(Small("none"), stored(), rule="anchors", anchors=np.zeros((37, 4)))
    model = Small("none")
    fill(model, stored(), rule="anchors", anchors=np.zeros((20, 4), np.float32))
    assert np.isfinite(model.embedding.table[...]).all()


@pytest.mark.parametrize("known", [50, 60])
def test_a_frozen_table_and_its_rows_are_set_together(known: int) -> None:
    trained, frozen = Small(), Small(frozen="bfloat16")
    for model in (trained, frozen):
        fill(model, stored(), text_rows=known, rule="anchors")
    embedding = frozen.embedding
    assert embedding.table.dtype == jnp.bfloat16
    assert frozen.inner["kernel"].dtype == jnp.bfloat16
    assert embedding.rows.dtype == jnp.float32
    assert embedding.rows.shape == (VOCAB - FIRST, WIDTH)
    want = np.asarray(trained.embedding.table[...])
    np.testing.assert_array_equal(embedding.table[...][:known], want[:known].astype(ml_dtypes.bfloat16))
    has = np.setdiff1d(np.arange(20), [6, 7])
    np.testing.assert_allclose(embedding.rows[...][has], want[FIRST + has], atol=1e-6)
    np.testing.assert_allclose(embedding.rows[...], want[FIRST:], atol=0.01)  # drawn, some beside in bfloat16


def test_rows_of_tokens_that_are_known_are_stored_ones() -> None:
    model, flat = Small("none", frozen="bfloat16", first=40), stored()
    fill(model, flat)
    np.testing.assert_array_equal(model.embedding.rows[...][:20], flat["words"][40:])
    np.testing.assert_array_equal(model.embedding.table[...][:60], flat["words"].astype(ml_dtypes.bfloat16))


def test_the_projection_is_scaled_to_what_was_loaded() -> None:
    model = Small()
    fill(model, {name: 50 * value for name, value in stored().items()})
    projected = anchors() @ np.asarray(model.embedding.kernel[...])
    table = np.asarray(model.embedding.table[...])
    used = projected[anchors().any(axis=1)]
    np.testing.assert_allclose(np.sqrt(np.mean(used**2)), np.sqrt(np.mean(table**2)), rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_any_floating_dtype_is_read_into_the_variables(dtype: type) -> None:
    model = Small()
    flat = {name: value.astype(dtype) for name, value in stored().items()}
    fill(model, flat)
    assert model.inner["kernel"].dtype == jnp.float32
    np.testing.assert_array_equal(model.inner["kernel"][...], flat["inner"].T.astype(np.float32))
    np.testing.assert_array_equal(model.embedding.table[...][:60], flat["words"].astype(np.float32))
    assert np.isfinite(model.embedding.table[...]).all()


def test_the_model_keeps_nothing_of_the_arrays() -> None:
    model, flat = Small(), stored(VOCAB)
    fill(model, flat)
    want = stored(VOCAB)
    for value in flat.values():
        value[...] = 0
    np.testing.assert_array_equal(model.embedding.table[...], want["words"])
    np.testing.assert_array_equal(model.head[...], want["head"].T)


def test_all_that_does_not_fit_is_named_at_once_and_nothing_is_loaded() -> None:
    model, flat = Small(), stored()
    before = np.array(model.embedding.table[...])
    del flat["inner"]
    flat["head"] = np.zeros((60, 15), np.int8)
    flat["other"] = np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="weights do not fit the model") as caught:
        fill(model, flat, text_rows=64, source="/some/folder")
    for part in (
        "the tokenizer has 64 tokens, the table of /some/folder only 60 rows",
        "unexpected other",
        "missing inner",
        "head is (60, 15), the model wants (60, 16)",
        "head is int8: weights that were quantized cannot be read",
    ):
        assert part in str(caught.value)
    np.testing.assert_array_equal(model.embedding.table[...], before)


def test_tables_without_rows_or_axes_are_refused() -> None:
    for table in (np.zeros((0, 16), np.float32), np.zeros((), np.float32), np.zeros(16, np.float32)):
        with pytest.raises(ValueError, match="words is"):
            fill(Small(), stored() | {"words": table})
    with pytest.raises(ValueError, match="missing words"):
        fill(Small(), {name: value for name, value in stored().items() if name != "words"})


def test_more_rows_than_the_model_has_are_cut_and_more_known_ones_refused() -> None:
    model, flat = Small(), stored(130)
    fill(model, flat)
    np.testing.assert_array_equal(model.embedding.table[...], flat["words"][:VOCAB])
    with pytest.raises(ValueError, match=r"words is \(130, 16\), the model wants \(100, 16\)"):
        fill(model, flat, text_rows=101)
