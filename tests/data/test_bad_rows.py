"""Rows that can't be read are left out on request, counted and named; part files without events are passed over."""

import json
import pathlib

import numpy as np
import polars as pl
import pytest

from jaxrec.config import DataConfig
from jaxrec.data.load import load_interactions
from jaxrec.data.readers.bitmaps import after, before, bitmap, count_opening, holds, inside, places
from jaxrec.data.readers.registry import read
from jaxrec.types import DataError

GOOD = [(f"u{n}", f"i{n}", "4", str(1_600_000_000 + n)) for n in range(10)]


def csv(*bad: str) -> str:
    """A table with bad lines after every second good one."""
    lines = ["user,item,rating,time"]
    for place, row in enumerate(GOOD):
        lines += [",".join(row), *bad[place : place + 1]]
    return "\n".join(lines) + "\n"


BAD = ["u,i,4", ",i,4,1600000000", "u,i,x,1600000000", "u,i,4,never", 'u,"i"i,4,1600000000', "u,i,4,1600000000,5"]


def test_bad_lines_of_a_table(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(csv(*BAD))
    with pytest.raises(DataError, match=r"events.csv:3: 3 fields where 4 are expected"):
        read(path)
    events = read(path, bad_rows="skip")
    assert [row[0] for row in events.frame.rows()] == [row[0] for row in GOOD]
    assert events.skipped == len(BAD)
    assert events.notes == (
        "6 rows can't be read and were left out; the first are line 3: 3 fields where 4 are expected; line 5: the user"
        " is missing (column 'user'); line 7: the rating 'x' is not a number",
    )
    notes = load_interactions(DataConfig(path=str(path), bad_rows="skip", min_events=1), seed=0)[1]
    assert notes.skipped == 6
    assert "6 rows can't be read" in str(notes)


def test_bad_objects_and_rows(tmp_path: pathlib.Path) -> None:
    good = [dict(zip(("user", "item", "rating"), row)) for row in GOOD]
    lines = [json.dumps(event) for event in good]
    lines[2:2] = ['{"user": "u"', '{"user": [1], "item": "i", "rating": 1}', '{"item": "i", "rating": 1}', "5"]
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(lines) + "\n")
    events = read(path, bad_rows="skip")
    assert events.skipped == 4
    assert events.frame.height == len(GOOD)
    pl.DataFrame([*good, {"user": None, "item": "i", "rating": "1"}]).write_parquet(tmp_path / "events.parquet")
    events = read(tmp_path / "events.parquet", bad_rows="skip")
    assert (events.skipped, events.frame.height) == (1, len(GOOD))
    assert events.notes[-1].endswith("row 11: the user is missing (column 'user')")


def test_more_bad_rows_than_good_ones_are_another_format(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,item\na,b\n" + "x\n" * 3)
    with pytest.raises(DataError, match="3 rows can't be read and 1 can, so this may be another format"):
        read(path, bad_rows="skip")
    path.write_text("user,item\n,b\n,c\n")
    with pytest.raises(DataError, match="no row can be read"):
        read(path, bad_rows="skip")


def test_part_files_without_events_are_passed_over(tmp_path: pathlib.Path) -> None:
    (tmp_path / "0.csv").write_text(csv())
    (tmp_path / "1.csv").write_text("")
    (tmp_path / "2.csv").write_text("user,item,rating,time\n")
    (tmp_path / "3.csv").write_text(csv())
    events = read(tmp_path)
    assert events.frame.height == 2 * len(GOOD)
    assert "2 part files hold no event and were passed over: '1.csv', '2.csv'" in events.notes
    for name in ("0.csv", "3.csv"):
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=r"0.csv: the file is empty"):
        read(tmp_path)


def test_a_separator_is_not_used_for_parquet(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events.parquet"
    pl.DataFrame({"user": ["a"], "item": ["b"]}).write_parquet(path)
    events = read(path, separator=";")
    assert events.frame.rows() == [("a", "b")]
    assert events.notes == ("the separator is not used, as this is no text but parquet",)


def test_bitmaps_equal_loops() -> None:
    draw = np.random.default_rng(0)
    for length in (1, 63, 64, 65, 1000, 300_000):
        text = draw.choice(np.frombuffer(b'a"{[\n', np.uint8), length)
        marks = bitmap(text, b'"')
        expected = np.flatnonzero(text == ord('"'))
        assert np.array_equal(places(marks), expected)
        assert np.array_equal(places(after(marks))[: len(expected) - 1], expected[:-1] + 1)
        assert np.array_equal(places(before(marks)), expected[expected > 0] - 1)
        is_inside = np.cumsum(text == ord('"')) % 2 == 1
        assert np.array_equal(places(inside(marks))[: is_inside.sum()], np.flatnonzero(is_inside))
        assert count_opening(text) == np.isin(text, list(b"{[")).sum()
        assert holds(text, b'"{') == (b'"{' in text.tobytes())
