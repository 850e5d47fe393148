"""Rows of several runs side by side."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from jaxrec.config import Config
from jaxrec.studies import inflation, run_folders
from jaxrec.studies.compare import compare_configs
from jaxrec.studies.comparison import TABLE_METRICS, Comparison
from jaxrec.studies.inflation import Inflation, compare_protocols
from jaxrec.studies.over_seeds import intervals_beside_baselines


def test_seeds_are_joined_by_each_users_mean(tmp_path: pathlib.Path) -> None:
    ranks = {"it": [[1.0, np.inf, np.nan], [1.0, 2.0, np.nan]], "base": [[np.inf] * 2 + [np.nan]] * 2}
    where = {name: [(tmp_path / str(seed), name) for seed in range(2)] for name in ranks}
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        arrays = {name: np.array(by_seed[seed], np.float32) for name, by_seed in ranks.items()}
        np.savez(tmp_path / str(seed) / "ranks.npz", **arrays)
    hits, ndcg = intervals_beside_baselines(["it"], ["base"], where)
    assert (hits.metric, hits.baseline, hits.n_users) == ("hr@10", "base", 2)
    assert hits.difference == pytest.approx((1 + 1 / 2) / 2)
    assert (hits.low, hits.high) == (0.5, 1.0)  # either user twice
    assert ndcg.difference == pytest.approx((1 + 0.5 / np.log2(3)) / 2)
    (tmp_path / "1" / "ranks.npz").unlink()
    assert intervals_beside_baselines(["it"], ["base"], where) == []


def test_what_the_papers_leak_adds_is_told(tiny: Config, tmp_path: pathlib.Path, monkeypatch) -> None:
    """Runs whose ranks are known beforehand: the leak turns one user's miss into a hit."""
    ranks = {
        "strict": np.array([1.0, np.inf, 12.0, np.nan], np.float32),
        "as-released": np.array([1.0, 1.0, 12.0, np.nan], np.float32),
    }

    def train(config: Config) -> tuple[None, dict]:
        config.folder.mkdir(parents=True)
        np.savez(config.folder / "ranks.npz", **{"META ID": ranks[config.protocol], "MF": ranks["strict"]})
        actual = {
            "dataset": "toy",
            "protocol": config.protocol,
            "part": "test",
            "n_items": 9,
            "mask_seen": True,
            "device": "none",
            "versions": {},
            "rows": [{"system": "META ID", "n_users": 3, **dict.fromkeys(TABLE_METRICS, 0.0)}],
        }
        (config.folder / "results.json").write_text(json.dumps(actual))
        return None, actual

    monkeypatch.setattr(run_folders.experiment, "train", train)
    actual = compare_protocols({"mine": tiny}, [0, 1], tmp_path)
    assert [row.system for row in actual.rows] == ["mine", "mine"]
    assert (actual.strict.protocol, actual.as_released.protocol) == ("strict", "as-released")
    hits = actual.rows[0]
    assert (hits.metric, hits.n_users) == ("hr@10", 6)
    assert (hits.strict, hits.as_released, hits.inflation) == pytest.approx((1 / 3, 2 / 3, 1.0))
    line = str(actual).splitlines()[0]
    assert line.startswith(
        "as-released / strict, mine: HR@10 0.3333 -> 0.6667 (inflation +100.0%), difference +0.3333 ["
    )
    assert Inflation.from_json((tmp_path / "inflation.json").read_text()) == actual
    factors = dataclasses.replace(tiny, embedder="mf")
    monkeypatch.setattr(inflation, "method_name", lambda _: "META ID")
    with_embedder = compare_protocols({"mine": factors, "again": factors}, [0], tmp_path / "mf").rows
    assert [row.system for row in with_embedder[::2]] == ["mine", "again", "MF"]
    assert with_embedder[4].inflation == with_embedder[4].low == with_embedder[4].high == 0
    unseen = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, unseen_users=0.1))
    with pytest.raises(ValueError, match="nobody is unseen"):
        compare_protocols({"mine": unseen}, [0], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_every_config_has_its_row_with_counts(tiny: Config, tmp_path: pathlib.Path, monkeypatch) -> None:
    """Runs whose ranks are known beforehand: only with counts the second user's item is a hit."""
    ranks = {
        "META ID": np.array([1.0, np.inf], np.float32),
        "META ID + counts": np.array([1.0, 1.0], np.float32),
        "transitions": np.array([np.inf, np.inf], np.float32),
        "counts": np.array([1.0, np.inf], np.float32),
    }

    def train(config: Config) -> tuple[None, dict]:
        config.folder.mkdir(parents=True)
        np.savez(config.folder / "ranks.npz", **ranks)
        row = {"n_users": 2, **dict.fromkeys(TABLE_METRICS, 0.0)}
        baseline = dict.fromkeys(("transitions", "counts"), True)
        rows = [{"system": n, "baseline": baseline.get(n), "blended": n == "counts", **row} for n in ranks]
        measured = {"dataset": "toy", "protocol": "strict", "part": "test", "n_items": 9, "mask_seen": True}
        measured["blend"] = {"system": "META ID + counts"}
        if config.seed == 1:
            measured["blend_of_baselines"] = {"system": "counts, re-ranked"}
        return None, measured | {"device": "none", "versions": {}, "rows": rows}

    monkeypatch.setattr(run_folders.experiment, "train", train)
    study = {"one": tiny, "two": tiny.replace(train__steps=9)}
    table = compare_configs(study, [0, 1], tmp_path)
    assert [row.system for row in table.rows] == ["one", "one + counts", "transitions", "counts", "two", "two + counts"]
    assert table.declined == {"counts, re-ranked": (1,)}
    assert "counts, re-ranked: re-ranked with all seeds but 1; where not, cross-validation" in str(table)
    assert Comparison.from_json(table.to_json()) == table
    hits = {(i.system, i.baseline): i.difference for i in table.intervals if i.metric == "hr@10"}
    alone = {"one": 0.5, "one + counts": 1.0, "two": 0.5, "two + counts": 1.0}
    beside = {(name, "transitions"): value for name, value in alone.items()}
    assert hits == beside | {(name, "counts"): value - 0.5 for name, value in alone.items()}
