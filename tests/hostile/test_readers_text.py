"""Mutated text files: every reader gives what a plain reference gives, or refuses the file with its line."""

import csv
import io
import json
import pathlib
import random
import re

import pytest

from jaxrec.data.readers import delimited_text, json_fast, json_objects
from jaxrec.data.readers.registry import read
from jaxrec.types import DataError
from tests.hostile.mutations import SEED, mutated

ROWS = [(f"u{n % 3}", f"i, {n}" if n % 4 == 0 else f"i{n}", n % 5 + 1, 1_600_000_430 + 60 * n) for n in range(9)]


def table(separator: str, header: str | None, quoted: bool = False) -> bytes:
    file = io.StringIO(newline="")
    rows = [row if quoted else (row[0], f"i{row[3] - 1_600_000_000}", *row[2:]) for row in ROWS]
    csv.writer(file, delimiter="," if len(separator) > 1 else separator, lineterminator="\n").writerows(rows)
    text = file.getvalue().replace(",", separator) if len(separator) > 1 else file.getvalue()
    return ((header.replace(",", separator) + "\n" if header else "") + text).encode()


HEADER = "user,item,rating,time"
OBJECTS = [dict(zip(HEADER.split(","), row)) for row in ROWS]
FILES = {
    "csv": table(",", HEADER, quoted=True),
    "csv by pipes": table("|", HEADER),
    "csv by tabs": table("\t", HEADER),
    "movielens-dat": table("::", None),
    "movielens-100k": table("\t", None),
    "recbole": table("\t", "user_id:token,item_id:token,rating:float,timestamp:float"),
    "json": "".join(json.dumps(event) + "\n" for event in OBJECTS).encode(),
    "json array": json.dumps(OBJECTS, indent=1).encode(),
    "sequence": b"u0 i1 i2 i3\nu1 i2 i4\nu2 i5 i1\n",
    "pairs": b"u0 i1\nu0 i2\nu1 i1\nu2 i3\n",
}


def outcome(path: pathlib.Path, format: str) -> list[tuple] | str:
    """The events that are read, or the error; everything else escapes."""
    try:
        return read(path, format).frame.rows()
    except DataError as error:
        return str(error)


def plain_fields(data: bytes, format: str) -> list[list[str]] | None:
    """What Python's csv and json, strict, make of a file; None where they refuse it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if format.startswith("json"):
        return _plain_objects(text, format)
    if format in ("sequence", "pairs"):
        lines = [re.findall("[^ \t]+", line.removesuffix("\r")) for line in text.split("\n")]
        lines = [line for line in lines if line]
        return lines if format == "pairs" else [[line[0], item] for line in lines for item in line[1:]]
    separator = {"csv by pipes": "|", "movielens-dat": "::"}.get(format, "," if format == "csv" else "\t")
    if format in ("csv", "csv by pipes"):
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
        except csv.Error:
            return None
    else:
        rows = [line.removesuffix("\r").split(separator) for line in text.split("\n")]
    return [row for row in rows if any(field.strip(" \t") for field in row)]


def _plain_objects(text: str, format: str) -> list[list[str]] | None:
    try:
        values = (
            json.loads(text) if format == "json array" else list(map(json.loads, filter(str.strip, text.split("\n"))))
        )
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, list) and all(isinstance(value, dict) for value in values) else None


def users_and_items(fields: list, format: str) -> list[tuple[str, str]] | None:
    """Users and items of what `plain_fields` gave, where the columns are still where they were."""
    if format.startswith("json"):
        pairs = [(value.get("user"), value.get("item")) for value in fields]
        return (
            [(user, item) for user, item in pairs] if all(isinstance(name, str) for p in pairs for name in p) else None
        )
    if format in ("csv", "csv by pipes", "csv by tabs", "recbole"):
        header, *fields = fields or [[]]
        names = [re.sub(":(token|float)$", "", name).strip().replace("_id", "") for name in header]
        if names[:2] != ["user", "item"] or names.count("user") + names.count("item") != 2:
            return None
    return [(row[0], row[1]) for row in fields if len(row) > 1]


@pytest.fixture
def strict_alone(monkeypatch: pytest.MonkeyPatch):
    """Turns the fast ways off."""

    def off(path: pathlib.Path, format: str) -> list[tuple] | str:
        with monkeypatch.context() as patch:
            patch.setattr(delimited_text, "read_fast", lambda *arguments: None)
            patch.setattr(json_objects, "read_fast", lambda *arguments: None)
            return outcome(path, format)

    return off


def check(name: str, cases: int, tmp_path: pathlib.Path, strict_alone) -> None:
    format = re.sub(" .*", "", name)
    draw, path = random.Random(f"{SEED} {name}"), tmp_path / "events"
    n_read = 0
    for case in range(cases):
        data = mutated(FILES[name], draw)
        path.write_bytes(data)
        told = f"seed {SEED}, {name}, case {case}: {data!r}"
        try:
            answer, strict = outcome(path, format), strict_alone(path, format)
        except BaseException as error:
            raise AssertionError(f"{type(error).__name__} escapes: {told}") from error
        assert answer == strict, told
        if isinstance(answer, str):
            assert answer.startswith(str(path)), told
            assert answer.isprintable(), told
            assert len(answer) < 1500, told
            continue
        n_read += 1
        fields = plain_fields(data, name)
        assert fields is not None, f"read, and the reference refuses it: {told}"
        expected = users_and_items(fields, name)
        if expected is not None and not data.startswith(b"#"):
            assert [row[:2] for row in answer] == [(user.strip(), item.strip()) for user, item in expected], told
    assert n_read > cases // 20  # else the mutations are too coarse to test what is read


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_mutations(name: str, tmp_path: pathlib.Path, strict_alone) -> None:
    check(name, 300, tmp_path, strict_alone)


@pytest.mark.soak
@pytest.mark.parametrize("name", FILES)
def test_many_mutations(name: str, tmp_path: pathlib.Path, strict_alone) -> None:
    check(name, 10_000, tmp_path, strict_alone)


def test_the_fast_ways_are_taken(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the comparison above would compare the strict way with itself."""
    path = tmp_path / "events"
    answers = []
    for module, function in ((delimited_text, delimited_text.read_fast), (json_objects, json_fast.read_fast)):
        monkeypatch.setattr(
            module, "read_fast", lambda *arguments, f=function: answers.append(f(*arguments)) or answers[-1]
        )
    for name in ("csv", "csv by pipes", "csv by tabs", "movielens-dat", "movielens-100k", "recbole", "json"):
        path.write_bytes(FILES[name])
        assert read(path, re.sub(" .*", "", name)).frame.height == len(ROWS)
    assert len(answers) == 7
    assert all(answer is not None for answer in answers)
