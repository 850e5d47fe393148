"""metrics.jsonl holds each step once, whatever happened to the run before."""

import json

import pytest

from jaxrec.training.writer import Writer, read_records


def filled(folder, steps: int) -> None:
    writer = Writer(folder)
    for step in range(1, steps + 1):
        writer.write(step, loss=step / 3)
    writer.close()


def test_lines_are_there_at_once_and_exact(tmp_path) -> None:
    writer = Writer(tmp_path)
    writer.write(1, loss=1 / 3)
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "loss": 1 / 3}
    writer.close()
    assert [p.name.split(".")[0] for p in (tmp_path / "tensorboard").iterdir()] == ["events"]


def test_going_on_drops_later_steps(tmp_path) -> None:
    filled(tmp_path, 5)
    writer = Writer(tmp_path, step=3)
    writer.write(4, loss=9.0)
    writer.close()
    assert [(r["step"], r["loss"]) for r in read_records(tmp_path / "metrics.jsonl")][2:] == [(3, 1.0), (4, 9.0)]


def test_starting_anew_drops_all(tmp_path) -> None:
    filled(tmp_path, 5)
    Writer(tmp_path).close()
    assert read_records(tmp_path / "metrics.jsonl") == []


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path) -> None:
    filled(tmp_path, 3)
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text()[:-5])
    assert [r["step"] for r in read_records(path)] == [1, 2]
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 1: 'nonsense' is not a record"):
        read_records(path)


def test_without_a_folder_records_stay_in_memory() -> None:
    writer = Writer(None)
    writer.write(1, loss=2.0)
    writer.close()
    assert writer.records == [{"step": 1, "loss": 2.0}]
