"""The door: configs to interactions, with what was dropped logged."""

import pathlib

import numpy as np
import pytest

from jaxrec.config import DataConfig, WorldConfig
from jaxrec.data.load import load_interactions
from jaxrec.progress import messages_to


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


def test_missing_file_names_the_places_and_the_next_step() -> None:
    with pytest.raises(ValueError, match=r"'nowhere.txt' is at none of: nowhere.txt, .*launch.download"):
        load_interactions(DataConfig(path="nowhere.txt"), seed=0)


def test_movielens_with_titles(real_data: pathlib.Path) -> None:
    folder = real_data / "ml-100k"
    config = DataConfig(path=str(folder / "ml-100k.inter.gz"), items_path=str(folder / "ml-100k.item.gz"))
    world, notes = load_interactions(config, seed=0)
    assert (world.n_users, world.n_items, world.n_events) == (943, 1682, 100_000)
    assert world.titles()[world.item_names.tolist().index("1")] == "Toy Story"
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
