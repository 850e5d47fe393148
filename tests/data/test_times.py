"""Times of every kind become milliseconds, or an error names the line and what is wrong."""

import datetime
import decimal
import pathlib

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.readers.times import PER_SECOND, milliseconds
from jaxrec.data.source_file import SourceFile
from jaxrec.types import DataError

UTC = datetime.UTC


def table() -> NamedTable:
    return NamedTable(SourceFile(pathlib.Path("events"), b"\n" * 20), pl.DataFrame(), lambda row: row + 2)


def read(values: list | pl.Series, unit: str = "auto") -> list[int]:
    series = values if isinstance(values, pl.Series) else pl.Series("time", values)
    return milliseconds(table(), series.alias("time"), unit).to_list()


def refused(values: list | pl.Series, unit: str = "auto") -> str:
    with pytest.raises(DataError) as caught:
        read(values, unit)
    return str(caught.value)


MOMENT = 1_600_000_430_000
ISO = {
    "2020-09-13 12:33:50": MOMENT,
    "2020-09-13T12:33:50": MOMENT,
    "2020-09-13T12:33:50Z": MOMENT,
    "2020-09-13 12:33:50 UTC": MOMENT,
    "2020-09-13T12:33:50.25+00:00": MOMENT + 250,
    "2020-09-13 12:33:50,123456789": MOMENT + 123,
    "2020-09-13T14:33:50+02:00": MOMENT,
    "2020-09-13T07:03:50-0530": MOMENT,
    "2020-09-13T14:33+02": MOMENT - 50_000,
    "2020-09-13": 1_599_955_200_000,
    "0001-01-01": -62_135_596_800_000,
}


def test_iso_texts() -> None:
    assert read(list(ISO)) == list(ISO.values())
    assert read(pl.Series(list(ISO)).cast(pl.Categorical)) == list(ISO.values())


@settings(max_examples=100, deadline=None)
@given(
    st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)),
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from("T "),
)
def test_iso_texts_are_what_python_reads(moment: datetime.datetime, minutes: int, between: str) -> None:
    moment = moment.replace(tzinfo=datetime.timezone(datetime.timedelta(minutes=minutes)))
    since = moment - datetime.datetime(1970, 1, 1, tzinfo=UTC)
    assert read([moment.isoformat(between)]) == [since // datetime.timedelta(milliseconds=1)]


@pytest.mark.parametrize("unit", PER_SECOND)
@pytest.mark.parametrize("kind", [int, float, str])
def test_the_unit_of_numbers_is_told_by_all_rows(unit: str, kind: type) -> None:
    seconds = [1_600_000_430, 946_684_800, 4_000_000_000]
    values = [kind(value * PER_SECOND[unit]) for value in seconds]
    assert read(values) == [value * 1000 for value in seconds] == read(values, unit)


def test_numbers_of_other_kinds() -> None:
    assert read([1_600_000_430.25]) == [MOMENT + 250]
    assert read([decimal.Decimal("1600000430.5")]) == [MOMENT + 500]
    assert read([" 1600000430 ", "1.60000043e9"]) == [MOMENT, MOMENT]
    assert read([0, 1, 7]) == [0, 1000, 7000]  # counted from the first event
    assert read([-5], "s") == [-5000]
    assert read(pl.Series([1_600_000_430], dtype=pl.UInt64)) == [MOMENT]


def test_dates_written_as_numbers() -> None:
    assert read([20200913, 20200914]) == [1_599_955_200_000, 1_600_041_600_000]
    assert read(["20200913123350"]) == [MOMENT]
    assert read([202009131233, 202009131234]) == [MOMENT - 50_000, MOMENT + 10_000]
    assert read([2020091312]) == [MOMENT - 50_000 - 33 * 60_000]
    assert read([20200913], "s") == [20_200_913_000]
    assert "'20200931' is no date, and most of the others are" in refused([20200913, 20200931, 20200914])
    noted = table()
    milliseconds(noted, pl.Series([20200913]), "auto")
    assert noted.source.notes == [
        "times are dates written as numbers, like 20200913; --data.time-unit s reads them as seconds"
    ]


def test_typed_dates() -> None:
    moment = datetime.datetime(2020, 9, 13, 12, 33, 50)
    for unit in ("ms", "us", "ns"):
        assert read(pl.Series([moment], dtype=pl.Datetime(unit))) == [MOMENT]
    zoned = datetime.datetime(2020, 9, 13, 14, 33, 50, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    assert read([zoned]) == [MOMENT]
    assert read([datetime.date(2020, 9, 13)]) == [1_599_955_200_000]


REFUSED = {
    "mixed units": ([1_600_000_430_000, 1_600_000_488], "events:3: the time '1600000488' is a date in s, and"),
    "units far below": ([1_600_000_430] * 8 + [1_600_000_430_000], "events:10: .* is a date in ms, and .* in line 2"),
    "zero among dates": ([1_600_000_430, 0], "events:3: the time '0' is a date in seconds before 1980, and"),
    "a number among dates": (["2020-09-13", "1600000430"], "events:3: .* is a number, and '2020-09-13' in line 2 is a"),
    "huge": ([1e300], "events:2: the time '1e\\+300' is no date from 1980 to 2100"),
    "above i64": ([2.0**63], "is no date from 1980"),
    "above i63 as u64": (pl.Series([2**63 + 5], dtype=pl.UInt64), "is no date from 1980"),
    "infinite": ([float("inf")], "the time 'inf' is not a number"),
    "nan text": (["nan"], "the time 'nan' is not a number"),
    "nan": ([1.0, float("nan")], "events:3: the time is missing"),
    "null": ([1, None], "events:3: the time is missing"),
    "blank": (["1", " "], "events:3: the time is missing"),
    "words": (["last week"], "'last week' is not a number and no date; wanted is"),
    "american": (["09/13/2020"], "is not a number and no date"),
    "no such day": (["2020-02-30"], "is not a number and no date"),
    "no such hour": (["2020-02-20 24:00:00"], "is not a number and no date"),
    "half": (["2020-09-13T"], "is not a number and no date"),
    "truth": (
        [True],
        "events: the time \\(column 'time'\\) is of the type Boolean; numbers, ISO 8601 texts or dates are",
    ),
    "duration": ([datetime.timedelta(1)], "is of the type Duration"),
    "time of day": ([datetime.time(1)], "is of the type Time"),
    "list": ([[1]], "is of the type List"),
    "bytes": ([b"\xff"], "is of the type Binary"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_rest_is_refused(name: str) -> None:
    values, problem = REFUSED[name]
    with pytest.raises(DataError, match=problem):
        read(values)


def test_a_named_unit_is_checked_too() -> None:
    assert "is not between the years 1 and 9999 in s" in refused([1_600_000_430_000], "s")
    assert "is not between the years 1 and 9999 in ns" in refused([1e300], "ns")
