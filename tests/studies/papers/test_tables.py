"""The papers' tables: figures as printed, ours from runs that are known beforehand, and what is asked wrongly."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jaxrec.baselines.registry import BASELINES, Settings
from jaxrec.config import Config, load_study, to_json
from jaxrec.evaluate.ranking import metrics
from jaxrec.studies.papers import request, tables
from jaxrec.studies.papers.contradictions import find_contradictions
from jaxrec.studies.papers.layouts import PUBLISHED, published_table, table_layout
from jaxrec.studies.papers.paper_table import PaperTable
from jaxrec.studies.papers.render import table_markdown, table_text
from jaxrec.studies.run_folders import run_folder

ALL = [(table.paper, table.number) for table in PUBLISHED]
RANKS = np.array([1.0, 3.0, 12.0, 25.0, np.inf, np.nan], np.float32)


def leave(folder: pathlib.Path, config: Config, ranks: dict[str, np.ndarray], **more: Any) -> None:
    """What a run leaves: config, ranks and results; the first system is the main one."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(to_json(config))
    np.savez(folder / "ranks.npz", **ranks)
    rows = [{"system": s, "n_users": int((~np.isnan(r)).sum()), "seconds": 2.0} for s, r in ranks.items()]
    rows.append({"system": "popularity", "n_users": 5, "seconds": 1.0, "baseline": True})
    actual = {"dataset": config.data.name, "protocol": "strict", "part": "test", "n_items": 48, "mask_seen": True}
    actual |= {"device": "a machine", "versions": {}, "rows": rows, **more}
    (folder / "results.json").write_text(json.dumps(actual))


@pytest.fixture
def study(tiny: Config, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that makes a study of these rows, and names its file."""

    def make_one(*names: str, **configs: Config) -> str:
        rows = dict.fromkeys(names, tiny) | configs
        monkeypatch.setattr(request, "load_study", lambda _: rows)
        return "mine.py"

    return make_one


def filled(
    out: pathlib.Path, paper: str, number: int, study: str, seeds: tuple[int, ...] = (0,), **more: Any
) -> PaperTable:
    (actual,) = tables.paper_tables(paper, [number], seeds, out, Settings(), study=study, finished_only=True, **more)
    stem = next(out.glob(f"{paper.upper()}-{number}*.json"))
    assert PaperTable.from_json(stem.read_text()) == actual
    assert stem.with_suffix(".md").read_text() == table_markdown(actual) + "\n"
    return actual


def ours(actual: PaperTable, row: str, column: str) -> list[float]:
    (mine,) = (r for r in actual.rows if r.row == row)
    return list(mine.cells[column].ours)


EVENTS = {"train": 400, "valid": 50, "test": 50, "kept_out": 7}


def notes(actual: PaperTable) -> dict[str, str]:
    return {note: who for who, note in actual.notes}


@pytest.mark.parametrize(("paper", "number"), ALL)
def test_every_row_has_its_figures_and_a_source(paper: str, number: int) -> None:
    theirs, form = published_table(paper, number), table_layout(paper, number)
    for by in theirs.rows.values():
        assert set(by) == set(theirs.datasets)
        assert all(set(figures) == set(theirs.columns) for figures in by.values())
    for row, column in itertools.product(theirs.rows, theirs.columns):
        source, measure = form.cell_source(row, column)
        assert measure
        assert source.run or source.baseline in BASELINES or source.note
    for file in form.studies.values():
        rows = load_study(file)
        assert {s.run for s in form.sources.values() if s.run and s.trained} <= set(rows)


def test_figures_are_those_of_the_papers() -> None:
    first = published_table("meta_id", 1).rows["META ID (T)"]
    assert list(first["Beauty"].values()) == ["0.0510", "0.0351", "0.0753", "0.0429"]
    assert published_table("meta_id", 12).rows["Toys"][""]["HR@10"] == "0.0761±0.00138"
    assert published_table("token_rec", 2).rows["LTGNN"]["LastFM"]["HR@20"] == "0.076"
    assert published_table("token_rec", 4).rows["CID"]["Beauty"]["Unseen:HR@20"] == "0.3336"


def test_figures_that_contradict_each_other_are_found() -> None:
    columns = ["H@5", "N@5", "H@10", "N@10"]
    # Table 2, Toys: fewer hits at ten than at five. Table 1, Beauty: 0.0266 more hits give at most 0.0266 / log2(7).
    assert find_contradictions(columns, ["0.0076", "0.0049", "0.0014", "0.0070"]) == ["N@5 to N@10"]
    assert find_contradictions(columns, ["0.0213", "0.0178", "0.0479", "0.0277"]) == ["N@5 to N@10"]
    assert find_contradictions(columns, ["0.0213", "0.0313", "0.0479", "0.0390"]) == ["N@5"]
    assert find_contradictions(["ms"], ["6.92"]) == find_contradictions(["HR@5"], ["0.05±0.01"]) == []
    rng = np.random.default_rng(0)
    for n in (7, 100, 5000):
        actual = metrics(rng.integers(1, 60, n), (5, 10))
        values = [f"{actual[m]:.4f}" for m in ("hr@5", "ndcg@5", "hr@10", "ndcg@10")]
        assert find_contradictions(columns, values) == []


def test_rows_are_filled_from_ranks(tiny: Config, study, tmp_path: pathlib.Path) -> None:
    name = study("META ID", "RID", "SID")
    better = np.where(np.isinf(RANKS), 2.0, RANKS)
    for seed, ranks in enumerate((RANKS, better)):
        config = dataclasses.replace(tiny, seed=seed)
        folder = run_folder(tmp_path / "mine", "META ID", seed)
        leave(folder, config, {"META ID": ranks, "META ID (user id only)": RANKS})
    leave(run_folder(tmp_path / "mine", "RID", 0), tiny, {"walks + RID ids + beam": RANKS})
    other = dataclasses.replace(tiny, train=dataclasses.replace(tiny.train, steps=9))
    leave(run_folder(tmp_path / "mine", "SID", 0), other, {"walks + SID ids + beam": RANKS})
    actual = filled(tmp_path, "meta_id", 1, name, (0, 1))
    assert ours(actual, "META ID (T)", "H@5") == pytest.approx([2 / 5, 3 / 5])
    assert ours(actual, "META ID (T)", "N@10") == pytest.approx([(1 + 1 / 2) / 5, (1 + 1 / 2 + 1 / np.log2(3)) / 5])
    assert ours(actual, "RID", "H@5") == pytest.approx([2 / 5])
    assert ours(actual, "SID", "H@5") == ours(actual, "Caser", "H@5") == ours(actual, "FDSA", "H@5") == []
    remarks = notes(actual)
    assert remarks["its folder holds a run of another config (train.steps differ)"] == "SID"
    assert remarks["not run with seed 1"] == "RID; SID"
    assert remarks["not in this study"] == "TIGER; CID"
    assert "Caser; HGN; GRU4Rec; BERT4Rec; FDSA; SASRec; S3-Rec; CL4SRec; META ID (L)" in remarks["not run"]
    text = table_text(actual)
    assert "META ID (T)  0.5000 ± 0.1414 (0.0510)" in text
    assert "other data than Beauty" in text
    assert "strict protocol, test part, 5 users, all 48 items ranked" in text
    assert "RID; META ID: T5 of 1+1 layers, width 16, random weights at first, 8 steps, 10 beams" in text
    assert "| META ID (T) | 0.5000 ± 0.1414 (0.0510) |" in table_markdown(actual)
    direct = filled(tmp_path, "meta_id", 2, name)
    assert ours(direct, "META ID", "H@5") == pytest.approx([2 / 5])
    assert ours(direct, "RID", "H@5") == []
    assert notes(direct)["the run has no row '(user id only)'"] == "RID, H@5, N@5, H@10, N@10"
    error = filled(tmp_path, "meta_id", 12, name, (0, 1))
    assert "0.5000 ± 0.10000 (0.0510 ± 0.00038)" in table_text(error)
    assert ours(error, "Sports", "HR@5") == []


def test_a_run_of_an_older_version_is_shown_and_told(tiny: Config, study, tmp_path: pathlib.Path) -> None:
    folder = run_folder(tmp_path / "mine", "IID", 0)
    leave(folder, tiny, {"IID": RANKS})
    held = json.loads((folder / "config.json").read_text())
    held["task"]["direct_weight"] = 0.5
    del held["task"]["words"]
    (folder / "config.json").write_text(json.dumps(held))
    actual = filled(tmp_path, "meta_id", 8, study("IID", "META ID"))
    assert ours(actual, "IID", "HR@5") == pytest.approx([2 / 5])
    assert notes(actual)["its folder was left by another version of jaxrec"] == "IID"


def test_cutoffs_that_lists_do_not_reach_stay_open(tiny: Config, study, tmp_path: pathlib.Path) -> None:
    leave(run_folder(tmp_path / "runs", "TokenRec", 0), tiny, {"TokenRec": RANKS})  # ten beams
    actual = filled(tmp_path, "token_rec", 2, study(TokenRec=tiny), folder=tmp_path / "runs")
    assert len(ours(actual, "TokenRec", "HR@10")) == 1
    assert ours(actual, "TokenRec", "HR@20") == []
    assert notes(actual)["its lists hold 10 items, so that @20 is not known"] == "TokenRec, HR@20, NG@20"


def test_rows_of_seen_and_unseen_users(tiny: Config, study, tmp_path: pathlib.Path) -> None:
    vector = dataclasses.replace(tiny, answer="vector", data=dataclasses.replace(tiny.data, unseen_users=0.1))
    name = study(**{"TokenRec": vector, "TokenRec, 5% of users unseen": vector, "CID, 5% of users unseen": vector})
    ranks = {
        "TokenRec": RANKS,
        "TokenRec, seen users": RANKS,
        "TokenRec, unseen users": np.where(RANKS < 2, 1.0, np.nan),
    }
    leave(run_folder(tmp_path / "runs", "TokenRec", 0), vector, ranks)
    leave(run_folder(tmp_path / "runs", "TokenRec, 5% of users unseen", 0), vector, ranks)
    leave(run_folder(tmp_path / "runs", "mf", 0), dataclasses.replace(vector, name="mf"), {})
    test = run_folder(tmp_path / "runs", "mf", 0) / "test"
    leave(test, vector, {"BPR-MF": RANKS}, settings={"dim": 8, "epochs": 3})
    more: dict[str, Any] = {"folder": tmp_path / "runs"}
    actual = filled(tmp_path, "token_rec", 2, name, **more)
    assert ours(actual, "TokenRec", "HR@20") == pytest.approx([3 / 5])
    assert ours(actual, "TokenRec", "HR@30") == pytest.approx([4 / 5])
    assert ours(actual, "MF", "HR@30") == pytest.approx([4 / 5])
    assert "BPR-MF: width 8, at most 3 epochs" in table_text(actual)
    four = filled(tmp_path, "token_rec", 4, name, dataset="Amazon Beauty", **more)
    assert (tmp_path / "TOKEN_REC-4-Beauty.json").is_file()
    assert ours(four, "TokenRec", "Seen:HR@20") == pytest.approx([3 / 5])
    assert ours(four, "TokenRec", "Unseen:HR@20") == [1.0]
    assert "Unseen HR@20" in table_text(four)
    assert any("misprints" in note for note in four.printed)
    assert four.users == (1, 5)


def test_times_are_compared(tiny: Config, study, tmp_path: pathlib.Path) -> None:
    name = study("TokenRec", "P5-SID", "CID")
    for row, time in (("TokenRec", 2.0), ("P5-SID", 5.0), ("CID", 7.0)):
        leave(run_folder(tmp_path / "mine", row, 0), tiny, {row: RANKS}, ms_per_user=time)
    actual = filled(tmp_path, "token_rec", 5, name, dataset="lastfm")
    assert [ours(actual, row, "ms") for row in ("P5", "POD", "TokenRec")] == [[5.0], [], [2.0]]
    assert ours(actual, "Acceleration*", "ms") == pytest.approx([200.0])
    text = table_text(actual)
    assert "200% (1284%)" in text
    assert "Ours: a machine" in text


def test_texts_stand_system_by_system(tiny: Config, study, tmp_path: pathlib.Path) -> None:
    tasks = ("sequential", "direct", "rating", "explanation", "review")
    writes = dataclasses.replace(tiny, task=dataclasses.replace(tiny.task, tasks=tasks))
    name = study(**{"META ID": writes, "RID": writes})
    rows = [
        {"task": "rating", "system": "META ID", "baseline": False, "n": 50, "rmse": 1.25, "mae": 1.0, "ms": 20.0},
        {"task": "rating", "system": "META ID, most likely", "baseline": False, "n": 50, "rmse": 1.5, "mae": 1.0},
        {"task": "rating", "system": "mean", "baseline": True, "n": 50, "rmse": 9.0, "mae": 9.0},
        {"task": "review", "system": "mean", "baseline": True, "n": 40, "bleu-1": 9.0, "bleu-4": 9.0},
        {
            "task": "review",
            "system": "META ID",
            "baseline": False,
            "n": 40,
            "bleu-1": 7.5,
            "bleu-4": 2.0,
            "ms": 100.0,
        },
    ]
    ranks = {"META ID": RANKS, "META ID (user id only)": RANKS}
    folder = run_folder(tmp_path / "mine", "META ID", 0)
    leave(
        folder,
        writes,
        ranks,
        texts={"rows": rows, "intervals": [], "events": EVENTS},
        ms_per_user=3.0,
        ms_by_task={"direct": 4.5},
    )
    actual = filled(tmp_path, "meta_id", 11, name)
    assert ours(actual, "Rating, RMSE", "META ID") == [1.25]
    assert ours(actual, "Review, BLEU-4", "META ID") == [2.0]
    assert ours(actual, "Explanation, BLEU-1", "META ID") == ours(actual, "Rating, RMSE", "RID") == []
    remarks = notes(actual)
    assert remarks["not run"] == "RID"
    assert remarks["not in this study"] == "SID; CID"
    assert "the run was not measured on explanation" in remarks
    assert any("as the paper decodes: META ID 1.5000" in note for note in remarks)
    assert "1.2500 (1.2818)" in table_text(actual)
    assert actual.users == (40, 50)
    assert "400 train (7 more are withheld by leave-one-out)" in table_text(actual)
    times = filled(tmp_path, "meta_id", 13, name)
    columns = ("Sequential", "Direct", "Rating", "Explanation", "Summarization")
    assert [ours(times, "META ID (T)", c) for c in columns] == [[3.0], [4.5], [20.0], [], [100.0]]
    assert "3.00 (74.05)" in table_text(times)


def test_what_is_missing_is_made_and_nothing_before_all_is_checked(
    tiny: Config, study, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def trained(config: Config, vectors: dict) -> None:
        made.append(config.folder.name)
        leave(config.folder, config, {"META ID": RANKS})

    def baseline(name: str, config: Config, settings) -> None:
        made.append(name)
        leave(config.folder, config, {})
        leave(config.folder / "test", config, {name: RANKS}, settings={"dim": settings.sasrec.dim, "epochs": 2})

    monkeypatch.setattr(tables, "results_of", trained)
    monkeypatch.setattr(tables.baselines, "train_baseline", baseline)
    name = study("META ID", "IID", "RID")
    asked = tables.paper_tables("meta_id", [1, 8], [0, 1], tmp_path, Settings(), study=name)
    first = next(asked)
    once = ["caser", "hgn", "gru4rec", "bert4rec", "fdsa", "sasrec", "s3rec", "cl4srec", "rid-0", "meta_id-0"]
    assert made == [*once, "iid-0", *(n.replace("-0", "-1") for n in once)]
    assert ours(first, "SASRec", "H@5") == pytest.approx([2 / 5] * 2)
    assert ours(first, "META ID (L)", "H@5") == []
    bad = dataclasses.replace(tiny, quantizer=dataclasses.replace(tiny.quantizer, mask=2.0))
    name, made[:] = study(**{"META ID": tiny, "IID": bad}), []
    with pytest.raises(ValueError, match=r"quantizer\.mask"):
        next(tables.paper_tables("meta_id", [1, 8], [0], tmp_path / "other", Settings(), study=name))
    lost = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, path="no/such.txt"))
    with pytest.raises(ValueError, match=r"'no/such\.txt' is at none of"):
        next(tables.paper_tables("meta_id", [8], [0], tmp_path / "other", Settings(), study=study(IID=lost)))
    assert made == []
    assert not (tmp_path / "other").exists()


def test_what_is_asked_wrongly_is_told(tiny: Config, study, tmp_path: pathlib.Path) -> None:
    def asked(*numbers: int, paper: str = "meta_id", seeds: tuple[int, ...] = (0,), **more: Any) -> None:
        list(tables.paper_tables(paper, numbers, seeds, tmp_path, Settings(), finished_only=True, **more))

    name = study("META ID")
    for match, call in (
        ("tables: META ID has no table of results 6; give some of 1, 2, 3", lambda: asked(6, study=name)),
        ("tables 8 8: give at least one, each once", lambda: asked(8, 8, study=name)),
        (r"seeds \(none\): give at least one", lambda: asked(8, seeds=(), study=name)),
        ("runs: all tables of a paper take several studies", lambda: asked(folder=tmp_path)),
        ("dataset 'Books' is none of META ID, table 1", lambda: asked(dataset="Books")),
        ("budget 0: give seconds above 0", lambda: asked(8, study=name, budget=0)),
        ("seeds 0 0: give at least one, each once", lambda: asked(1, seeds=(0, 0), study=name)),
        ("dataset 'Books' is none of META ID, table 1: give one of Sports", lambda: asked(1, dataset="Books")),
        (
            "dataset 'Toys': META ID, table 1 has a study for Beauty alone; give --study",
            lambda: asked(1, dataset="Toys"),
        ),
        ("no row's config has task.tasks rating", lambda: asked(3, study=name)),
        (
            r"it has no row of TokenRec, table 6 \(w/o HOCK, .*its rows: META ID",
            lambda: asked(6, paper="token_rec", study=name),
        ),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    other = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, name="another"))
    with pytest.raises(ValueError, match="one table can't hold several data"):
        asked(8, study=study(**{"META ID": tiny, "IID": other}))
    with pytest.raises(ValueError, match="paper 'other' is none of"):
        published_table("other", 1)


def test_a_study_on_data_without_attributes_says_so_and_goes_on(
    tiny: Config, study, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.txt"
    path.write_text("A x y z\n")
    on_file = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, path=str(path)))
    trained: list[str] = []
    monkeypatch.setattr(tables.baselines, "train_baseline", lambda name, *_: trained.append(name))
    monkeypatch.setattr(tables, "results_of", lambda *_: None)
    name = study("META ID", **{"META ID": on_file})
    (actual,) = tables.paper_tables("meta_id", [1], (0,), tmp_path / "out", Settings(), study=name)
    assert trained == ["caser", "hgn", "gru4rec", "bert4rec", "sasrec", "cl4srec"]
    reasons = [(who, note) for who, note in actual.notes if "attributes" in note]
    assert [who for who, _ in reasons] == ["FDSA", "S3-Rec"]
    assert reasons[0][1].startswith("FDSA learns from attributes of items, and this data has none; name the file of it")
