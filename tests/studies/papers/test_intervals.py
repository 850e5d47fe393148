"""Intervals of papers' tables: who is held against whom, by which users, and by how much."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest

from jaxrec.studies.papers.intervals import interval_lines, table_intervals
from jaxrec.studies.papers.layout import Source
from jaxrec.studies.papers.layouts import table_layout
from jaxrec.studies.papers.run_results import RunResults

GOOD = np.where(np.arange(40) % 2, 1.0, np.inf)
BEST, WORST = np.ones(40), np.full(40, np.inf)


def run(main: str, ranks: np.ndarray, texts: dict[str, Any] | None = None, **baselines: np.ndarray) -> RunResults:
    rows = [{"system": main}, *({"system": name, "baseline": True} for name in baselines)]
    return RunResults({"rows": rows, "texts": texts or {}}, {main: ranks, **baselines}, 20, "")


def by_pair(actual: list[Any], metric: str = "hr@10") -> dict[tuple[str, str], float]:
    return {(i.system, i.baseline): i.difference for i in actual if i.metric == metric}


def test_rows_stand_beside_the_best_baseline_and_the_papers_method() -> None:
    form = table_layout("meta_id", 1)
    there = {
        "META ID": [run("META ID", GOOD)] * 2,
        "RID": [run("walks + RID ids + beam", seed, popularity=WORST) for seed in (GOOD, WORST)],
        "SID": [run("SID", BEST)],  # a seed is missing
        "sasrec": [run("SASRec", BEST)] * 2,
    }

    def of(source: Source) -> list[RunResults]:
        return there.get(source.run or source.baseline or "", [])

    actual = table_intervals(form, of, 2)
    assert by_pair(actual) == pytest.approx(
        {("RID", "SASRec"): -0.75, ("META ID (T)", "SASRec"): -0.5, ("RID", "META ID (T)"): -0.25}
    )
    assert all(i.low < i.difference < i.high for i in actual)
    lines = interval_lines(actual)
    assert [line.split(":")[0] for line in lines] == [
        "RID - SASRec",
        "META ID (T) - SASRec",
        "RID - META ID (T)",
        "In brackets",
    ]
    assert lines[-1].endswith("95% paired bootstrap over 40 users")
    del there["sasrec"]
    assert by_pair(table_intervals(form, of, 2))["META ID (T)", "popularity"] == 0.5
    assert table_intervals(form, lambda _: [], 1) == []
    assert interval_lines([]) == []


def test_users_are_held_against_the_same_users() -> None:
    unseen = np.where(np.arange(40) < 10, GOOD, np.nan)
    seen = np.where(np.arange(40) < 10, np.nan, GOOD)
    actual = RunResults(
        {
            "rows": [
                {"system": "TokenRec"},
                {"system": "item-kNN, seen users", "baseline": True},
                {"system": "item-kNN, unseen users", "baseline": True},
            ]
        },
        {
            "TokenRec, seen users": seen,
            "TokenRec, unseen users": unseen,
            "item-kNN, seen users": np.where(np.isnan(seen), np.nan, 1.0),
            "item-kNN, unseen users": np.where(np.isnan(unseen), np.nan, np.inf),
        },
        30,
        "",
    )
    made = table_intervals(
        table_layout("token_rec", 4), lambda s: [actual] if (s.run or "").startswith("TokenRec") else [], 1
    )
    assert by_pair(made) == {}  # the table shows @20 alone
    assert by_pair(made, "hr@20") == {
        ("TokenRec, seen users", "item-kNN, seen users"): -0.5,
        ("TokenRec, unseen users", "item-kNN, unseen users"): 0.5,
    }
    assert {i.n_users for i in made} == {10, 30}
    short = dataclasses.replace(actual, list_length=10)
    assert (
        table_intervals(
            table_layout("token_rec", 4), lambda s: [short] if (s.run or "").startswith("TokenRec") else [], 1
        )
        == []
    )


def test_texts_have_those_of_their_run(tmp_path: pathlib.Path) -> None:
    told = {"baseline": "MF", "difference": -0.5, "low": -0.75, "high": -0.25, "n": 50}
    texts = {
        "rows": [{"task": "rating", "system": "META ID"}],
        "intervals": [
            {"task": "rating", "system": "META ID", "metric": "mse", **told},
            {"task": "rating", "system": "META ID, most likely", "metric": "mse", **told},
            {"task": "preference", "system": "META ID", "metric": "mse", **told},
        ],
    }
    one = run("META ID", GOOD, texts)
    actual = table_intervals(table_layout("meta_id", 3), lambda source: [one] if source.run == "META ID" else [], 1)
    assert interval_lines(actual) == [
        "META ID, rating - MF: MSE -0.5000 [-0.7500, -0.2500]",
        "In brackets: 95% paired bootstrap over 50 events; MSE: of the squared error, less is better",
    ]
