"""One rule for names, numbers and texts, whatever type a column has."""

import datetime
import decimal
import pathlib

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxrec.data.readers.registry import read, read_events
from jaxrec.types import DataError


def parquet(tmp_path: pathlib.Path, **columns: object) -> pathlib.Path:
    path = tmp_path / "events.parquet"
    arrays = {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), path)
    return path


DICTIONARY = pa.array(["5", "x", "5"]).dictionary_encode()
NAMES = {
    "texts": (pa.array(["5", "x", "5"]), ["5", "x", "5"]),
    "large texts": (pa.array(["5", "x", "5"], pa.large_string()), ["5", "x", "5"]),
    "views of texts": (pa.array(["5", "x", "5"], pa.string_view()), ["5", "x", "5"]),
    "dictionary": (DICTIONARY, ["5", "x", "5"]),
    "dictionary of numbers": (pa.array([5, 7, 5]).dictionary_encode(), ["5", "7", "5"]),
    "whole numbers": (pa.array([5, -7, 2**62]), ["5", "-7", str(2**62)]),
    "unsigned": (pa.array([5, 7, 2**64 - 1], pa.uint64()), ["5", "7", str(2**64 - 1)]),
    "bytes of numbers": (pa.array([5, 7, 9], pa.int8()), ["5", "7", "9"]),
    "whole floats": (pa.array([5.0, -0.0, 2.0**52]), ["5", "0", str(2**52)]),
    "half floats": (pa.array([5.0, 7.0, 9.0], pa.float32()), ["5", "7", "9"]),
    "decimals": (
        pa.array([decimal.Decimal("5.00"), decimal.Decimal("7.00"), decimal.Decimal("9.00")]),
        ["5", "7", "9"],
    ),
    "decimals without a point": (pa.array([decimal.Decimal(5)] * 3, pa.decimal128(5, 0)), ["5"] * 3),
    "long decimals": (pa.array([decimal.Decimal(5)] * 3, pa.decimal256(50, 2)), ["5"] * 3),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["user", "item"])
def test_names_of_typed_columns(name: str, role: str, tmp_path: pathlib.Path) -> None:
    values, expected = NAMES[name]
    other = "item" if role == "user" else "user"
    frame = read_events(parquet(tmp_path, **{role: values, other: ["a", "b", "c"]}))
    assert frame[role].to_list() == expected
    assert frame.schema == {"user": pl.String, "item": pl.String}


NO_NAMES = {
    "a part of one": (pa.array([5.0, 1.5]), "row 2: the user 1.5 \\(column 'user'\\) is not a whole number"),
    "too large to be exact": (pa.array([1.0, 2.0**60]), "row 2: .* is not a whole number"),
    "infinite": (pa.array([1.0, float("inf")]), "row 2: .* is not a whole number"),
    "NaN": (pa.array([1.0, float("nan")]), "row 2: the user is missing"),
    "null": (pa.array(["a", None]), "row 2: the user is missing"),
    "null of a dictionary": (pa.array(["a", None]).dictionary_encode(), "row 2: the user is missing"),
    "null number": (pa.array([1, None]), "row 2: the user is missing"),
    "nothing but nulls": (pa.nulls(2), "row 1: the user is missing"),
    "empty": (pa.array(["a", ""]), "row 2: the user is missing"),
    "blank": (pa.array(["a", " \t\u00a0"]), "row 2: the user is missing"),
    "NUL": (pa.array(["a", "b\0"]), "row 2: the user holds a NUL character"),
    "part of a decimal": (
        pa.array([decimal.Decimal("1.0"), decimal.Decimal("1.5")]),
        "row 2: .* is not a whole number",
    ),
    "truth": (pa.array([True, False]), "the user \\(column 'user'\\) is of the type Boolean; texts or whole numbers"),
    "list": (pa.array([["a"], []]), "is of the type 'list<.*'; texts or whole numbers are wanted"),
    "struct": (pa.array([{"a": 1}, {"a": 2}]), "is of the type 'struct<.*'; texts"),
    "map": (pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())), 'is of the type "map<.*; texts'),
    "bytes": (pa.array([b"\xff", b"a"]), "is of the type 'binary'; texts"),
    "fixed bytes": (pa.array([b"\xff", b"a"], pa.binary(1)), "is of the type 'fixed_size_binary"),
    "duration": (pa.array([1, 2], pa.duration("us")), "is of the type 'duration"),
    "time of day": (pa.array([1, 2], pa.time64("us")), "is of the type 'time64"),
    "moment": (pa.array([1, 2], pa.timestamp("us")), "is of the type Datetime"),
    "day": (pa.array([1, 2], pa.date32()), "is of the type Date"),
}


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_refused(name: str, tmp_path: pathlib.Path) -> None:
    values, problem = NO_NAMES[name]
    with pytest.raises(DataError, match=problem) as caught:
        read_events(parquet(tmp_path, user=values, item=["a", "b"]))
    assert str(caught.value).isprintable()


def test_ratings_of_typed_columns(tmp_path: pathlib.Path) -> None:
    for values in (pa.array([1, 5]), pa.array([1.0, 5.0]), pa.array(["1", " 5.0 "]), pa.array([1, 5], pa.uint8())):
        frame = read_events(parquet(tmp_path, user=["a", "b"], item=["x", "y"], rating=values))
        assert frame["rating"].to_list() == [1.0, 5.0]
    frame = read_events(parquet(tmp_path, user=["a"], item=["x"], rating=[decimal.Decimal("4.5")]))
    assert frame["rating"].to_list() == [4.5]
    for values, problem in (
        ([1.0, 1e39], "row 2: the rating '1e\\+39' is too large"),
        ([1.0, float("nan")], "row 2: the rating is missing"),
        (["1", "good"], "row 2: the rating 'good' is not a number"),
        (["1", ""], "row 2: the rating is missing"),
        ([True, False], "the rating .* is of the type Boolean; numbers are wanted"),
        ([[1], [2]], "is of the type 'list<.*'; numbers are wanted"),
    ):
        with pytest.raises(DataError, match=problem):
            read_events(parquet(tmp_path, user=["a", "b"], item=["x", "y"], rating=values))


def test_times_and_texts_of_typed_columns(tmp_path: pathlib.Path) -> None:
    frame = read_events(
        parquet(
            tmp_path,
            user=["a"],
            item=["x"],
            time=[datetime.datetime(2020, 9, 13, 12, 33, 50, tzinfo=datetime.UTC)],
            review=pa.array(["fine"]).dictionary_encode(),
            summary=[None],
        )
    )
    assert frame.rows() == [("a", "x", 1_600_000_430_000, "fine", "")]


def test_columns_without_a_role_may_be_of_any_type(tmp_path: pathlib.Path) -> None:
    path = parquet(tmp_path, user=["a"], item=["x"], other=[{"a": [b"1"]}], more=pa.array([1], pa.duration("s")))
    assert read_events(path).rows() == [("a", "x")]


def test_blanks_around_names_are_cut_and_counted(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text('user, item ,rating\nu1, x,1\nu1 ,x\u00a0,2\n" u1",a b ,3\n')
    events = read(path)
    assert events.frame.rows() == [("u1", "x", 1.0), ("u1", "x", 2.0), ("u1", "a b", 3.0)]
    assert events.notes == (
        "2 user names have blanks around them, which were cut",
        "3 item names have blanks around them, which were cut",
    )


def test_names_that_may_be_mistakes_are_noted(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,item\nnan,1.0\nu,2.0\n")
    assert read(path).frame.rows() == [("nan", "1.0"), ("u", "2.0")]
    assert [note[:30] for note in read(path).notes] == [
        "1 events have the user 'nan', ",
        "every item is written like '1.",
    ]
