"""Residual K-means by hand, against scikit-learn, and its residuals."""

import jax
import numpy as np
from sklearn.cluster import KMeans

from jaxrec.config import QuantizerConfig
from jaxrec.models import residual_kmeans

KEY = jax.random.key(0)


def test_two_levels_by_hand() -> None:
    # Corners of two small squares: the first level finds the squares, the second the corners in both.
    corners = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    shift = np.array([[10.0, 0]])
    rows = np.concatenate([corners + shift, corners - shift]).astype(np.float32)
    books = np.asarray(residual_kmeans.fit(rows, QuantizerConfig(codebooks=2, codewords=2), key=KEY))
    np.testing.assert_allclose(sorted(books[0].tolist()), [[-10, 0], [10, 0]], atol=1e-5)
    books = np.asarray(residual_kmeans.fit(rows, QuantizerConfig(codebooks=2, codewords=4), key=KEY))
    codes = np.asarray(residual_kmeans.encode({"codebook": books}, rows))
    again = np.asarray(residual_kmeans.decode({"codebook": books}, codes))
    assert ((again - rows) ** 2).sum() <= 4.0 + 1e-4  # no worse than squares in two, then what is left in four


def test_the_first_level_is_as_good_as_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    rows = (3 * rng.normal(size=(5, 6))[rng.integers(0, 5, 200)] + rng.normal(size=(200, 6))).astype(np.float32)
    config = QuantizerConfig(codebooks=3, codewords=5)
    books = np.asarray(residual_kmeans.fit(rows, config, key=KEY))
    first = ((rows[:, None] - books[0][None]) ** 2).sum(-1).min(1).sum()
    assert first <= 1.02 * KMeans(5, n_init=4, random_state=0).fit(rows).inertia_
    codes = np.asarray(residual_kmeans.encode({"codebook": books}, rows))
    left, errors = rows.astype(np.float64), []
    for level in range(3):  # greedy, level by level
        distance = ((left[:, None] - books[level][None]) ** 2).sum(-1)
        np.testing.assert_array_equal(codes[:, level], distance.argmin(1))
        left = left - books[level][codes[:, level]]
        errors.append((left**2).sum())
    assert errors == sorted(errors, reverse=True)
    rebuilt = residual_kmeans.decode({"codebook": books}, codes)
    np.testing.assert_allclose(rebuilt, rows - left, atol=1e-4)
    np.testing.assert_array_equal(books, residual_kmeans.fit(rows, config, key=KEY))
