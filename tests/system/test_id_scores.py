"""Scores of a tiny run's ids, and the table of several runs."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from jaxrec.config import Config, TaskConfig
from jaxrec.models.t5 import T5
from jaxrec.system import id_scores, loading
from jaxrec.system import run as runs
from jaxrec.system.stages import build


@pytest.fixture(scope="module")
def folder(finished_run, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return finished_run("META ID", tmp_path_factory.mktemp("runs") / "run").folder


def test_representations_are_means_of_tokens(folder: pathlib.Path) -> None:
    system = loading.load(folder)
    found = id_scores.representations(system)
    assert set(found) == {"items", "users"}
    assert isinstance(system.model, T5)
    assert len(found["users"]) == system.data.n_users
    table = np.asarray(system.model.embedding.table[...])
    anchors, kernel = system.model.embedding.anchors[...], system.model.embedding.kernel[...]
    table = table.copy()
    first = system.vocabulary.first_oov
    table[first : first + len(anchors)] += system.model.embedding.alpha * np.asarray(anchors @ kernel)
    for item in (0, 7):
        np.testing.assert_allclose(found["items"][item], table[system.item_tokens[item]].mean(0), atol=1e-4)


def test_before_is_where_training_began(folder: pathlib.Path) -> None:
    found = id_scores.before_and_after(folder, pairs=2000)
    assert json.loads((folder / id_scores.FILE).read_text())["after"]["items"] == json.loads(
        json.dumps(found["after"]["items"])
    )
    start = id_scores.score_ids(build(runs.reopen(folder)), pairs=2000)
    assert start["items"]["memorization"] == found["before"]["items"]["memorization"]
    for who in ("items", "users"):
        assert found["before"][who]["diversity_of_all"] != found["after"][who]["diversity_of_all"]
        for when in id_scores.WHEN:
            scores = found[when][who]
            assert abs(scores["diversity"] - scores["diversity_of_all"]) < 5 * scores["error"]
            assert scores["memorization"] <= 1
            assert scores["curve"][-1] == (2000, scores["diversity"], scores["error"])
    shown = id_scores.id_scores_table({"run": found})
    assert "ids of items" in shown
    assert "ids of users" in shown
    assert "rank correlation" not in shown


def test_a_run_that_writes_has_scores_and_no_ndcg(tiny: Config, tmp_path: pathlib.Path, monkeypatch) -> None:
    """Its results.json holds no row of ranked items; its training is left out here."""
    runs.start(dataclasses.replace(tiny, out=str(tmp_path), task=TaskConfig(tasks=("rating",))))
    (tmp_path / "results.json").write_text(json.dumps({"rows": [], "texts": {}}))
    monkeypatch.setattr(id_scores, "restore", lambda system: system)
    found = id_scores.before_and_after(tmp_path, pairs=500)
    assert (found["system"], found["ndcg@10"]) == ("META ID", None)
    assert found["after"]["items"]["memorization"] <= 1
    assert id_scores.id_scores_table({"run": found}).splitlines()[1].split()[-1] == "-"


def made(diversity: float, memorization: float, ndcg: float) -> dict:
    scores = {"items": {"diversity": diversity, "error": 0.1, "memorization": memorization}}
    return {"before": scores, "after": scores, "ndcg@10": ndcg}


def test_ranks_are_correlated_over_runs() -> None:
    found = [made(1, 0.5, 0.01), made(2, 0.7, 0.02), made(5, 0.6, 0.08)]
    related = id_scores.correlations(found, "items")
    assert {name: value for name, (value, _) in related.items()} == pytest.approx(
        {"diversity": 1.0, "memorization": 0.5, "sum": 1.0}
    )
    # Of the 6 ways to deal three values out, 2 agree or disagree wholly, and all correlate by a half or more.
    assert {name: p for name, (_, p) in related.items()} == pytest.approx(
        {"diversity": 1 / 3, "memorization": 1.0, "sum": 1 / 3}
    )
    assert np.isnan(id_scores.correlations([made(1, 0.5, n) for n in (0.1, 0.2, 0.3)], "items")["diversity"]).all()
    assert id_scores.correlations(found[:2], "items") == {}
    text = id_scores.id_scores_table({str(n): run for n, run in enumerate(found)})
    assert (
        "over 3 runs (after training): diversity +1.00 (p 0.33), memorization +0.50 (p 1), sum +1.00 (p 0.33)" in text
    )


def test_runs_that_rank_nothing_are_not_counted() -> None:
    found = [made(1, 0.5, 0.01), made(2, 0.7, 0.02), made(5, 0.6, 0.08), made(3, 0.6, 0.0) | {"ndcg@10": None}]
    assert "over 3 runs" in id_scores.correlations_line(found, "items")
    assert id_scores.correlations_line(found[1:], "items") == ""


def test_a_folder_without_results_is_told(tmp_path: pathlib.Path, tiny: Config) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        id_scores.before_and_after(tmp_path / "nothing")
    runs.start(dataclasses.replace(tiny, out=str(tmp_path / "begun")))
    with pytest.raises(ValueError, match="is not measured yet"):
        id_scores.before_and_after(tmp_path / "begun")
