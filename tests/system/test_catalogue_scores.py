"""A run's log-probabilities of the whole catalogue: the same rankings as its lists."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from jaxrec.baselines.registry import BASELINES
from jaxrec.evaluate import reranker_fitting, reranking
from jaxrec.evaluate.blending import Blend, evaluate_blends
from jaxrec.evaluate.full_ranking import evaluate_scores
from jaxrec.evaluate.ranking import metrics
from jaxrec.evaluate.results_table import results_table
from jaxrec.system.catalogue_scores import catalogue_component, spread
from jaxrec.system.loading import load
from jaxrec.system.measuring import build_results_report, measure
from jaxrec.system.run import check_run
from jaxrec.system.system import System
from jaxrec.tasks.ragged import histories_of
from jaxrec.types import TopK
from tests.evaluate.test_reranking import any_reranker

Finished = Callable[[str, pathlib.Path], System]


def with_recommender(system: System, mode: str) -> System:
    return dataclasses.replace(system, config=system.config.replace(eval__recommender=mode))


def test_what_a_list_lacks_is_shared_by_the_others() -> None:
    top = TopK(np.array([[3, 1], [2, -1]]), np.log(np.array([[0.5, 0.3], [0.25, 1e-30]], np.float32)))
    top.scores[1, 1] = -np.inf
    expected = [[0.2 / 3, 0.3, 0.2 / 3, 0.5, 0.2 / 3], [0.1875, 0.1875, 0.25, 0.1875, 0.1875]]
    np.testing.assert_allclose(np.exp(spread(top, 5)), expected, rtol=1e-6)


def test_others_get_less_than_the_last_of_the_list() -> None:
    top = TopK(np.array([[0, 1]]), np.log(np.array([[0.01, 0.001]])))
    np.testing.assert_allclose(np.exp(spread(top, 4)), [[0.01, 0.001, 0.001, 0.001]], rtol=1e-6)
    assert spread(top, 4)[0, 2] < spread(top, 4)[0, 1]
    full = TopK(np.array([[1, 0]]), np.log(np.array([[0.9, 0.2]])))  # rounded up to more than 1
    assert np.isfinite(spread(full, 3)).all()
    assert spread(full, 3)[0, 2] < np.log(1e-30)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["beam", "exact"])
def test_ids_are_ranked_as_in_lists(finished_run: Finished, tmp_path: pathlib.Path, mode: str) -> None:
    system = with_recommender(finished_run("META ID", tmp_path / "run"), mode)
    component = catalogue_component(system)
    assert (component.name, component.distribution) == (
        "META ID",
        {"beam": "log-probabilities", "exact": "softmax"}[mode],
    )
    users = np.arange(5, 12)
    log_probs = component.log_probs(np.asarray(component.score(system.split.history("test"), users)))
    assert log_probs.shape == (7, 48)
    assert np.exp(log_probs).sum(axis=1) == pytest.approx(np.ones(7), abs=1e-3 if mode == "exact" else 1.0)
    top = system.recommend(users, 10)
    for row, user in enumerate(users):
        log_probs[row, system.split.history("test").of(user)] = -np.inf
        assert np.argsort(-log_probs[row], kind="stable")[:10].tolist() == top.items[row].tolist()
    (result,) = evaluate_blends({"x": Blend.alone(component)}, system.split, "test")
    assert metrics(result.ranks, (5,)) == pytest.approx(metrics(system.measure("test").ranks, (5,)), abs=1e-6)


@pytest.mark.soak
def test_vectors_are_ranked_as_in_lists_and_for_new_users_too(finished_run: Finished, tmp_path: pathlib.Path) -> None:
    system = finished_run("TokenRec", tmp_path / "run")
    component = catalogue_component(system)
    users = np.array([3, 70, 11])
    scores = np.asarray(component.score(system.split.history("test"), users))
    everything = system.recommend(users, 30)
    for row in range(3):
        listed = everything.items[row][everything.items[row] >= 0]
        np.testing.assert_allclose(scores[row, listed], everything.scores[row][: len(listed)], atol=1e-5)
    histories = histories_of(system.split.history("test"), users)
    assert component.score_new is not None
    new = np.asarray(component.score_new(histories, np.arange(3)))
    top = system.recommend_to_strangers(histories, 5)
    np.testing.assert_allclose(np.take_along_axis(new, top.items, axis=1), top.scores, atol=1e-5)


@pytest.mark.slow
def test_a_table_has_the_row_with_counts(finished_run: Finished, tmp_path: pathlib.Path) -> None:
    system = finished_run("TokenRec", tmp_path / "run")
    system = dataclasses.replace(system, config=system.config.replace(eval__counts=True, eval__prompt="seen"))
    measured = measure(system, "test")
    names = [result.system for result in measured.ranks]
    assert names[:2] == ["TokenRec", "TokenRec + counts"]
    assert "TokenRec + counts, unseen users" in names
    blend, of_baselines = measured.blends.values()
    assert list(measured.blends) == ["TokenRec + counts", "counts"]
    assert list(blend.named_weights) == ["TokenRec", "popularity", "item-kNN", "transitions"]
    assert list(of_baselines.named_weights) == ["popularity", "item-kNN", "transitions"]
    assert blend.users == of_baselines.users == (system.split.valid >= 0).sum()
    report = build_results_report(system, "test", measured, None)
    assert report["blend"]["weights"] == blend.named_weights
    assert report["blend_of_baselines"]["weights"] == of_baselines.named_weights
    assert {i["system"] for i in report["intervals"]} >= {"TokenRec", "TokenRec + counts"}


def test_trained_baselines_join_the_blend_and_are_rows(finished_run: Finished, tmp_path: pathlib.Path) -> None:
    finished_run("TokenRec", tmp_path / "run")
    system = load(tmp_path / "run", blend_with=("lightgcn", "ease"))
    measured = measure(system, "test")
    rows = {result.system: result for result in measured.ranks}
    blended = "TokenRec + LightGCN + EASE + counts"
    assert list(rows)[:2] == ["TokenRec", blended]
    assert len(rows) == len(measured.ranks)  # LightGCN is this run's embedder: one row, and nothing trained again
    assert rows["EASE"].baseline
    assert rows["LightGCN"].baseline
    assert not (tmp_path / "run" / "baselines" / "lightgcn").exists()
    assert rows["LightGCN + EASE + counts"].baseline
    assert rows["LightGCN + EASE + counts"].blended
    assert not rows["EASE"].blended
    assert list(measured.blends[blended].named_weights)[:3] == ["TokenRec", "LightGCN", "EASE"]
    score = BASELINES["ease"].train(BASELINES["ease"].settings, system.split, system.config.seed, tmp_path / "alone")
    alone = evaluate_scores("EASE", score, system.split, "test")
    np.testing.assert_allclose(rows["EASE"].ranks, alone.ranks, atol=0.5)  # log-probabilities round: ties
    report = build_results_report(system, "test", measured, None)
    assert report["blend"]["system"] == blended
    rivals = [i["baseline"] for i in report["intervals"] if i["system"] == blended]
    assert rivals.count("LightGCN + EASE + counts") == 2, "the best blend of baselines, in two metrics"
    assert len(rivals) == 4, "and the best of them alone"
    assert set(rivals) <= set(rows) - {"TokenRec", blended}


@pytest.mark.parametrize("found", [True, False])
def test_a_table_has_the_reranked_row_in_all_seeds(
    finished_run: Finished, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    def fit(self: reranker_fitting.Fitting, seed: int, on_fit: object) -> reranking.Reranker | None:
        return any_reranker(self.clues, mask_seen=True, n_components=len(self.weights)) if found else None

    monkeypatch.setattr(reranker_fitting.Fitting, "fit", fit)
    finished_run("TokenRec", tmp_path / "run")
    system = load(tmp_path / "run", rerank=True)
    measured = measure(system, "test")
    rows = {result.system: result.ranks for result in measured.ranks}
    assert list(rows)[:3] == ["TokenRec", "TokenRec + counts, re-ranked", "TokenRec + counts"]
    for name in ("TokenRec + counts", "counts"):
        same = np.array_equal(rows[name], rows[f"{name}, re-ranked"], equal_nan=True)
        assert same is not found
    report = build_results_report(system, "test", measured, None)
    assert report["blend"]["system"] == "TokenRec + counts, re-ranked"
    said = "re-ranked, NDCG@10 0.5000 for 0.4000" if found else "not re-ranked, as cross-validation"
    assert results_table(report).count(said) == 2


def test_an_unknown_baseline_for_the_blend_is_refused(finished_run: Finished, tmp_path: pathlib.Path) -> None:
    config = finished_run("TokenRec", tmp_path / "run").config
    with pytest.raises(ValueError, match="baselines lightgbm: give some of mf, lightgcn"):
        load(tmp_path / "run", blend_with=("lightgbm",))
    with pytest.raises(ValueError, match="name one twice"):
        check_run(config.replace(eval__blend_with=("ease", "ease")))
    check_run(config.replace(eval__blend_with=("ease",)))


def test_a_baseline_is_left_out_where_the_catalogue_is_too_large(
    finished_run: Finished, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_run("TokenRec", tmp_path / "run")
    system = load(tmp_path / "run", blend_with=("lightgcn", "ease"))
    monkeypatch.setitem(BASELINES, "ease", dataclasses.replace(BASELINES["ease"], most_items=47))
    measured = measure(system, "test")
    assert [result.system for result in measured.ranks][:2] == ["TokenRec", "TokenRec + LightGCN + counts"]
    assert "EASE" not in [result.system for result in measured.ranks]
