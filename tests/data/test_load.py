"""The door: configs to interactions, with what was dropped logged."""

import dataclasses
import pathlib

import numpy as np
import pytest

from jaxrec.config import DataConfig, WorldConfig
from jaxrec.data.load import load_interactions
from jaxrec.progress import messages_to
from jaxrec.types import DataError


def test_generated_world() -> None:
    config = DataConfig(world=WorldConfig(users=30, items=60, tastes=4))
    world, notes = load_interactions(config, seed=1)
    again, _ = load_interactions(config, seed=1)
    assert (world.n_users, world.n_items) == (30, 60)
    np.testing.assert_array_equal(world.item, again.item)
    assert str(notes).startswith("generated: ")


def test_k_core_holds_for_the_generated_world_as_well() -> None:
    world, _ = load_interactions(DataConfig(world=WorldConfig(users=100, items=60, tastes=4), k_core=8), seed=1)
    assert np.bincount(world.user).min() >= 8
    assert np.bincount(world.item).min() >= 8


def test_file_and_warning(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events.txt"
    path.write_text("A x y z y\nB x y\n")
    messages: list[str] = []
    with messages_to(messages.append):
        world, notes = load_interactions(DataConfig(path=str(path)), seed=0)
    assert (world.n_users, world.n_items, world.n_events) == (1, 3, 3)
    assert (notes.read, notes.repeats, notes.users, notes.events) == (6, 1, 1, 2)
    assert messages == [f"{path}: {line}" for line in notes.warnings()]
    assert len(notes.warnings()) == 2


def test_what_the_reader_and_the_titles_say_is_among_the_notes(tmp_path: pathlib.Path) -> None:
    (tmp_path / "events.csv").write_bytes(
        "user;item;when\nA; x;20200913\nA;y;20200914\nA;é;20200915\n".encode("cp1252")
    )
    (tmp_path / "titles.csv").write_bytes("item,title\nx,One\nx,Two\né,Three\n".encode("cp1252"))
    config = DataConfig(
        path=str(tmp_path / "events.csv"),
        items_path=str(tmp_path / "titles.csv"),
        columns=("time=when",),
        encoding="cp1252",
        separator="semicolon",
    )
    messages: list[str] = []
    with messages_to(messages.append):
        world, notes = load_interactions(config, seed=0, log=False)
    assert messages == []
    assert [line[:40] for line in notes.warnings()] == [
        "1 item names have blanks around them, wh",
        "times are dates written as numbers, like",
        "1 items have no title and go by their na",
        "1 items have different titles in the fil",
    ]
    assert dict(zip(world.item_names, world.titles())) == {"x": "One", "y": "y", "é": "Three"}
    assert world.time.tolist() == [1_599_955_200, 1_600_041_600, 1_600_128_000]
    with pytest.raises(DataError, match="is not between the years"):
        load_interactions(dataclasses.replace(config, time_unit="ms", path=str(two_units(tmp_path))), seed=0)


def two_units(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "units.csv"
    path.write_text("user;item;when\nA;x;1600000430\nA;y;1e18\n")
    return path


def test_data_of_a_file_goes_by_its_name() -> None:
    assert DataConfig(path="folder/mine.csv").name == "mine.csv"
    assert DataConfig(name="Beauty", path="folder/mine.csv").name == "Beauty"
    assert dataclasses.replace(DataConfig(name="generated world"), path="mine.csv").name == "mine.csv"
    assert DataConfig().name == "generated"


def test_missing_file_names_the_places_and_the_next_step() -> None:
    with pytest.raises(ValueError, match=r"'nowhere.txt' is at none of: nowhere.txt, .*; check the path$"):
        load_interactions(DataConfig(path="nowhere.txt"), seed=0)
    with pytest.raises(ValueError, match=r"fetch it with python -m launch.download ml-1m, or check the path$"):
        load_interactions(DataConfig(path="ml-1m/nothing.dat"), seed=0)


def test_movielens_with_titles(real_data: pathlib.Path) -> None:
    folder = real_data / "ml-100k"
    config = DataConfig(path=str(folder / "ml-100k.inter.gz"), items_path=str(folder / "ml-100k.item.gz"))
    world, notes = load_interactions(config, seed=0)
    assert (world.n_users, world.n_items, world.n_events) == (943, 1682, 100_000)
    assert world.titles()[world.item_names.tolist().index("1")] == "Toy Story"
    assert world.item_attributes is None
    attributes = load_interactions(dataclasses.replace(config, attributes=("class",)), seed=0)[0].item_attributes
    assert attributes is not None
    assert attributes.n_values == 19
    toy_story = attributes.of(world.item_names.tolist().index("1"))
    assert attributes.names[toy_story].tolist() == ["Animation", "Children's", "Comedy"]
    assert world.time is not None
    same = np.diff(world.user) == 0
    assert (np.diff(world.time)[same] >= 0).all()
    assert notes.tied > 0


def test_instruments_with_reviews(real_data: pathlib.Path) -> None:
    path = real_data / "amazon-instruments" / "reviews_Musical_Instruments_part.json.gz"
    world, notes = load_interactions(DataConfig(path=str(path)), seed=0)
    assert notes.read == 5_050
    assert world.n_events + notes.events + notes.repeats == 5_050
    assert world.n_users + notes.users == 1_381
    assert world.text is not None
    assert all(world.text["summary"][:20])


def test_attributes_are_read_beside_titles_or_without_them(tmp_path: pathlib.Path) -> None:
    (tmp_path / "events.txt").write_text("A x y z\nB x y w\n")
    (tmp_path / "items.csv").write_text("item,brand,title\nx,one,X\ny,two,\nq,three,Q\n")
    config = DataConfig(
        path=str(tmp_path / "events.txt"), items_path=str(tmp_path / "items.csv"), attributes=("brand",)
    )
    world, notes = load_interactions(config, seed=0, log=False)
    names, attributes = world.item_names.tolist(), world.item_attributes
    assert attributes is not None
    assert [attributes.names[attributes.of(names.index(item))].tolist() for item in "xyzw"] == [
        ["one"],
        ["two"],
        [],
        [],
    ]
    assert world.titles()[names.index("x")] == "X"
    assert notes.warnings()[:2] == [
        "1 items of items.csv are not in the data and were left out",
        "2 items have no attributes in items.csv",
    ]
    (tmp_path / "items.csv").write_text("item,brand\nx,one\ny,two\n")
    assert load_interactions(config, seed=0, log=False)[0].item_titles is None
    with pytest.raises(ValueError, match=r"data.items_path names no file; set --data.items-path"):
        load_interactions(dataclasses.replace(config, items_path=None), seed=0)
    with pytest.raises(ValueError, match="no column is the title"):
        load_interactions(dataclasses.replace(config, attributes=()), seed=0)
