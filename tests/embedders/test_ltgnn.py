"""LTGNN as an embedder: planted clusters, resuming, refresh for newcomers, and a whole run with it."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from jaxrec import experiment
from jaxrec.baselines.counted import popularity_scorer
from jaxrec.baselines.registry import BASELINES
from jaxrec.config import Config, DataConfig, LtgnnConfig, WorldConfig, from_dict
from jaxrec.data.load import load_interactions
from jaxrec.data.split import make_split
from jaxrec.embedders.embedder import Embedding
from jaxrec.embedders.ltgnn import fit_ltgnn, refresh
from jaxrec.evaluate.full_ranking import evaluate_scores
from jaxrec.evaluate.validation import validate_scores
from jaxrec.training.writer import read_records
from jaxrec.types import Histories, Vectors

CONFIG = LtgnnConfig(dim=8, neighbours=4, batch=128, learning_rate=0.02, epochs=20)
CLUSTERS = 4


def same(one: Embedding, two: Embedding) -> None:
    np.testing.assert_equal(dataclasses.asdict(one), dataclasses.asdict(two))


@pytest.mark.slow
def test_planted_clusters_are_recommended_and_a_refresh_gives_the_same(planted: Histories) -> None:
    actual = fit_ltgnn(planted, CONFIG, seed=0)
    scores = actual.vectors.user[:80] @ actual.vectors.item[:40].T
    best = np.argsort(-scores, axis=1)[:, :5] // 10
    assert (best == (np.arange(80) % CLUSTERS)[:, None]).mean() > 0.9
    assert actual.tables is not None
    for vectors in (actual.tables, actual.vectors):
        assert not vectors.user[80].any()
        assert not vectors.item[40].any()
    again = refresh(actual, planted, CONFIG)
    np.testing.assert_array_equal(again.user, actual.vectors.user)
    np.testing.assert_array_equal(again.item, actual.vectors.item)


def test_a_refresh_gives_newcomers_the_solution_over_the_new_graph() -> None:
    """User 1 and item 2 are new and start from zeros."""
    tables = Vectors(np.array([[1.0, 2.0]], np.float32), np.array([[4.0, 0.0], [0.0, 8.0]], np.float32))
    histories = Histories(np.array([0, 2, 4]), np.array([0, 1, 0, 2], np.int32), 3)
    actual = refresh(Embedding(tables, tables), histories, LtgnnConfig(alpha=0.25))
    matrix = np.zeros((5, 5))  # users 0, 1 of degree 2; items of degrees 2, 1, 1
    for user, item, value in ((0, 2, 1 / 2), (0, 3, 0.5**0.5), (1, 2, 1 / 2), (1, 4, 0.5**0.5)):
        matrix[user, item] = matrix[item, user] = value
    start = np.array([[1, 2], [0, 0], [4, 0], [0, 8], [0, 0]])
    expected = np.linalg.solve(np.eye(5) - 0.75 * matrix, 0.25 * start)
    np.testing.assert_allclose(np.concatenate([actual.user, actual.item]), expected, atol=1e-3)
    assert actual.user[1].any()
    assert actual.item[2].any()


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(planted: Histories, tmp_path: pathlib.Path, monkeypatch) -> None:
    """With a new snapshot after it, and outputs and gradients of before."""
    valid = np.where(np.arange(81) < 80, np.arange(81) % CLUSTERS * 10 + 5, -1).astype(np.int32)
    config = dataclasses.replace(CONFIG, batch=32, epochs=4, validate_every=1, patience=0, refresh_every=2)
    whole = fit_ltgnn(planted, config, valid=valid, seed=1, folder=tmp_path / "whole")
    calls = []

    def dies_third(*arguments, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate_scores(*arguments, **named)

    monkeypatch.setattr("jaxrec.evaluate.validation.evaluate_scores", dies_third)
    with pytest.raises(KeyboardInterrupt):
        fit_ltgnn(planted, config, valid=valid, seed=1, folder=tmp_path / "killed")
    same(whole, fit_ltgnn(planted, config, valid=valid, seed=1, folder=tmp_path / "killed"))
    assert len(calls) == 3 + 2
    losses = [
        [record["loss"] for record in read_records(tmp_path / name / "metrics.jsonl") if "loss" in record]
        for name in ("whole", "killed")
    ]
    assert losses[0]
    assert losses[0] == losses[1]


def test_settings_out_of_range_are_named(planted: Histories) -> None:
    for changed, message in (
        ({"alpha": 0.0}, "ltgnn.alpha is 0.0; it must be at least 0.01 and at most 1"),
        ({"neighbours": 0}, "ltgnn.neighbours is 0; it must be at least 1 and at most 1,?024"),
        ({"refresh_every": 0}, "ltgnn.refresh_every is 0; it must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_ltgnn(planted, dataclasses.replace(CONFIG, **changed), seed=0)
    nothing = Histories(np.zeros(3, np.int64), np.zeros(0, np.int32), 4)
    with pytest.raises(ValueError, match="histories hold no event to learn from"):
        fit_ltgnn(nothing, CONFIG, seed=0)


def test_a_config_from_before_ltgnn_has_its_defaults() -> None:
    values = json.loads(json.dumps(dataclasses.asdict(Config(name="old"))))
    del values["ltgnn"]
    assert from_dict(Config, values).ltgnn == LtgnnConfig()


@pytest.mark.slow
def test_as_a_baseline_it_is_above_popularity(tmp_path: pathlib.Path) -> None:
    """On a generated world of 300 users."""
    split = make_split(load_interactions(DataConfig(world=WorldConfig(users=300, items=200)), seed=0)[0])
    settings = dataclasses.replace(CONFIG, dim=16, batch=512, epochs=30, validate_every=0)
    scorers = BASELINES["ltgnn"].train(settings, split, 0, tmp_path), popularity_scorer(split.train)
    ltgnn, popularity = (validate_scores(scorer, split)["ndcg@10"] for scorer in scorers)
    assert ltgnn > 1.3 * popularity


@pytest.mark.long
def test_a_whole_run_ranks_by_it_and_takes_newcomers_in(token_rec: Config, tmp_path: pathlib.Path) -> None:
    config = token_rec.replace(embedder="ltgnn", out=str(tmp_path), ltgnn=CONFIG, data__unseen_users=0.1)
    trained, report = experiment.train(config)
    assert {"LTGNN", "LTGNN + MQ ids + retrieval"} <= {row["system"] for row in report["rows"]}
    known = np.bincount(trained.split.known.users, minlength=trained.split.known.n_users) > 0
    newcomers = trained.split.unseen_users & known
    assert newcomers.any()
    assert trained.embedding.vectors.user[newcomers].any(axis=1).all()
