"""Which checkpoints stay, and the best model of a run folder."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import chex
import numpy as np
import pytest

from jaxrec.files import InUseError, check_sums, locked_folder
from jaxrec.files.sums import read_sums
from jaxrec.training.checkpoint import restore_best
from jaxrec.types import DataError


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


def damage(file, place: float, bit: int = 3) -> None:
    """Flips a bit at a place between 0 and 1."""
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    file.write_bytes(content)


def kept_files(folder) -> list:
    """Files with a check sum."""
    return sorted(folder / name for name in read_sums(folder) or ())


def test_every_checkpoint_and_the_buffers_have_sums(small, tmp_path) -> None:
    small.train(tmp_path, steps=12, validate_every=4)
    folders = [*(tmp_path / "checkpoints").iterdir(), tmp_path / "buffers"]
    assert len(folders) == 3
    for folder in folders:
        every = {file for file in folder.rglob("*") if file.is_file()}
        assert every - set(kept_files(folder)) == {folder / "sums.json"}
        assert check_sums(folder)


def test_a_flip_anywhere_in_the_newest_checkpoint_is_told_and_undone(small, tmp_path, caplog) -> None:
    whole = small.train(tmp_path / "whole", steps=16)
    for n, pattern in enumerate(("model/**/d/*", "training/**/d/*", "data/metadata", "meta/metadata")):
        folder = tmp_path / str(n)
        shutil.copytree(tmp_path / "whole", folder)
        file = max((folder / "checkpoints" / "16").glob(pattern), key=lambda file: file.stat().st_size)
        damage(file, 0.3 + n / 10)
        caplog.clear()
        with caplog.at_level("INFO", "jaxrec"):
            run = small.train(folder, steps=16)
        assert f"checkpoint 16 ({folder}" in caplog.text
        assert f"{file.name} is damaged" in caplog.text
        chex.assert_trees_all_equal(run.state.params, whole.state.params)
        chex.assert_trees_all_equal(run.best_params, whole.best_params)
        shutil.rmtree(folder)


@pytest.mark.parametrize("step", [2, 6], ids=["the best", "the newest, which names the best"])
def test_no_other_checkpoint_is_taken_for_the_best(small, tmp_path, step) -> None:
    run = small.train(tmp_path, steps=6, validate=scripted(9, 1, 2), validate_every=2)
    folder = tmp_path / "checkpoints" / str(step)
    files = [f for f in kept_files(folder) if f.is_relative_to(folder / ("model" if step == 2 else "meta"))]
    for n, file in enumerate(files):
        content = file.read_bytes()
        damage(file, n / len(files))
        with pytest.raises(DataError, match=rf"{file} is damaged.*; the train command, given again"):
            restore_best(tmp_path, run.state.params, run.buffers)
        file.write_bytes(content)
    file.unlink()
    with pytest.raises(DataError, match=rf"{file} can't be read"):
        restore_best(tmp_path, run.state.params, run.buffers)
    file.write_bytes(content)
    chex.assert_trees_all_equal(restore_best(tmp_path, run.state.params, run.buffers)[0], run.best_params)


def test_a_resumed_run_does_not_go_on_without_its_best(small, tmp_path) -> None:
    small.train(tmp_path, steps=6, validate=scripted(1, 2, 1), validate_every=2)
    damage(tmp_path / "checkpoints" / "4" / "model" / "manifest.ocdbt", 0.5)
    with pytest.raises(DataError, match=r"delete that folder, and .*4/model/manifest.ocdbt is damaged"):
        small.train(tmp_path, steps=12, validate=scripted(2, 1, 1), validate_every=2)
    assert not (tmp_path / "broken").exists()


def test_checkpoints_of_older_versions_have_no_sums(small, tmp_path) -> None:
    run = small.train(tmp_path, steps=8)
    for file in tmp_path.rglob("sums.json"):
        file.unlink()
    chex.assert_trees_all_equal(restore_best(tmp_path, run.state.params, run.buffers)[0], run.best_params)
    assert len(small.train(tmp_path, steps=16).history) == 16 + 2


def test_two_trainings_into_one_folder(small, tmp_path) -> None:
    with locked_folder(tmp_path):
        told = pytest.raises(InUseError, match=r"is being written by process \d+ on .* since")
        with ThreadPoolExecutor(1) as other, told:
            other.submit(small.train, tmp_path, steps=8).result()
        assert sorted(os.listdir(tmp_path)) == ["run.lock"]


def test_lines_of_metrics_are_never_lost_in_silence(small, tmp_path, caplog) -> None:
    small.train(tmp_path, steps=8)
    file = tmp_path / "metrics.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][:10])
    with caplog.at_level("INFO", "jaxrec"):
        small.train(tmp_path, steps=8)
    assert "metrics.jsonl: the last line is incomplete" in caplog.text
    assert "metrics.jsonl has lost 1 of its lines" in caplog.text
    for damaged in (b'{"step": \x00}\n', b"[1]\n", b'{"loss": 1}\n', b"[" * 9999 + b"\n"):
        file.write_bytes(lines[0] + damaged + lines[2])
        with pytest.raises(DataError, match=r"metrics.jsonl, line 2: "):
            small.train(tmp_path, steps=8)
