"""Rows of an item head before training: random, or collaborative vectors turned into the model's width."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import ItemHeadConfig
from jaxrec.models.item_head import DEVIATION, ItemHead, rotated

ITEMS, LENGTH = 30, 8


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(ITEMS, LENGTH)) * np.geomspace(3, 0.01, LENGTH) + 1
    vectors[4] = 0
    return vectors.astype(np.float32)


def cosines(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, lengths, where=lengths > 0, out=np.zeros_like(rows))
    return rows @ rows.T


@pytest.mark.parametrize("width", [LENGTH, 20])
def test_angles_are_those_of_the_centred_vectors_and_numbers_differ_by_key(vectors: np.ndarray, width: int) -> None:
    first, second = (np.asarray(rotated(vectors, width, jax.random.key(seed))) for seed in (0, 1))
    has_vector = np.any(vectors, axis=1)
    centred = np.where(has_vector[:, None], vectors - vectors[has_vector].mean(axis=0), 0)
    for rows in (first, second):
        np.testing.assert_allclose(cosines(rows), cosines(centred), atol=1e-5)
        np.testing.assert_allclose(np.square(rows[has_vector]).mean(axis=1), 1, rtol=1e-5)
        assert not rows[4].any()
    assert np.abs(first - second).max() > 0.5


def test_a_narrow_model_gets_the_principal_components(vectors: np.ndarray) -> None:
    """Deviations from 3 down to 0.01: a quarter of the components holds nearly all angles."""
    rows = np.asarray(rotated(vectors, 4, jax.random.key(0)))
    whole = np.asarray(rotated(vectors, LENGTH, jax.random.key(0)))
    np.testing.assert_allclose(cosines(rows), cosines(whole), atol=0.1)


def head(vectors: np.ndarray, **settings) -> ItemHead:
    item_tokens = np.stack([np.full(ITEMS, 5), 10 + np.arange(ITEMS) // 6, 40 + np.arange(ITEMS) % 6], axis=1)
    return ItemHead(ItemHeadConfig(**settings), item_tokens, 64, "float32", vectors, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("tied", [True, False])
def test_rows_start_near_the_vectors_and_of_the_usual_size(vectors: np.ndarray, tied: bool) -> None:
    started = head(vectors, initial="vectors", tied=tied)
    has_vector = np.any(vectors, axis=1)
    expected = cosines(vectors[has_vector] - vectors[has_vector].mean(axis=0))
    for rows in (started.input(), started.output()):
        actual = cosines(np.asarray(rows)[has_vector])
        assert np.corrcoef(actual.ravel(), expected.ravel())[0, 1] > 0.95
        assert np.asarray(rows).std() == pytest.approx(DEVIATION, rel=0.1)
    random = np.asarray(head(vectors, tied=tied).input())
    assert abs(np.corrcoef(cosines(random)[has_vector][:, has_vector].ravel(), expected.ravel())[0, 1]) < 0.5
