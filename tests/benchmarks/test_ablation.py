"""The grid of cells, the settings they share, and two of them trained end to end on a tiny world."""

import dataclasses
import itertools
import json
import pathlib

import numpy as np
import pytest

from benchmarks import ablation
from jaxrec import experiment
from jaxrec.config import Config, load_config
from jaxrec.system import run as runs
from jaxrec.system import training
from jaxrec.system.stages import build

DEMO = pathlib.Path(__file__).parent.parent.parent / "configs" / "demo_token_rec.py"


@pytest.fixture(scope="module")
def demo() -> Config:
    return load_config(DEMO)


def test_grid_holds_every_cell_once_by_name(demo: Config) -> None:
    study = ablation.grid(demo, ablation.IDS, tuple(ablation.ANSWERS), tuple(ablation.EMBEDDERS))
    assert len(study) == 12 * 2 * len(ablation.EMBEDDERS)
    cells = {(c.ids.kind, c.answer, c.embedder) for c in study.values()}
    assert cells == set(itertools.product(ablation.IDS, ("id", "vector"), ablation.EMBEDDERS))
    assert study["TokenRec"] == dataclasses.replace(demo, eval=dataclasses.replace(demo.eval, recommender="beam"))
    assert study["META ID"].embedder == "walks"
    assert study["LightGCN + RQ-VAE ids + retrieval"].ids.kind == "rq_vae"
    changed = {"embedder", "answer", "ids", "train", "eval"}
    for config in study.values():
        for field in dataclasses.fields(config):
            assert field.name in changed or getattr(config, field.name) == getattr(demo, field.name)


@pytest.mark.parametrize(
    ("ids", "recommender", "source", "target"),
    [  # The demo's rows: 192 tokens for items of 4, and 4 answers.
        ("mq", "retrieval", 192, 4 * 2),
        ("mq", "beam", 240, 4 * (1 + 3 + 1 + 1)),  # items of 5: prefix, three codes, number
        ("meta_id", "beam", 192, 4 * (1 + 2 + 1)),
        ("kmeans", "beam", 192, 4 * (1 + 1 + 1 + 1)),
        ("kmeans", "retrieval", 192, 4 * 2),
    ],
)
def test_rows_hold_as_many_answers(demo: Config, ids: str, recommender: str, source: int, target: int) -> None:
    train = ablation.cell(demo, ids, recommender, "mf").train
    assert (train.source_length, train.target_length) == (source, target)


def test_lists_as_long_as_the_table_needs(demo: Config) -> None:
    short = dataclasses.replace(demo, eval=dataclasses.replace(demo.eval, beams=10))
    with pytest.raises(ValueError, match=r"eval.beams=10 can't list 20 items"):
        ablation.grid(short, ["mq"], ["retrieval", "beam"], ["mf"])
    assert len(ablation.grid(short, ["mq"], ["retrieval"], ["mf"])) == 1


@pytest.mark.soak
def test_two_cells_are_trained_once_and_tabled(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base.py"  # one question, asked in one way: fewer things to compile
    base.write_text(
        "import dataclasses\nfrom jaxrec.config import load_config\n"
        f"demo = load_config({str(DEMO)!r})\n"
        "task = dataclasses.replace(demo.task, tasks=('collaborative',))\n"
        "evaluation = dataclasses.replace(demo.eval, prompt='seen')\n"
        "config = dataclasses.replace(demo, task=task, eval=evaluation)\n"
    )
    arguments = [str(base), "--quick", "--ids", "kmeans", "--embedders", "mf", "--out", str(tmp_path)]
    ablation.main(arguments)
    printed = capsys.readouterr().out
    names = ["MF + K-means ids + beam", "MF + K-means ids + retrieval"]
    rows = {row["system"]: row for row in json.loads((tmp_path / "results.json").read_text())["rows"]}
    assert {*names, "MF", "popularity"} <= set(rows)
    assert all(0 <= rows[name]["hr@10"][0] <= 1 for name in names)
    assert all(any(line.startswith(f"{name} ") for line in printed.splitlines()) for name in names)
    vectors = [np.load(file)["item"] for file in tmp_path.glob("*/vectors.npz")]
    assert len(vectors) == 2
    np.testing.assert_array_equal(*vectors)

    # A packed row is cut to what an answer takes, exactly.
    for folder in tmp_path.glob("mf*"):
        system = build(runs.reopen(folder))
        _, target = training.training_examples(system).lengths(0)
        assert set(target) == {ablation._answer_tokens(system.config)}
        assert system.item_tokens.shape[1] == ablation._id_tokens(system.config)

    def trained(config: Config) -> None:
        raise AssertionError(f"{config.name} was trained again")

    monkeypatch.setattr(experiment, "train", trained)
    ablation.main(arguments)
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([str(DEMO), "--ids", "mq", "huffman"], "--ids: invalid choice: 'huffman' (choose from"),
        ([str(DEMO), "--embedders", "bert"], "--embedders: invalid choice: 'bert'"),
        ([str(DEMO), "--recommenders", "greedy"], "--recommenders: invalid choice: 'greedy'"),
        (["configs/nowhere.py"], "config configs/nowhere.py is neither a file nor a preset"),
    ],
)
def test_unknown_names_are_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        ablation.main(arguments)
    assert message in capsys.readouterr().err
