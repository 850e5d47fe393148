"""Which checkpoints stay, and the best model of a run folder."""

import os
import shutil

import chex
import numpy as np
import pytest

from jaxrec.training.checkpoint import restore_best


def scripted(*values):
    left = iter(values)
    return lambda params, buffers: {"score": next(left)}


def test_the_newest_two_and_the_best_stay(small, tmp_path) -> None:
    small.train(tmp_path, steps=12, validate=scripted(0, 5, 1, 2, 5, 3), validate_every=2)
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [
        4,
        10,
        12,
    ]  # the tie at 10 is not better


def test_the_best_model_of_a_folder(small, tmp_path) -> None:
    run = small.train(tmp_path, steps=8, validate=scripted(1, 9, 2, 3), validate_every=2)
    params, buffers = restore_best(tmp_path, run.state.params, run.buffers)
    chex.assert_trees_all_equal(params, run.best_params)
    chex.assert_trees_all_equal(buffers, run.buffers)
    assert not (params["embedding"][...] == run.state.params["embedding"][...]).all()


def test_without_validation_the_newest_is_the_best(small, tmp_path) -> None:
    run = small.train(tmp_path, steps=4, validate_every=0)
    params, _ = restore_best(tmp_path, run.state.params, run.buffers)
    chex.assert_trees_all_equal(params, run.state.params)


def test_a_folder_without_checkpoints_is_named(tmp_path) -> None:
    with pytest.raises(ValueError, match="holds no checkpoints; train first"):
        restore_best(tmp_path, {}, {})


def test_buffers_are_those_of_the_run_that_is_there(small, tmp_path, monkeypatch) -> None:
    """What a run left that was cut off before its first checkpoint is not taken for this run's."""
    small.train(tmp_path, steps=8)
    shutil.rmtree(tmp_path / "checkpoints")
    make = small.Model.__init__

    def another(self, *, rngs) -> None:
        make(self, rngs=rngs)
        self.shift[...] = self.shift[...] * 3

    monkeypatch.setattr(small.Model, "__init__", another)
    run = small.train(tmp_path, steps=8)
    _, buffers = restore_best(tmp_path, run.state.params, run.buffers)
    np.testing.assert_array_equal(buffers["shift"][...], 3)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_buffers_that_cannot_be_read_are_told(small, tmp_path, damage) -> None:
    small.train(tmp_path, steps=8)
    if damage == "missing":
        shutil.rmtree(tmp_path / "buffers")
    else:
        for file in (tmp_path / "buffers").rglob("*"):
            if file.is_file():
                os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(ValueError, match=r"buffers, where the run's anchors, .* is missing, damaged"):
        small.train(tmp_path, steps=16)
    assert (tmp_path / "checkpoints" / "8").is_dir()
    assert not (tmp_path / "broken").exists()
