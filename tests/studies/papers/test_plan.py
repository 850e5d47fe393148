"""What is missing for the papers' tables: its order, its estimates, and a budget that ends and goes on."""

import contextlib
import dataclasses
import json
import logging
import math
import pathlib
from collections.abc import Callable, Iterator

import pytest

from jaxrec.baselines.registry import Settings
from jaxrec.cli.failures import failure
from jaxrec.config import Config
from jaxrec.studies.papers import plan, request, tables
from jaxrec.studies.papers.paper_table import PaperTable
from jaxrec.studies.papers.plan import Durations, Job, parse_duration, plan_lines, table_jobs
from jaxrec.studies.work import OUT_OF_TIME, Failure
from jaxrec.studies.workers import Ended, Task, Workers
from jaxrec.training.interrupt import OutOfTimeError


def longer(config: Config, times: int) -> Config:
    assert config.train.steps is not None
    return dataclasses.replace(config, train=dataclasses.replace(config.train, steps=config.train.steps * times))


@pytest.fixture
def rows(tiny: Config, monkeypatch: pytest.MonkeyPatch) -> dict[str, Config]:
    """A study's rows, the dearest first."""
    made = {"META ID": longer(tiny, 4), "IID": longer(tiny, 2), "RID": tiny}
    monkeypatch.setattr(request, "load_study", lambda _: made)
    return made


def jobs(out: pathlib.Path, numbers: tuple[int, ...] = (8, 1), seeds: tuple[int, ...] = (0,), **more) -> list[Job]:
    asked = [request.table_request("meta_id", number, "mine.py", None, out, None) for number in numbers]
    return [job for job in table_jobs(asked, seeds, **more) if not job.finished]


def finish(job: Job) -> None:
    folder = job.config.folder / ("test" if job.baseline else "")
    folder.mkdir(parents=True)
    (folder / "results.json").write_text("{}")


def test_each_run_is_planned_once_the_cheapest_first(rows, tmp_path: pathlib.Path) -> None:
    found = jobs(tmp_path)
    names = ["Caser", "HGN", "GRU4Rec", "BERT4Rec", "FDSA", "SASRec", "S3-Rec", "CL4SRec", "RID", "IID", "META ID"]
    assert [job.name for job in found] == names
    assert found[-1].tables == ("META_ID-8", "META_ID-1")
    finish(found[0])
    finish(found[-1])
    assert [job.name for job in jobs(tmp_path)] == names[1:-1]
    assert [job.name for job in jobs(tmp_path, only=("sasrec", "meta id", "rid"))] == ["SASRec", "RID"]
    two = [job.name for job in jobs(tmp_path, (8,), (0, 1))]
    assert two == ["IID, seed 0", "IID, seed 1", "META ID, seed 1"]
    with pytest.raises(ValueError, match="only ncf, Books: these tables train no such row; they train IID, META ID"):
        jobs(tmp_path, (8,), only=("ncf", "IID", "Books"))


def test_durations_of_finished_runs_tell_of_others(rows, tmp_path: pathlib.Path, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(plan.time, "monotonic", lambda: now[0])
    sasrec, rid, iid, meta_id = jobs(tmp_path, only=("SASRec", "RID", "IID", "META ID"))
    durations = Durations(tmp_path)
    assert [durations.estimate(job) for job in (sasrec, rid, meta_id)] == [None] * 3
    assert plan_lines([rid, iid], durations)[-1].startswith("? (2): not known before a run of its kind has finished")
    with contextlib.suppress(SystemExit), durations.timed(rid):  # stopped after 40 s
        now[0] += 40
        raise SystemExit(143)
    assert durations.estimate(iid) is None
    with durations.timed(rid):
        now[0] += 60
        finish(rid)
    for known in (durations, Durations(tmp_path)):
        assert known.estimate(iid) == pytest.approx(200)
        assert known.estimate(meta_id) == pytest.approx(400)
        assert known.estimate(sasrec) is None
    with durations.timed(meta_id):
        now[0] += 150
    assert durations.estimate(meta_id) == pytest.approx(250)
    lines = plan_lines([sasrec, iid, meta_id], durations)
    finish(iid)
    iid.results.write_text('{"seconds": 30.0}')  # of a run that was made elsewhere
    assert Durations(tmp_path, [iid]).estimate(meta_id) == pytest.approx(
        (100 / rid.work + 30 / iid.work) / 2 * meta_id.work - 150
    )
    iid.results.write_text('{"seconds": null}')  # of one that was resumed
    assert Durations(tmp_path, [iid]).estimate(meta_id) == pytest.approx(250)
    assert "IID          3:20  for META_ID-8" in lines[2]
    assert lines[-1].startswith("about 7:30 in all; ? (1): not known")


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1.5", 1.5)])
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0h", "soon", "-2h", "2h2h", "1.2.3h", "h"])
def test_no_durations_are_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration above 0; write it as 2h"):
        parse_duration(text)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that are "trained", each in an instant; "IID" takes as long as the limit around it."""
    names: list[str] = []

    def results_of(config: Config, vectors: dict) -> None:
        names.append(config.folder.name)
        if names[-1] == "iid-0" and names.count("iid-0") < 2:
            raise OutOfTimeError
        config.folder.mkdir(parents=True, exist_ok=True)
        (config.folder / "results.json").write_text(json.dumps({"rows": []}))

    monkeypatch.setattr(tables, "results_of", results_of)
    monkeypatch.setattr(tables.baselines, "train_baseline", lambda name, *_: names.append(name))
    return names


Asked = Callable[..., list[str]]


@pytest.fixture
def missing() -> dict[str, list[str]]:
    """Names of the runs that each table lacks when it is filled."""
    return {}


@pytest.fixture
def ask(rows, missing: dict[str, list[str]], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Asks for tables 8 and 4, which are filled with nothing: their names, in the order in which they come."""

    def fill(asked: request.TableRequest, seeds) -> PaperTable:
        missing[asked.stem] = [job.name for job in table_jobs([asked], seeds) if not job.finished]
        return PaperTable(**{f.name: () for f in dataclasses.fields(PaperTable)} | {"paper": asked.stem})  # type: ignore[arg-type]

    monkeypatch.setattr(tables, "fill_table", fill)
    monkeypatch.setattr(tables, "table_markdown", lambda table: "")
    monkeypatch.setattr(PaperTable, "to_json", lambda table: "{}")
    return lambda **more: [
        table.paper
        for table in tables.paper_tables(
            "meta_id", (8, 4), (0,), tmp_path, Settings(), study="mine.py", only=("IID", "META ID"), **more
        )
    ]


def test_a_spent_budget_fills_what_is_there_and_the_next_call_goes_on(
    ask: Asked, trained: list[str], missing: dict[str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jaxrec")
    assert ask(budget=60.0) == ["META_ID-8", "META_ID-4"]
    assert trained == ["iid-0"]
    assert missing == {"META_ID-8": ["IID", "META ID"], "META_ID-4": ["META ID"]}
    assert "the budget is spent; the same command goes on" in caplog.text
    assert "2 runs are missing" in caplog.messages[-1]
    assert ask(budget=1e-9) == ["META_ID-8", "META_ID-4"]  # spent when the first run has ended
    assert trained == ["iid-0"] * 2
    assert missing["META_ID-8"] == ["META ID"]
    assert ask() == ["META_ID-8", "META_ID-4"]
    assert trained == ["iid-0", "iid-0", "meta_id-0"]
    assert missing == {"META_ID-8": [], "META_ID-4": []}
    assert ask() == ["META_ID-8", "META_ID-4"]
    assert caplog.messages[-1] == "every run of these tables is finished"


def test_side_by_side_each_table_comes_when_its_runs_have_ended(
    ask: Asked, missing: dict[str, list[str]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "jaxrec")
    filled: dict[str, list[str]] = {}

    def run_tasks(tasks: list[Task], workers: Workers, deadline: float) -> Iterator[Ended]:
        assert workers.count == 2
        for task in reversed(tasks):
            if deadline < math.inf and task.name == "IID":
                yield Ended(task, 5.0, OUT_OF_TIME)
            else:
                task.config.folder.mkdir(parents=True, exist_ok=True)
                (task.config.folder / "results.json").write_text(json.dumps({"rows": []}))
                yield Ended(task, 5.0, None)
            filled[task.name] = list(missing)

    monkeypatch.setattr(tables, "run_tasks", run_tasks)
    assert ask(budget=60.0, workers=Workers(2)) == ["META_ID-4", "META_ID-8"]
    assert filled == {"META ID": ["META_ID-4"], "IID": ["META_ID-4"]}
    assert missing == {"META_ID-4": [], "META_ID-8": ["IID"]}
    assert "the budget is spent; the same command goes on" in caplog.text
    assert ask(workers=Workers(2)) == ["META_ID-4", "META_ID-8"]
    assert missing == {"META_ID-8": [], "META_ID-4": []}


def test_a_run_that_fails_side_by_side_is_named_at_the_end(ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tables, "run_tasks", lambda tasks, *_: (Ended(task, 1.0, Failure(3, "reasons")) for task in tasks)
    )
    with pytest.raises(ValueError, match=r"2 of 2 runs failed: IID, META ID. IID \(.*\): reasons") as told:
        ask(workers=Workers(2))
    assert failure(told.value)[0] == 3
