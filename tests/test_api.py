"""The library as a notebook uses it: frames in, objects out, the same errors as the command line's."""

import dataclasses
import pathlib
import subprocess
import sys

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import jaxrec
from jaxrec.api import functions
from jaxrec.config import Config
from jaxrec.data.frames import store_frame
from jaxrec.data.load import load_interactions
from jaxrec.data.synthetic import generate_world
from jaxrec.studies.workers import Workers

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def frame(tiny: Config) -> pl.DataFrame:
    """The generated world as somebody's own data."""
    world = generate_world(tiny.data.world, seed=3)
    rows = {
        "customer_id": world.user_names[world.user].tolist(),
        "item_id": world.item_names[world.item].tolist(),
        "rating": world.rating,
        "timestamp": world.time,
        "item_title": [f"Title of {name}" for name in world.item_names[world.item]],
    }
    return pl.DataFrame(rows)


@pytest.fixture(scope="module")
def config(tiny: Config) -> Config:
    return dataclasses.replace(tiny, train=dataclasses.replace(tiny.train, steps=4))


@pytest.fixture(scope="module")
def run(config: Config, frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> jaxrec.TrainedRun:
    folder = tmp_path_factory.mktemp("runs") / "one"
    said: list[str] = []
    trained = jaxrec.train(config, frame.to_pandas(), folder, progress=said.append)
    assert any("training: 4 steps" in line for line in said)
    return trained


@pytest.mark.slow
def test_importing_it_imports_no_jax_and_training_is_a_function() -> None:
    program = (
        "import sys, jaxrec;"  # so that it takes milliseconds
        "assert not {'jax', 'numpy', 'polars'} & set(sys.modules), 'imported too much';"
        "import jaxrec.training.state; assert callable(jaxrec.train); assert 'compare' in dir(jaxrec)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    assert all(getattr(jaxrec, name) is not None for name in jaxrec.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'; it has "):
        _ = jaxrec.trian


@pytest.mark.slow
def test_results_are_rows_a_frame_and_a_table(run: jaxrec.TrainedRun) -> None:
    results = run.results
    assert results.rows[0].system == "META ID"
    assert {"popularity", "transitions"} <= {row.system for row in results.rows if row.baseline}
    framed = results.to_frame()
    assert framed.filter(pl.col("system") == "META ID")["ndcg@10"][0] == results.row("META ID").metrics["ndcg@10"]
    assert repr(results).startswith("data frame, strict protocol, test part, seed 0: all ")
    assert "<td>META ID</td>" in results._repr_html_()
    with pytest.raises(ValueError, match="system 'SASRec' has no row"):
        results.row("SASRec")


def test_recommendations_are_records_that_leave_out_what_is_excluded(run: jaxrec.TrainedRun) -> None:
    user = run.examples(1)[0]
    first = run.recommend(user, k=5)
    assert [item.score for item in first] == sorted((item.score for item in first), reverse=True)
    assert first[0].title == f"Title of {first[0].item}"
    assert first[0].id_tokens.startswith("<Item><CT")
    assert f"Title of {first[0].item} ({first[0].item})" in repr(first)
    assert first.to_frame()["item"].to_list() == [item.item for item in first]
    left_out = [first[0].item, first[2].item]
    again = run.recommend(user, k=5, exclude=left_out)
    assert len(again) == 5
    assert not set(left_out) & {item.item for item in again}
    assert first[1].item == again[0].item


def test_what_is_excluded_may_be_in_the_history(run: jaxrec.TrainedRun) -> None:
    names = [item.item for item in run.recommend(run.examples(1)[0], k=6)]
    both = run.recommend(history=names[:3], k=4, exclude=names[2:5])
    assert not set(names[:5]) & {item.item for item in both}
    assert [item.item for item in both] == [
        item.item for item in run.recommend(history=names[:3], k=10) if item.item not in names[:5]
    ][:4]


def test_a_short_list_says_why(run: jaxrec.TrainedRun) -> None:
    everything = run.recommend(history=[], k=48)
    left = [item.item for item in everything[:3]]
    others = [item.item for item in everything[3:]]
    few = run.recommend(history=[], k=5, exclude=others)
    assert {item.item for item in few} <= set(left)
    assert few.note.startswith(f"{len(few)} of 5 items: ")
    assert few.note in repr(few)


def test_wrong_names_are_refused(run: jaxrec.TrainedRun) -> None:
    with pytest.raises(ValueError, match="give either a user's name or a history"):
        run.recommend()
    with pytest.raises(ValueError, match="user 'nobody' is not in this run's data"):
        run.recommend("nobody")
    with pytest.raises(ValueError, match="item 'nothing' is not in this run's data"):
        run.recommend(history=[], exclude=["nothing"])
    with pytest.raises(ValueError, match="task 'rating' was not trained in this run"):
        run.ask("rating", user=run.examples(1)[0], items=["x"])


@pytest.mark.slow
def test_a_run_is_read_measured_updated_and_exported(
    run: jaxrec.TrainedRun, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the frame's events lie in the run's folder
    again = jaxrec.load(run.folder, beams=12)
    assert again.report.read_text().startswith("<!DOCTYPE html>")
    assert again.write_report(tmp_path / "page.html").is_file()
    exact = again.evaluate("valid", recommender="exact")
    assert exact.part == "valid"
    assert "of the exact 10 found" in repr(exact)
    items = [item.item for item in again.recommend(run.examples(1)[0], k=2)]
    update = again.update(pl.DataFrame({"user": ["newcomer"] * 3, "item": [*items, "new item"]}).to_arrow())
    assert (update.users, update.events, update.new_items) == (("newcomer",), 3, 1)
    assert str(update) == "3 new events, 1 new users, 1 new items"
    assert len(again.recommend("newcomer", k=3)) == 3
    assert len(jaxrec.load(run.folder).recommend("newcomer", k=3)) == 3
    folder = again.export(tmp_path / "exported", samples=2)
    assert (folder / "config.json").is_file()
    with pytest.raises(ValueError, match="holds no run"):
        jaxrec.load(tmp_path / "nothing")


def test_runs_are_compared(run: jaxrec.TrainedRun, config: Config, frame: pl.DataFrame, tmp_path: pathlib.Path) -> None:
    table = jaxrec.compare({"mine": config}, seeds=[0], data=frame.lazy(), out=tmp_path / "both")
    assert table.row("mine").mean("ndcg@10") == run.results.row("META ID").metrics["ndcg@10"]
    assert jaxrec.load(tmp_path / "both" / "mine-0").results.row("META ID") == run.results.row("META ID")
    with pytest.raises(ValueError, match="study holds no config"):
        jaxrec.compare({})


def test_runs_of_both_protocols_find_a_frame(
    config: Config, frame: pl.DataFrame, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(study: dict[str, Config], seeds: list[int], folder: pathlib.Path, workers: Workers) -> int:
        for protocol in ("strict", "as-released"):
            run = folder / protocol / "mine-0"
            interactions, _ = load_interactions(study["mine"].data, seed=0, beside=(run, run.parent))
            assert interactions.n_users == config.data.world.users
        return len(seeds)

    monkeypatch.setattr(functions, "compare_protocols_in", compare)
    assert jaxrec.compare_protocols({"mine": config}, [0], data=frame, out=tmp_path) == 1


def test_another_frame_is_another_config(run: jaxrec.TrainedRun, config: Config, frame: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"holds a run of another config \(data.items_path, data.path differ\)"):
        jaxrec.train(config, frame.head(400), run.folder)


def test_an_audit_looks_at_frames_and_files(frame: pl.DataFrame, tmp_path: pathlib.Path) -> None:
    report = jaxrec.audit(frame)
    assert report.audit.events == frame.height
    assert report.leak is None
    frame.write_parquet(tmp_path / "events.parquet")
    assert jaxrec.audit(str(tmp_path / "events.parquet")).audit == report.audit
    assert "transitions" in repr(report)


@pytest.mark.parametrize("kind", ["polars", "lazy", "pandas", "pyarrow"])
def test_every_kind_of_frame_is_stored_as_the_same_events(kind: str, tmp_path: pathlib.Path) -> None:
    columns = {"user": ["a", "b"], "item": ["x", "y"], "time": [1, 2], "title": ["X", None]}
    made = {"polars": pl.DataFrame, "lazy": pl.LazyFrame, "pandas": pd.DataFrame, "pyarrow": pa.table}[kind](columns)
    events, titles = store_frame(made, tmp_path / "new")
    stored = pl.read_parquet(tmp_path / "new" / events)
    assert stored.select("user", "item", "time").rows() == [("a", "x", 1), ("b", "y", 2)]
    assert titles is not None
    assert pl.read_csv(tmp_path / "new" / titles).rows(named=True) == [{"item": "x", "title": "X"}]


def test_what_is_no_frame_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="data is a list; give a file's path or a data frame"):
        store_frame([1, 2], tmp_path)
    with pytest.raises(ValueError, match="data is a data frame without rows"):
        store_frame(pl.DataFrame({"user": [], "item": []}), tmp_path)


def test_a_title_beside_a_review_is_the_reviews(tmp_path: pathlib.Path) -> None:
    frame = pl.DataFrame({"user": ["a"], "item": ["x"], "text": ["it works"], "title": ["good"]})
    assert store_frame(frame, tmp_path)[1] is None


def test_a_frame_without_users_says_which_columns_it_has(config: Config, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="no column is the user; the columns are who, item"):
        jaxrec.train(config, pl.DataFrame({"who": ["a"], "item": ["x"]}), tmp_path / "run")
