"""GTN as an embedder: planted clusters, resuming, refresh for newcomers, and a whole run with it."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from jaxrec import experiment
from jaxrec.config import Config, GtnConfig, from_dict
from jaxrec.embedders.embedder import Embedding
from jaxrec.embedders.gtn import fit_gtn, refresh
from jaxrec.evaluate.full_ranking import evaluate_scores
from jaxrec.types import Histories, Vectors

CONFIG = GtnConfig(dim=8, layers=2, batch=128, learning_rate=0.02, epochs=20)
CLUSTERS = 4


def same(one: Embedding, two: Embedding) -> None:
    np.testing.assert_equal(dataclasses.asdict(one), dataclasses.asdict(two))


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["bpr", "sampled"])
def test_planted_clusters_are_recommended_and_a_refresh_gives_the_same(planted: Histories, loss: str) -> None:
    config = dataclasses.replace(CONFIG, losses=(loss,), negatives=16)
    actual = fit_gtn(planted, config, seed=0)
    scores = actual.vectors.user[:80] @ actual.vectors.item[:40].T
    best = np.argsort(-scores, axis=1)[:, :5] // 10
    assert (best == (np.arange(80) % CLUSTERS)[:, None]).mean() > 0.9
    assert actual.tables is not None
    for vectors in (actual.tables, actual.vectors):
        assert not vectors.user[80].any()
        assert not vectors.item[40].any()
    again = refresh(actual, planted, config)
    np.testing.assert_array_equal(again.user, actual.vectors.user)
    np.testing.assert_array_equal(again.item, actual.vectors.item)


def test_a_refresh_gives_newcomers_their_neighbours_alone() -> None:
    """User 1 and item 2 are new, and a layer is not clipped: F = E - B'B E / 2, worked by hand."""
    tables = Vectors(np.array([[1.0, 2.0]], np.float32), np.array([[4.0, 0.0], [0.0, 8.0]], np.float32))
    histories = Histories(np.array([0, 2, 4]), np.array([0, 1, 0, 2], np.int32), 3)
    config = GtnConfig(layers=1, lambda2=100.0)
    actual = refresh(Embedding(tables, tables), histories, config)
    # Degrees: users 2, 2; items 2, 1, 1. The ends of an edge (u, i) differ by u / sqrt(d_u + 1) - i / sqrt(d_i + 1).
    three, two = 3**-0.5, 2**-0.5
    differences = [
        tables.user[0] * three - tables.item[0] * three,
        tables.user[0] * three - tables.item[1] * two,
        -tables.item[0] * three,
        np.zeros(2),
    ]
    np.testing.assert_allclose(actual.user[1], -three * (differences[2] + differences[3]) / 2, rtol=1e-6)
    np.testing.assert_allclose(actual.item[2], [0, 0], atol=1e-7)
    expected = tables.user[0] - three * (differences[0] + differences[1]) / 2
    np.testing.assert_allclose(actual.user[0], expected, rtol=1e-6)
    expected = tables.item[0] + three * (differences[0] + differences[2]) / 2
    np.testing.assert_allclose(actual.item[0], expected, rtol=1e-6)
    clipped = refresh(Embedding(tables, tables), histories, dataclasses.replace(config, lambda2=0.1))
    np.testing.assert_allclose(clipped.user[1], [three * 0.1, 0], rtol=1e-6)


def test_a_killed_run_goes_on_bit_for_bit(planted: Histories, tmp_path: pathlib.Path, monkeypatch) -> None:
    valid = np.where(np.arange(81) < 80, np.arange(81) % CLUSTERS * 10 + 5, -1).astype(np.int32)
    config = dataclasses.replace(CONFIG, epochs=4, validate_every=1, patience=0)
    whole = fit_gtn(planted, config, valid=valid, seed=1)
    calls = []

    def dies_third(*arguments, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate_scores(*arguments, **named)

    monkeypatch.setattr("jaxrec.evaluate.validation.evaluate_scores", dies_third)
    with pytest.raises(KeyboardInterrupt):
        fit_gtn(planted, config, valid=valid, seed=1, folder=tmp_path)
    same(whole, fit_gtn(planted, config, valid=valid, seed=1, folder=tmp_path))
    assert len(calls) == 3 + 2


def test_settings_out_of_range_are_named(planted: Histories) -> None:
    for changed, message in (
        ({"layers": 0}, "gtn.layers is 0; it must be at least 1 and at most 16"),
        ({"lambda2": -1.0}, "gtn.lambda2 is -1.0; it must be at least 0"),
        ({"losses": ()}, "gtn.losses='' must name one or more losses"),
        ({"losses": ("ssm",)}, "gtn.losses names 'ssm', which is not one of bpr"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_gtn(planted, dataclasses.replace(CONFIG, **changed), seed=0)


def test_a_config_from_before_gtn_has_its_defaults() -> None:
    values = json.loads(json.dumps(dataclasses.asdict(Config(name="old"))))
    del values["gtn"]
    assert from_dict(Config, values).gtn == GtnConfig()


@pytest.mark.soak
def test_a_whole_run_ranks_by_it_and_takes_newcomers_in(token_rec: Config, tmp_path: pathlib.Path) -> None:
    config = token_rec.replace(embedder="gtn", out=str(tmp_path), gtn=CONFIG, data__unseen_users=0.1)
    trained, report = experiment.train(config)
    assert {"GTN", "GTN + MQ ids + retrieval"} <= {row["system"] for row in report["rows"]}
    known = np.bincount(trained.split.known.users, minlength=trained.split.known.n_users) > 0
    newcomers = trained.split.unseen_users & known
    assert newcomers.any()
    assert trained.embedding.vectors.user[newcomers].any(axis=1).all()
