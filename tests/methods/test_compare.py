"""Rows of several runs side by side."""

import pathlib

import numpy as np
import pytest

from jaxrec.methods import compare


def test_seeds_are_joined_by_each_users_mean(tmp_path: pathlib.Path) -> None:
    ranks = {"it": [[1.0, np.inf, np.nan], [1.0, 2.0, np.nan]], "base": [[np.inf] * 2 + [np.nan]] * 2}
    where = {name: [(tmp_path / str(seed), name) for seed in range(2)] for name in ranks}
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        arrays = {name: np.array(by_seed[seed], np.float32) for name, by_seed in ranks.items()}
        np.savez(tmp_path / str(seed) / "ranks.npz", **arrays)
    hits, ndcg = compare.beside_baselines(["it"], ["base"], where)
    assert (hits["metric"], hits["baseline"], hits["n_users"]) == ("hr@10", "base", 2)
    assert hits["difference"] == pytest.approx((1 + 1 / 2) / 2)
    assert (hits["low"], hits["high"]) == (0.5, 1.0)  # either user twice
    assert ndcg["difference"] == pytest.approx((1 + 0.5 / np.log2(3)) / 2)
    (tmp_path / "1" / "ranks.npz").unlink()
    assert compare.beside_baselines(["it"], ["base"], where) == []
