"""A new loss is one new file and one line: here toys from outside the package, registered by one record each."""

import dataclasses
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config import Config, LightGcnConfig, TrainConfig
from jaxrec.embedders.lightgcn import fit_lightgcn
from jaxrec.models.cross_entropy import sequence_loss
from jaxrec.models.lightgcn_losses import LIGHTGCN_LOSSES, LightGcnLoss, bpr
from jaxrec.models.loss import Loss
from jaxrec.models.losses import LOSSES
from jaxrec.models.matching import matching_loss
from jaxrec.system import run as runs
from jaxrec.system import training
from jaxrec.system.stages import build
from jaxrec.types import Histories


def doubled(train: TrainConfig):
    """Twice the cross-entropy."""

    def loss(model, batch, key=None):
        value, metrics = sequence_loss(model, batch, key)
        return 2 * value, metrics | {"toy": value}

    return loss


SQUARES = matching_loss(lambda matches: jnp.square(1 - matches.cosine))
"""The squared distance of the cosine from 1."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "loss"), [("id", Loss("id", doubled)), pytest.param("vector", SQUARES, marks=pytest.mark.long)]
)
def test_a_run_is_trained_with_it(
    tiny: Config, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, answer, loss: Loss
) -> None:
    monkeypatch.setitem(LOSSES, "toy", loss)
    config = tiny.replace(answer=answer, out=str(tmp_path), retrieval__loss="toy", train__loss="toy", train__steps=2)
    _, fitted = training.train_model(build(runs.start(config)))
    steps = [record for record in fitted.history if "loss" in record]
    assert len(steps) == 2
    for record in steps:
        if answer == "id":
            np.testing.assert_allclose(record["loss"], 2 * record["toy"], rtol=1e-5)
        else:
            assert 0 <= record["loss"] <= 4


def test_a_loss_of_lightgcn_trains_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice BPR on cosines: its record says what ranks, so vectors have length 1."""

    def doubled_bpr(*arguments, **settings):
        value, metrics = bpr(*arguments, **settings)
        return 2 * value, metrics

    monkeypatch.setitem(LIGHTGCN_LOSSES, "toy", LightGcnLoss("cosine", doubled_bpr))
    items = np.array([0, 1, 1, 2, 0, 2], np.int32)
    histories = Histories(np.array([0, 2, 4, 6]), items, 3)
    embedding = fit_lightgcn(histories, LightGcnConfig(dim=4, batch=4, epochs=2, losses=("toy",)), seed=0)
    np.testing.assert_allclose(np.linalg.norm(embedding.vectors.item, axis=1), 1, rtol=1e-5)


def test_a_loss_of_the_other_answer_or_of_none_is_refused(tiny: Config, tmp_path: pathlib.Path) -> None:
    for changed, message in (
        ({"train__loss": "full"}, "train.loss='full' is no loss of answer 'id'; there are: cross_entropy"),
        (
            {"answer": "vector", "retrieval__loss": "cross_entropy"},
            "retrieval.loss='cross_entropy' is no loss of answer",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            runs.start(dataclasses.replace(tiny, out=str(tmp_path / "run")).replace(**changed))
    assert not (tmp_path / "run").exists()
