"""Which checkpoints stay, and the best model of a run folder."""

import chex
import pytest

from jaxrec.train.checkpoint import restore_best


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
