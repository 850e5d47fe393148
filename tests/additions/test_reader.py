"""A new reader is one file with a record and one line in the registry: a toy format from outside the package."""

import pathlib

import numpy as np
import polars as pl
import pytest

from jaxrec.config import DataConfig
from jaxrec.data.load import load_interactions
from jaxrec.data.readers.reader import Reader, ReadOptions
from jaxrec.data.readers.registry import READERS, read_events
from jaxrec.data.source_file import SourceFile
from jaxrec.data.split import make_split


def read_arrows(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Lines "user -> item @ seconds"."""
    del options
    rows = []
    for number, line in source.lines():
        user, arrow, event = line.partition(" -> ")
        item, at, seconds = event.partition(" @ ")
        if not arrow or not at:
            source.fail(number, "not USER -> ITEM @ SECONDS")
        rows.append((user, item, int(seconds) * 1000))
    return pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String, "time": pl.Int64}, orient="row")


TOY = Reader("user -> item @ seconds", read_arrows, recognises=lambda source: " -> " in source.first_line())
BINARY = Reader(
    "numbers of 8 bits behind TOY",
    lambda source, options: pl.DataFrame({"user": [str(b) for b in source.data[3:]], "item": "x"}),
    magic=b"TOY",
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "arrows", TOY)
    monkeypatch.setitem(READERS, "bytes", BINARY)


@pytest.mark.usefixtures("toy")
def test_a_toy_format_is_recognised_read_and_split(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "events.txt"
    events = [(user, item) for user in range(4) for item in range(5)]
    file.write_text("".join(f"u{user} -> i{item} @ {100 + item}\n" for user, item in events))
    for format in ("auto", "arrows"):
        world, notes = load_interactions(DataConfig(path=str(file), format=format), seed=0)
        assert (world.n_users, world.n_items, world.n_events) == (4, 5, 20)
        assert notes.has_times
        last = make_split(world).test
        np.testing.assert_array_equal(world.item_names[last], ["i4"] * 4)


@pytest.mark.usefixtures("toy")
def test_its_errors_name_the_line_and_its_name_is_listed(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "events.txt"
    file.write_text("u -> i @ 1\nu and j\n")
    with pytest.raises(ValueError, match=r"events.txt:2: not USER -> ITEM @ SECONDS; the line starts 'u and j'"):
        read_events(file)
    with pytest.raises(ValueError, match="arrows \\(user -> item @ seconds\\)"):
        read_events(file, "nothing")


@pytest.mark.usefixtures("toy")
def test_a_binary_format_is_recognised_by_its_first_bytes(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "events.bin"
    file.write_bytes(b"TOY\xff\x01")
    assert read_events(file)["user"].to_list() == ["255", "1"]
