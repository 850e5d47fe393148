"""The files of a run and the table that people read."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from jaxrec.evaluate.evaluate import Result, evaluate_baselines
from jaxrec.evaluate.report import report, table, write
from jaxrec.types import Split


def test_files_hold_rows_ranks_and_what_made_them(split: Split, tmp_path: pathlib.Path) -> None:
    results = evaluate_baselines(split, "test")
    found = report(results, split, "test", dataset="toy", seed=3, command="python -m launch.train x", seconds=1.25)
    write(tmp_path / "run", found, results)
    read = json.loads((tmp_path / "run" / "results.json").read_text())
    assert read == json.loads(json.dumps(found))
    assert (read["dataset"], read["protocol"], read["part"], read["seed"]) == ("toy", "strict", "test", 3)
    assert [row["system"] for row in read["rows"]] == ["popularity", "item-kNN", "transitions"]
    assert {"hr@5", "ndcg@10", "mrr@20", "n_users"} <= set(read["rows"][0])
    assert {"jax", "jaxrec"} <= set(read["versions"])
    with np.load(tmp_path / "run" / "ranks.npz") as ranks:
        for result in results:
            np.testing.assert_array_equal(ranks[result.system], result.ranks)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["ranks.npz", "results.json"]


def test_the_table_names_its_protocol_and_lines_up(split: Split) -> None:
    ranks = np.array([1, 2, np.inf, np.nan, *[30] * 7], np.float32)
    released = dataclasses.replace(split, protocol="as-released")
    results = [Result("META ID", ranks, 1.0, listed=10), Result("popularity", ranks + 1, 1.0)]
    found = report(results, released, "test", dataset="toy", seed=0, mask_seen=False)
    head, columns, first, second = table(found).splitlines()
    assert "toy, as-released protocol, test part" in head
    assert "seen items kept" in head
    assert len(columns) == len(first) == len(second)
    assert first.split()[:3] == ["META", "ID", "0.2000"]
    assert first.split()[-2:] == ["-", "10"], "a list of ten says nothing about cutoff 20"


def test_mistakes_are_named(split: Split) -> None:
    ranks = np.ones(11, np.float32)
    with pytest.raises(ValueError, match="twice"):
        report([Result("a", ranks, 0.0), Result("a", ranks, 0.0)], split, "test", dataset="toy", seed=0)
    with pytest.raises(ValueError, match="9 ranks for the 11 users"):
        report([Result("a", ranks[:9], 0.0)], split, "test", dataset="toy", seed=0)
