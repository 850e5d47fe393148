"""Mutated files of items: attributes are read, or the file is refused in one line that names it."""

import io
import json
import pathlib
import random

import numpy as np
import polars as pl
import pytest

from jaxrec.data.item_attributes import parse_attributes, read_attributes
from jaxrec.data.item_file import GENRES
from jaxrec.types import Attributes, DataError
from tests.hostile.mutations import SEED, mutated

ITEMS = np.array([f"i{n}" for n in range(6)], object)
ROWS = [{"item": name, "tags": [f"t{n % 3}", "x|y"], "price": n + 0.5} for n, name in enumerate(ITEMS)]


def flags(number: int) -> str:
    return "|".join("01"[place % 7 == number] for place in range(len(GENRES)))


def parquet() -> bytes:
    content = io.BytesIO()
    pl.DataFrame(ROWS).write_parquet(content)
    return content.getvalue()


FILES = {
    "json": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    "array": json.dumps(ROWS).encode(),
    "literals": "".join(f"{row!r}\n" for row in ROWS).encode(),
    "csv": b"item,tags,price\n" + b"".join(b'i%d,"a|b",%d\n' % (n, n) for n in range(6)),
    "recbole": b"item:token\ttags:token_seq\tprice:float\n" + b"".join(b"i%d\ta b\t%d\n" % (n, n) for n in range(6)),
    "u.item": "".join(f"i{n}|T|d||u|{flags(n)}\n" for n in range(6)).encode(),
    "parquet": parquet(),
}


def outcome(path: pathlib.Path, name: str) -> tuple[Attributes, list[str]] | str:
    """The attributes and notes, or the error; everything else escapes."""
    try:
        return read_attributes(path, parse_attributes(("genres",) if name == "u.item" else ("tags", "price=3")), ITEMS)
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("name", FILES)
def test_mutated_files_of_items(name: str, tmp_path: pathlib.Path) -> None:
    draw, path, n_read = random.Random(f"{SEED} {name}"), tmp_path / "items", 0
    for case in range(150):
        data = mutated(FILES[name], draw)
        path.write_bytes(data)
        told = f"seed {SEED}, {name}, case {case}: {data!r}"
        try:
            answer = outcome(path, name)
        except BaseException as error:
            raise AssertionError(f"{type(error).__name__} escapes: {told}") from error
        if isinstance(answer, str):
            assert answer.startswith(str(path)), told
            assert answer.isprintable(), told
            assert len(answer) < 1500, told
            continue
        n_read += 1
        attributes, notes = answer
        assert attributes.n_items == len(ITEMS), told
        assert len(attributes.values) == attributes.offsets[-1], told
        assert all(note.isprintable() for note in notes), told
        assert set(attributes.values.tolist()) == set(range(attributes.n_values)), f"a value of nobody: {told}"
    assert n_read > 0 or name == "parquet", "else the mutations are too coarse to test what is read"
