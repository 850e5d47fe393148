"""A new loss is one new file and one line: here toys from outside the package, registered by one record each."""

import dataclasses
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config import Config, TrainConfig
from jaxrec.models.cross_entropy import sequence_loss
from jaxrec.models.loss import Loss
from jaxrec.models.losses import LOSSES
from jaxrec.models.matching import matching_loss
from jaxrec.system import run as runs
from jaxrec.system import training
from jaxrec.system.stages import build


def doubled(train: TrainConfig):
    """Twice the cross-entropy."""

    def loss(model, batch, key=None):
        value, metrics = sequence_loss(model, batch, key)
        return 2 * value, metrics | {"toy": value}

    return loss


SQUARES = matching_loss(lambda matches: jnp.square(1 - matches.cosine))
"""The squared distance of the cosine from 1."""


@pytest.mark.parametrize(("answer", "loss"), [("id", Loss("id", doubled)), ("vector", SQUARES)])
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
