"""Times of any kind as milliseconds since 1970: numbers, ISO 8601 texts, dates written as numbers, typed dates."""

from __future__ import annotations

from typing import Literal, NoReturn, cast

import numpy as np
import polars as pl

from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.readers.values import refuse_missing, refuse_type
from jaxrec.text import quoted

TimeUnit = Literal["auto", "s", "ms", "us", "ns"]
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_1900, _1980, _2100 = -2_208_988_800, 315_532_800, 4_102_444_800
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800
DATE_DIGITS = (8, 10, 12, 14)
"""Digits of a date that is written as a number: year, month and day, then hour, minute and second."""
ISO = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<minute>(?:[01]\d|2[0-3]):[0-5]\d)(?::(?P<second>[0-5]\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r" ?(?P<zone>Z|z|UTC|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?)?$"
)
WANTED = "a number or an ISO 8601 date, as in 2020-09-13 12:33:50 or 2020-09-13T12:33:50+02:00"


def milliseconds(table: NamedTable, values: pl.Series, unit: TimeUnit) -> pl.Series:
    """Times as i64 milliseconds since 1970, UTC.

    Args:
      table: the file, for messages.
      values: a column: dates or datetimes (no zone: UTC), numbers, or texts of one of both.
      unit: of numbers. "auto" takes the one unit in which every row is a date from 1980 to 2100: seconds, milli-,
        micro- or nanoseconds; or seconds if every row is from 1900 to 1980, as where time is counted from the first
        event. Whole numbers of 8, 10, 12 or 14 digits that are dates, as 20200913, are read as such.

    Raises:
      DataError: a time is missing, unreadable or out of range; numbers and dates are mixed; or no unit fits all rows.
    """
    refuse_missing(table, "time", values)
    dtype = values.dtype
    if dtype.is_integer():
        return _from_integers(table, values, unit)
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return _typed(table, values)
    if dtype.is_numeric():
        return _from_numbers(table, values, values.cast(pl.Float64, strict=False), unit)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        values = values.cast(pl.String).alias(values.name)
    elif dtype != pl.String:
        refuse_type(table, "time", values)
    texts = values.str.strip_chars()
    table.refuse(texts == "", lambda row: f"the time is missing (column {quoted(values.name)})")
    numbers = texts.cast(pl.Float64, strict=False)
    is_number = numbers.is_not_null()
    if is_number.all():
        return _from_numbers(table, values, numbers, unit)
    times = _from_iso(texts)
    readable = times.is_not_null()
    table.refuse(
        ~readable & ~is_number, lambda row: _problem(texts[row], f"is not a number and no date; wanted is {WANTED}")
    )
    if is_number.any():
        _contradict(table, texts, _first(is_number), "a number", _first(readable), "a date")
    return times


def _typed(table: NamedTable, values: pl.Series) -> pl.Series:
    epoch = values.cast(pl.Datetime("ms"), strict=False) if values.dtype == pl.Date else values
    times = epoch.dt.epoch("ms") if epoch.dtype != pl.Datetime("ms") else epoch.to_physical()
    wrong = (times < _YEAR_1 * 1000) | (times >= _YEAR_10000 * 1000)
    table.refuse(wrong.fill_null(True), lambda row: "the time is not between the years 1 and 9999")
    return times.cast(pl.Int64)


def _from_numbers(table: NamedTable, values: pl.Series, numbers: pl.Series, unit: TimeUnit) -> pl.Series:
    array = numbers.to_numpy()
    if len(array) and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        table.refuse(pl.Series(~np.isfinite(array)), lambda row: _problem(values[row], "is not a number"))
    if unit == "auto":
        dates = _dates_in_digits(table, values, array)
        if dates is not None:
            return dates
        unit = _one_unit(table, values, array)
    per_second = PER_SECOND[unit]
    first, last = _YEAR_1 * per_second, _YEAR_10000 * per_second
    if array.min() < first or array.max() >= last:
        table.refuse(
            pl.Series((array < first) | (array >= last)),
            lambda row: _problem(
                values[row], f"is not between the years 1 and 9999 in {unit}; the unit is --data.time-unit"
            ),
        )
    if values.dtype.is_integer() and per_second <= 1000:
        return values.cast(pl.Int64) * (1000 // per_second)
    return pl.Series(np.rint(array * (1000 / per_second)).astype(np.int64))


def _from_integers(table: NamedTable, values: pl.Series, unit: TimeUnit) -> pl.Series:
    """`_from_numbers` without floats, where the smallest and the largest number leave no question."""
    lowest, highest = values.min(), values.max()
    if isinstance(lowest, int) and isinstance(highest, int) and not (unit == "auto" and _may_be_date(values[0])):
        for taken in ("s", "ms"):
            spans = [(_YEAR_1, _YEAR_10000)] if unit == taken else [(_1980, _2100)] if unit == "auto" else []
            spans += [(_1900, _1980)] if unit == "auto" and taken == "s" else []
            per_second = PER_SECOND[taken]
            if any(start * per_second <= lowest and highest < end * per_second for start, end in spans):
                return values.cast(pl.Int64) * (1000 // per_second)
    return _from_numbers(table, values, values.cast(pl.Float64, strict=False), unit)


def _may_be_date(number: float) -> bool:
    """Whether a number has the digits of a date from 1900 to 2100."""
    length = len(f"{abs(number):.0f}")
    return length in DATE_DIGITS and 1900 * 10.0 ** (length - 4) <= number < 2101 * 10.0 ** (length - 4)


def _one_unit(table: NamedTable, values: pl.Series, array: np.ndarray) -> TimeUnit:
    """The unit in which every row is a date of the years that `milliseconds` names; their ranges are disjoint."""
    ranges = {"seconds before 1980": (_1900, _1980)}
    for unit, per_second in PER_SECOND.items():
        ranges[unit] = (_1980 * per_second, _2100 * per_second)
    lowest, highest = array.min(), array.max()
    for kind, (start, end) in enumerate(ranges.values()):
        if start <= lowest and highest < end:
            return cast(TimeUnit, ("s", *PER_SECOND)[kind])
    kinds = np.full(len(array), -1, np.int8)
    for kind, (start, end) in enumerate(ranges.values()):
        kinds[(array >= start) & (array < end)] = kind
    table.refuse(
        pl.Series(kinds < 0),
        lambda row: _problem(
            values[row],
            "is no date from 1980 to 2100 in seconds, milli-, micro- or nanoseconds since 1970; if it is one of other"
            " years, name the unit: --data.time-unit s",
        ),
    )
    other = kinds != kinds[0]
    labels = [f"a date in {kind}" for kind in ranges]
    row = int(other.argmax())
    advice = ", or name the unit of all: --data.time-unit s"
    _contradict(table, values, 0, labels[kinds[0]], row, labels[kinds[row]], advice)


def _dates_in_digits(table: NamedTable, values: pl.Series, array: np.ndarray) -> pl.Series | None:
    """Dates that are written as numbers, if all have as many digits as one and at least half are one."""
    if not _may_be_date(array[0]):
        return None
    length = len(f"{array[0]:.0f}")
    scale = 10.0 ** (length - 4)
    if not ((array >= 1900 * scale) & (array < 2101 * scale) & (array == np.floor(array))).all():
        return None
    digits = pl.Series(array.astype(np.int64)).cast(pl.String)
    texts = digits + "0" * (14 - length)  # polars reads no hour without minutes
    times = texts.str.to_datetime("%Y%m%d%H%M%S", time_unit="ms", strict=False).to_physical()
    wrong = times.is_null()
    if wrong.sum() > len(array) // 2:
        return None
    table.refuse(
        wrong,
        lambda row: _problem(
            values[row],
            f"is no date, and most of the others are dates written as numbers, like {digits[_first(~wrong)]}",
        ),
    )
    table.source.note(f"times are dates written as numbers, like {digits[0]}; --data.time-unit s reads them as seconds")
    return times.cast(pl.Int64)


def _from_iso(texts: pl.Series) -> pl.Series:
    """ISO 8601 texts as i64 milliseconds, null where a text is none."""
    parts = texts.str.extract_groups(ISO).struct.unnest()
    moment = parts["date"] + " " + parts["minute"].fill_null("00:00") + ":" + parts["second"].fill_null("00")
    times = moment.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms", strict=False).to_physical()
    fraction = parts["fraction"].fill_null("0").str.pad_end(9, "0").str.head(3).cast(pl.Int64)
    zone = parts["zone"].str.replace(":", "", literal=True)
    offset = zone.str.slice(1, 2).cast(pl.Int64, strict=False).fill_null(0) * 60
    offset += zone.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0)
    sign = pl.Series(np.where(zone.str.starts_with("-").fill_null(False).to_numpy(), -1, 1))
    return (times + fraction - sign * offset * 60_000).cast(pl.Int64)


def _problem(value: object, problem: str) -> str:
    return f"the time {quoted(value)} {problem}"


def _contradict(
    table: NamedTable, values: pl.Series, one: int, first: str, other: int, second: str, advice: str = ""
) -> NoReturn:
    rows = sorted([(one, first), (other, second)])
    (one, first), (other, second) = rows
    place = "row" if table.source.is_binary else "line"
    table.fail(
        other,
        f"the time {quoted(values[other])} is {second}, and {quoted(values[one])} in {place} {table.line_of(one)} is"
        f" {first}; write all in the same way{advice}",
    )


def _first(mask: pl.Series) -> int:
    return int(mask.arg_max() or 0)
