"""What can't work is said before anything is trained, and correcting it needs no other folder."""

import dataclasses
import pathlib

import numpy as np
import pytest

from jaxrec import experiment
from jaxrec.config import Config, TrainConfig, to_json
from jaxrec.platform import memory_of_devices
from jaxrec.system import beforehand
from jaxrec.system import run as runs
from jaxrec.system.beforehand import check_data, check_devices, check_memory
from jaxrec.types import DataError


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (TrainConfig(data_parallel=8), "need 8 devices, and there are 4; lower one"),
        (TrainConfig(model_parallel=5), "model_parallel=5 need 5 devices, and there are 4"),
        (TrainConfig(rows=6), "train.rows=6 doesn't divide over the 4 devices"),
        (TrainConfig(rows=3, model_parallel=2), "train.rows=3 doesn't divide over the 2 devices"),
    ],
)
def test_a_mesh_that_does_not_fit(train: TrainConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_devices(train, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model__t5__d_model": 65_536, "model__t5__d_ff": 65_536}, r"Lower sizes of model.t5 \(d_model=65536\)"),
        (
            {"model__backbone": "llama", "model__llama__d_model": 65_536},
            r"Lower sizes of model.llama \(d_model=65536\)",
        ),
        ({"train__rows": 65_536, "train__source_length": 4096}, r"GB: .* [0-9.]+ for a batch of 65536 x 4096 tokens"),
        ({"train__members": 1024, "model__t5__d_model": 4096}, "needs at least"),
    ],
)
def test_a_training_that_can_not_fit_the_memory(
    tiny: Config, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, settings: dict, message: str
) -> None:
    monkeypatch.setattr(beforehand, "memory_of_devices", lambda: 16 * 2**30)
    check_memory(tiny)
    with pytest.raises(ValueError, match=message):
        experiment.train(tiny.replace(out=str(tmp_path / "run"), **settings))
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(beforehand, "memory_of_devices", lambda: 0)
    check_memory(tiny.replace(**settings))  # where nothing is known of the memory, nothing is said


def test_the_memory_of_this_machine_is_known() -> None:
    assert memory_of_devices() > 2**28


def test_a_mesh_that_fits() -> None:
    check_devices(TrainConfig(rows=8), 4)
    check_devices(TrainConfig(rows=6, data_parallel=2, model_parallel=2), 4)
    check_devices(TrainConfig(rows=7, model_parallel=3), 4)


def test_devices_are_checked_before_data_is_read(tiny: Config, tmp_path: pathlib.Path) -> None:
    config = tiny.replace(out=str(tmp_path / "run"), train__model_parallel=64, data__path="no/such/file")
    with pytest.raises(ValueError, match="need 64 devices"):
        experiment.train(config)
    assert not (tmp_path / "run").exists()


def test_data_that_is_too_small_leaves_no_folder(tiny: Config, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "events.csv"
    lines = [f"u{user},i{(user + n) % 7},{n}" for user in range(12) for n in range(5)]
    file.write_text("\n".join(["user,item,time", *lines]) + "\n")
    with pytest.raises(DataError, match="has 7 items; tasks that rank items need at least 10"):
        experiment.train(tiny.replace(out=str(tmp_path / "run"), data__path=str(file)))
    assert not (tmp_path / "run").exists()


def test_more_clusters_than_rows_and_nobody_to_ask(tiny: Config, tmp_path: pathlib.Path) -> None:
    run = runs.start(tiny.replace(out=str(tmp_path / "run")), check_data)
    with pytest.raises(ValueError, match=r"ids\.clusters=129 exceeds the 128 users and items"):
        check_data(tiny.replace(ids__clusters=129), run.data, run.split)
    check_data(tiny.replace(ids__clusters=128), run.data, run.split)
    nobody = dataclasses.replace(run.split, test=np.full_like(run.split.test, -1))
    with pytest.raises(DataError, match="no user with a test item"):
        check_data(tiny, run.data, nobody)


def test_what_is_not_trained_may_change_in_a_runs_folder(tiny: Config, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "run"
    config = tiny.replace(out=str(folder))
    runs.start(config)
    runs.check_run(config.replace(train__rows=4, ids__clusters=5))  # nothing is stored yet
    (folder / "ids").mkdir()
    runs.check_run(config.replace(eval__counts=True, eval__batch_users=8, train__data_parallel=2, name="other"))
    with pytest.raises(ValueError, match=r"\(train.rows differ\); give --out another folder"):
        runs.check_run(config.replace(train__rows=4))
    with pytest.raises(ValueError, match=r"measure it with: jaxrec evaluate .*run --beams 50; or give --out"):
        runs.check_run(config.replace(eval__beams=50))
    assert (folder / "config.json").read_text() == to_json(config) + "\n"
