"""What is tried, what chooses, and what a second call does: on runs whose validation is known beforehand."""

import dataclasses
import json
import pathlib
import types
from collections.abc import Callable

import numpy as np
import pytest

from jaxrec.config import Config
from jaxrec.studies import run_folders
from jaxrec.studies.comparison import TABLE_METRICS
from jaxrec.studies.sweep import choose
from jaxrec.studies.sweep.axes import Choices, Range, read_axes, with_values
from jaxrec.studies.sweep.choose import choose_settings
from jaxrec.studies.sweep.result import SweepResult

Values = Callable[[Config], float | None]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Values], tuple[list[str], list[str]]]:
    """Replaces training by a function of the config; returns the folders trained and those that were tested."""

    def replace(values: Values) -> tuple[list[str], list[str]]:
        trained, tested = [], []

        def train(config: Config) -> tuple[None, types.SimpleNamespace]:
            trained.append(config.folder.name)
            value = values(config)
            if value is None:
                raise FloatingPointError("loss was nan")
            early = {"step": 1, "valid/ndcg@10": value / 2}
            return None, types.SimpleNamespace(history=[early, {"step": 2, "valid/ndcg@10": value}, {"loss": 1.0}])

        def test(config: Config) -> tuple[None, dict]:
            tested.append(config.folder.name)
            np.savez(config.folder / "ranks.npz", **{"META ID": np.ones(3)})
            row = {"system": "META ID", "n_users": 3, **dict.fromkeys(TABLE_METRICS, 0.5)}
            report = {"dataset": "toy", "protocol": "strict", "part": "test", "n_items": 9, "mask_seen": True}
            report |= {"device": "none", "versions": {}, "rows": [row]}
            (config.folder / "results.json").write_text(json.dumps(report))
            return None, report

        def start(config: Config) -> Config:
            config.folder.mkdir(parents=True, exist_ok=True)
            return config

        monkeypatch.setattr(choose.training, "train_model", train)
        monkeypatch.setattr(choose, "build", lambda run: run)
        monkeypatch.setattr(choose.runs, "start", start)
        monkeypatch.setattr(run_folders.experiment, "train", test)
        return trained, tested

    return replace


def test_validation_chooses_and_the_chosen_alone_is_tested(tiny: Config, tmp_path: pathlib.Path, runs) -> None:
    """By seed 0 alone 10 clusters were best; the mean over both seeds says 5; three diverge."""
    validation = {(5, 0): 0.2, (5, 1): 0.3, (10, 0): 0.4, (10, 1): 0.0, (20, 0): 0.9, (20, 1): None}
    trained, tested = runs(lambda config: validation[config.ids.clusters, config.seed])
    grid = read_axes(["ids.clusters=5,10,20"], tiny)
    actual = choose_settings(tiny, grid, [0, 1], tmp_path)
    assert [row.settings["ids.clusters"] for row in actual.rows] == [5, 10, 20]
    assert actual.chosen == "ids.clusters=5"
    assert tested == ["ids_clusters_5-0", "ids_clusters_5-1"]
    assert [row.system for row in actual.test.rows] == ["ids.clusters=5"]
    assert SweepResult.from_json((tmp_path / "sweep.json").read_text()) == actual
    lines = str(actual).splitlines()
    assert lines[2].split()[:2] == ["5", "0.2500"]
    assert lines[2].endswith("<- chosen")
    assert lines[4].split() == ["20", "diverged"]
    assert len(trained) == 6
    again = choose_settings(tiny, grid, [0, 1], tmp_path)
    assert (len(trained), len(tested)) == (6, 2)
    assert again.rows == actual.rows
    shown = choose_settings(tiny, grid, [0, 1], tmp_path, show_test=True)
    assert [row.system for row in shown.test.rows] == ["ids.clusters=5", "ids.clusters=10"]
    assert len(trained) == 6


def test_combinations_are_all_tried(tiny: Config, tmp_path: pathlib.Path, runs) -> None:
    trained, _ = runs(lambda config: config.train.learning_rate + config.ids.clusters)
    sweep = choose_settings(tiny, read_axes(["train.learning_rate=1e-3,1e-2", "ids.clusters=5,6"], tiny), [3], tmp_path)
    assert len(trained) == 4
    assert sweep.chosen == "train.learning_rate=0.01 ids.clusters=6"


def test_trials_are_drawn_and_gone_on_with(tiny: Config, tmp_path: pathlib.Path, runs) -> None:
    """A search that is interrupted in its fourth trial goes on with it, and ends with what it would have found."""
    pytest.importorskip("optuna")
    grid = read_axes(["train.learning_rate=log:1e-4..1e-1", "ids.clusters=5..20", "train.schedule=linear,cosine"], tiny)

    def value(config: Config) -> float:
        return 1 / (1 + abs(np.log10(config.train.learning_rate) + 2)) + 0.001 * config.ids.clusters

    runs(value)
    whole = choose_settings(tiny, grid, [0], tmp_path / "whole", trials=6).rows

    calls = []

    def stopped(config: Config) -> float:
        calls.append(config)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return value(config)

    trained, _ = runs(stopped)
    with pytest.raises(KeyboardInterrupt):
        choose_settings(tiny, grid, [0], tmp_path / "parts", trials=6)
    first = list(trained)
    trained, _ = runs(value)
    actual = choose_settings(tiny, grid, [0], tmp_path / "parts", trials=6)
    assert trained[0] == first[3], "the interrupted run is gone on with"
    assert len(trained) == 3
    assert len(actual.rows) == len(whole) == 6
    assert actual.rows[0].validation[0] == max(row.validation[0] for row in actual.rows)
    for row in actual.rows:
        assert 1e-4 <= row.settings["train.learning_rate"] <= 1e-1
        assert row.settings["ids.clusters"] in range(5, 21)
        assert row.settings["train.schedule"] in ("linear", "cosine")


def test_without_optuna_trials_say_what_to_install(tiny: Config, tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ValueError, match=r"not installed: pip install -e '.\[sweep\]'"):
        choose_settings(tiny, read_axes(["ids.clusters=5..20"], tiny), [0], tmp_path, trials=2)


def test_values_have_the_types_of_their_fields(tiny: Config) -> None:
    grid = [
        "train.learning_rate=1e-3,2",
        "train.relative=True,false",
        "train.steps=None,7",
        "ids.kind=mq,rid",
        "quantizer.hidden=64+64,128",
        "task.tasks=sequential+direct",
        "walks.rounds=4..9",
        "train.warmup=log:1e-3..1e-1",
    ]
    actual = read_axes(grid, tiny)
    values = [list(axis.values.values()) if isinstance(axis, Choices) else axis for axis in actual]
    assert values == [
        [1e-3, 2.0],
        [True, False],
        [None, 7],
        ["mq", "rid"],
        [(64, 64), (128,)],
        [("sequential", "direct")],
        Range("walks.rounds", 4, 9, log=False, whole=True),
        Range("train.warmup", 1e-3, 1e-1, log=True, whole=False),
    ]
    config = with_values(tiny, {"train.learning_rate": 0.5, "model.t5.heads": 4, "embedder": "mf"})
    assert (config.train.learning_rate, config.model.t5.heads, config.embedder) == (0.5, 4, "mf")
    assert dataclasses.replace(config, train=tiny.train, model=tiny.model, embedder=tiny.embedder) == tiny


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([], "the grid is empty"),
        (["train.rate=1"], "train has no field 'rate'; it has epochs, steps"),
        (["learning_rate=1"], "the config has no field 'learning_rate'"),
        (["train.learning_rate.x=1"], "train.learning_rate has no field 'x'$"),
        (["train=1"], "train holds fields, not a value"),
        (["train.learning_rate"], "names no values"),
        (["ids.clusters=5.5"], "ids.clusters='5.5' is not a whole number"),
        (["train.learning_rate=nan"], "is not a number"),
        (["ids.ranks=word2vec"], "ids.ranks='word2vec' is none of joint, per_kind"),
        (["train.relative=1"], "neither True nor False"),
        (["ids.kind=mq..rid"], "ranges are of numbers"),
        (["ids.clusters=9..5"], "goes upwards"),
        (["train.learning_rate=log:0..1"], "from above 0"),
        (["ids.clusters=5", "ids.clusters=6"], "names a field twice"),
        (["data.k_core=5"], "changes what is measured"),
        (["seed=1,2"], "changes what is measured"),
    ],
)
def test_mistakes_are_named(tiny: Config, grid: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_axes(grid, tiny)


def test_what_can_not_work_is_told_before_anything_is_trained(tiny: Config, tmp_path: pathlib.Path, runs) -> None:
    trained, _ = runs(lambda _: None)
    with pytest.raises(ValueError, match="codebooks is 0; it must be at least 1") as caught:
        choose_settings(tiny, read_axes(["quantizer.codebooks=2,0"], tiny), [0], tmp_path)
    assert caught.value.__notes__ == ["with quantizer.codebooks=0"]
    with pytest.raises(ValueError, match=r"ids\.kind='word2vec' is not one of meta_id, spectral"):
        choose_settings(tiny, read_axes(["ids.kind=mq,word2vec"], tiny), [0], tmp_path)
    with pytest.raises(ValueError, match=r"ids\.clusters: a range is drawn from; say how often with --trials"):
        choose_settings(tiny, read_axes(["ids.clusters=5..9"], tiny), [0], tmp_path)
    with pytest.raises(ValueError, match="seeds holds none"):
        choose_settings(tiny, read_axes(["ids.clusters=5"], tiny), [], tmp_path)
    assert trained == []
    with pytest.raises(ValueError, match="no setting's loss stayed finite"):
        choose_settings(tiny, read_axes(["ids.clusters=5"], tiny), [0], tmp_path)


def test_settings_that_rank_nothing_are_refused_before_anything_is_trained(
    tiny: Config, tmp_path: pathlib.Path, runs
) -> None:
    trained, _ = runs(lambda _: 0.5)
    writes = with_values(tiny, {"task.tasks": ("rating", "review")})
    with pytest.raises(ValueError, match=r"task\.tasks \(rating, review\) rank no items.* NDCG@10"):
        choose_settings(writes, read_axes(["ids.clusters=5"], tiny), [0], tmp_path)
    for trials in (None, 2):
        with pytest.raises(ValueError, match=r"task\.tasks \(rating\) rank no items"):
            choose_settings(tiny, read_axes(["task.tasks=sequential,rating"], tiny), [0], tmp_path, trials=trials)
    assert trained == []
    choose_settings(writes, read_axes(["task.tasks=sequential,sequential+rating"], tiny), [0], tmp_path)
    assert len(trained) == 2
