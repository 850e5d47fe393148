"""The files of a run and the table that people read."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from jaxrec.baselines.counted import evaluate_baselines
from jaxrec.evaluate.full_ranking import Result, result_of_group
from jaxrec.evaluate.results_file import results_report, write_results
from jaxrec.evaluate.results_table import results_table
from jaxrec.types import Split


def test_files_hold_rows_ranks_and_what_made_them(split: Split, tmp_path: pathlib.Path) -> None:
    results = evaluate_baselines(split, "test")
    actual = results_report(
        results, split, "test", dataset="toy", seed=3, command="python -m launch.train x", seconds=1.25
    )
    write_results(tmp_path / "run", actual, results)
    read = json.loads((tmp_path / "run" / "results.json").read_text())
    assert read == json.loads(json.dumps(actual))
    assert (read["dataset"], read["protocol"], read["part"], read["seed"]) == ("toy", "strict", "test", 3)
    assert [row["system"] for row in read["rows"]] == ["popularity", "item-kNN", "transitions"]
    assert {"hr@5", "ndcg@10", "mrr@20", "n_users"} <= set(read["rows"][0])
    assert {"jax", "jaxrec"} <= set(read["versions"])
    with np.load(tmp_path / "run" / "ranks.npz") as ranks:
        for result in results:
            np.testing.assert_array_equal(ranks[result.system], result.ranks)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["ranks.npz", "results.json", "sums.json"]


def test_the_table_names_its_protocol_and_lines_up(split: Split) -> None:
    ranks = np.array([1, 2, np.inf, np.nan, *[30] * 7], np.float32)
    released = dataclasses.replace(split, protocol="as-released")
    results = [Result("META ID", ranks, 1.0, listed=10), Result("popularity", ranks + 1, 1.0)]
    actual = results_report(results, released, "test", dataset="toy", seed=0, mask_seen=False)
    head, columns, first, second = results_table(actual).splitlines()
    assert "toy, as-released protocol, test part" in head
    assert "seen items kept" in head
    assert len(columns) == len(first) == len(second)
    assert first.split()[:3] == ["META", "ID", "0.2000"]
    assert first.split()[-2:] == ["-", "10"], "a list of ten says nothing about cutoff 20"


def test_the_first_system_is_held_against_the_best_baseline(split: Split) -> None:
    """Two users of ten change by one hit at cutoff 10, against the baseline with more hits."""
    ours = np.array([1, 1, 1, np.nan, *[np.inf] * 7], np.float32)
    worse = Result("worse", np.array([1, 30, 30, np.nan, *[30] * 7], np.float32), 1.0, baseline=True)
    best = Result("best", np.array([1, 1, 1, np.nan, 1, 1, *[30] * 5], np.float32), 1.0, baseline=True)
    no_baseline = Result("META ID (unseen prompt)", np.where(np.isnan(ours), ours, 1.0), 1.0)
    members = np.arange(11) < 7
    results = [Result("META ID", ours, 1.0, listed=10), no_baseline, worse, best]
    results += [part for result in results for part in result_of_group(result, "seen users", members)]
    actual = results_report(results, split, "test", dataset="toy", seed=0)
    by = {(i["system"], i["metric"]): i for i in actual["intervals"]}
    assert list(by) == [(s, m) for s in ("META ID", "META ID, seen users") for m in ("hr@10", "ndcg@10")]
    whole, some = by["META ID", "hr@10"], by["META ID, seen users", "hr@10"]
    assert (whole["baseline"], whole["n_users"], some["baseline"], some["n_users"]) == (
        "best",
        10,
        "best, seen users",
        6,
    )
    assert whole["difference"] == pytest.approx(-2 / 10)
    assert whole["low"] < whole["difference"] < whole["high"] == 0
    line = results_table(actual).splitlines()[len(results) + 2]
    low = f"{whole['low']:+.4f}"
    assert line == f"META ID - best, HR@10: -0.2000 [{low}, +0.0000], 95% paired bootstrap over 10 users"


def test_ties_are_shown_where_they_change_a_number(split: Split) -> None:
    ranks = np.array([10.5, 2, 30, np.nan, *[30] * 7], np.float32)
    tied = np.where(np.isnan(ranks), np.nan, np.where(ranks == 10.5, 1, 0)).astype(np.float32)
    far = np.where(np.isnan(ranks), np.nan, np.where(ranks == 30, 2, 0)).astype(np.float32)
    results = [Result("level", ranks, 1.0, tied=tied), Result("level far below", ranks, 1.0, tied=far)]
    actual = results_report(results, split, "test", dataset="toy", seed=0)
    assert actual["rows"][0]["ties"]["share"] == pytest.approx(1 / 10)
    assert "ties" not in actual["rows"][1]
    lines = results_table(actual).splitlines()[4:]
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].split()[:5] == ["level", "10.0%", "0.2000", "0.1500", "0.1000"]
    assert len(lines) == 3


def test_mistakes_are_named(split: Split) -> None:
    ranks = np.ones(11, np.float32)
    with pytest.raises(ValueError, match="twice"):
        results_report([Result("a", ranks, 0.0), Result("a", ranks, 0.0)], split, "test", dataset="toy", seed=0)
    with pytest.raises(ValueError, match="9 ranks for the 11 users"):
        results_report([Result("a", ranks[:9], 0.0)], split, "test", dataset="toy", seed=0)
