"""Data frames are stored so that the readers give their events and titles back."""

import pathlib

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.data.frames import store_frame
from jaxrec.data.item_titles import Titles, read_titles
from jaxrec.data.readers.registry import read_events
from jaxrec.types import DataError

NAMES = st.one_of(st.text(max_size=6), st.text('"\\, \n\r\t\x0b\x85\u2028\xa0<a', max_size=4)).map(
    lambda name: name.encode("utf-8", "ignore").decode().replace("\0", "")
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5))
def test_any_names_and_titles_come_back(rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("frame")
    rows = [(f"{n}{item}-", title) for n, (item, title) in enumerate(rows)]
    frame = pl.DataFrame({"user": "u", "item": [item for item, _ in rows], "title": [title for _, title in rows]})
    events, titles = store_frame(frame, folder)
    assert read_events(folder / events)["item"].to_list() == [item for item, _ in rows]
    strip = pl.Series([title for _, title in rows]).str.strip_chars().to_list()
    expected = {item: title for (item, _), title in zip(rows, strip) if title}
    assert (read_titles(folder / titles).of if titles else {}) == expected


def test_items_go_by_the_names_that_their_events_have(tmp_path: pathlib.Path) -> None:
    frame = pd.DataFrame({"user": ["a", "b", "b"], "item": [1.0, 2.0, 1.0], "title": ["One", "Two", "Uno"]})
    events, titles = store_frame(frame, tmp_path)
    assert read_events(tmp_path / events)["item"].to_list() == ["1", "2", "1"]
    assert titles is not None
    assert read_titles(tmp_path / titles) == Titles({"1": "One", "2": "Two"}, several=1)


def test_a_missing_item_is_named_by_its_row(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="data: row 2: the item is missing"):
        store_frame(pd.DataFrame({"user": ["a", "b"], "item": ["x", None], "title": ["One", "Two"]}), tmp_path)
