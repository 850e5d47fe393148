"""Baselines as a table: trained once, joined over seeds, refused where settings or names contradict."""

import dataclasses
import pathlib

import numpy as np
import pytest

from jaxrec.baselines.ease import EaseConfig
from jaxrec.baselines.registry import Settings
from jaxrec.baselines.sasrec import SasRecConfig
from jaxrec.config import Config, TaskConfig
from jaxrec.studies import baselines
from jaxrec.studies.baselines import compare_baselines
from jaxrec.studies.comparison import BaselineRun, Comparison

SETTINGS = Settings(
    ease=EaseConfig(regularization=(10.0,)),
    sasrec=SasRecConfig(dim=8, length=10, rows=4, row_length=16, epochs=2, heads=1, compute_dtype="float32"),
)


@pytest.mark.slow
def test_seeds_are_joined_and_nothing_is_done_twice(tiny: Config, tmp_path: pathlib.Path, monkeypatch) -> None:
    joined = compare_baselines(("sasrec", "ease"), tiny, (0, 1), tmp_path, SETTINGS)
    assert [row.system for row in joined.rows] == ["SASRec", "EASE", "popularity", "item-kNN", "transitions"]
    assert Comparison.read(tmp_path / "results.json") == joined
    own = joined.rows[0]
    assert own.seeds == (0, 1)
    assert own.n_users == (80, 80)
    with np.load(tmp_path / "sasrec-1" / "test" / "ranks.npz") as ranks:
        np.testing.assert_allclose(own.metrics["hr@10"][1], (ranks["SASRec"] < 11).mean())
    runs = joined.runs["SASRec"]
    assert [run.seed for run in runs] == [0, 1]
    assert isinstance(runs[0], BaselineRun)
    assert runs[0].settings["dim"] == 8
    assert 0 <= runs[0].validation["ndcg@10"] <= 1
    assert " ± " in str(joined).splitlines()[2]
    assert [i.system for i in joined.intervals] == ["SASRec", "SASRec", "EASE", "EASE"]
    assert {i.baseline for i in joined.intervals} <= {"popularity", "item-kNN", "transitions"}

    def never(*_):
        raise AssertionError("it was measured already")

    monkeypatch.setattr(baselines, "evaluate_scores", never)
    assert compare_baselines(("sasrec", "ease"), tiny, (0, 1), tmp_path, SETTINGS).rows == joined.rows
    other = dataclasses.replace(SETTINGS, sasrec=dataclasses.replace(SETTINGS.sasrec, dim=4))
    with pytest.raises(ValueError, match=r"other settings \(dim differ\)"):
        compare_baselines(("sasrec",), tiny, (0,), tmp_path, other)


def test_validation_items_have_a_table_of_their_own(tiny: Config, tmp_path: pathlib.Path) -> None:
    joined = compare_baselines(("ease",), tiny, (0,), tmp_path, SETTINGS, part="valid")
    assert joined.part == "valid"
    assert (tmp_path / "valid.json").is_file()
    assert not (tmp_path / "results.json").exists()
    run = joined.runs["EASE"][0]
    assert isinstance(run, BaselineRun)
    assert run.validation["ndcg@10"] == joined.rows[0].metrics["ndcg@10"][0]


@pytest.mark.parametrize("tasks", [("rating", "review"), ("direct", "sequential", "rating")])
def test_what_a_config_asks_changes_nothing(tiny: Config, tmp_path: pathlib.Path, tasks) -> None:
    """Tasks that write alone have no leave-one-out split, and with others they hold ratings back."""
    joined = compare_baselines(("ease",), tiny, (0,), tmp_path / "plain", SETTINGS)
    other = dataclasses.replace(tiny, task=TaskConfig(tasks=tasks))
    actual = compare_baselines(("ease",), other, (0,), tmp_path / "asked", SETTINGS)
    assert actual.protocol == joined.protocol == "strict"
    for row, joined_row in zip(actual.rows, joined.rows, strict=True):
        assert row == joined_row
    with (
        np.load(tmp_path / "plain/ease-0/test/ranks.npz") as ranks,
        np.load(tmp_path / "asked/ease-0/test/ranks.npz") as others,
    ):
        np.testing.assert_array_equal(ranks["EASE"], others["EASE"])
        assert len(ranks["EASE"]) == 80


def test_a_config_with_two_answers_lends_its_data(tiny: Config, tmp_path: pathlib.Path) -> None:
    both = tiny.replace(
        answer="both", model__backbone="item_decoder", ids__users="none", task__tasks=("autoregressive",)
    )
    one, other = (compare_baselines(("ease",), c, (0,), tmp_path / c.answer, SETTINGS) for c in (both, tiny))
    assert one.rows == other.rows


@pytest.mark.soak
def test_every_baseline_trains_from_its_settings(tiny: Config, tmp_path: pathlib.Path) -> None:
    few = {"epochs": 1, "validate_every": 1}
    sizes = {"dim": 8, "length": 10, "rows": 4, "row_length": 16}
    changed = {}
    for field in dataclasses.fields(Settings):
        default = getattr(Settings(), field.name)
        known = {f.name for f in dataclasses.fields(default)}
        changed[field.name] = dataclasses.replace(default, **{k: v for k, v in (few | sizes).items() if k in known})
    names = list(baselines.BASELINES)
    assert names == [field.name for field in dataclasses.fields(Settings)]
    joined = compare_baselines(names, tiny, (0,), tmp_path, Settings(**changed))
    assert len(joined.rows) == len(names) + 3
    assert all(0 <= row.metrics["hr@10"][0] <= 1 for row in joined.rows)


def test_what_cannot_be_is_named(tiny: Config, tmp_path: pathlib.Path) -> None:
    for names, seeds, message in (
        (("sasrek",), (0,), "sasrek: give some of mf, lightgcn"),
        ((), (0,), "give some of"),
        (("ease", "ease"), (0,), "twice"),
        (("ease",), (), "--seeds 0"),
    ):
        with pytest.raises(ValueError, match=message):
            compare_baselines(names, tiny, seeds, tmp_path, SETTINGS)
    data = dataclasses.replace(tiny.data, path="no-such-file.csv")
    with pytest.raises(ValueError, match="FDSA learns from attributes of items, and this data has none"):
        compare_baselines(("ease", "fdsa"), dataclasses.replace(tiny, data=data), (0,), tmp_path, SETTINGS)
    assert not list(tmp_path.iterdir()), "nothing was trained"
    with pytest.raises(ValueError, match="take strict"):
        compare_baselines(("ease",), dataclasses.replace(tiny, protocol="as-released"), (0,), tmp_path, SETTINGS)
