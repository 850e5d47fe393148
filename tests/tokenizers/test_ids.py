"""Users of one kind beside items of another, and what all kinds have in common."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from jaxrec.config import Config, IdConfig
from jaxrec.tokenizers.ids import Ids, fit_ids, load_ids
from jaxrec.tokenizers.kind import IdInputs
from jaxrec.tokenizers.registry import KINDS, id_kind, kind_name
from jaxrec.types import Histories, Vectors

CONFIG = IdConfig(clusters=4, restarts=1, spare=3)
NAMES = np.arange(30).astype(str), np.arange(20).astype(str)


def mixed(entities: str) -> Ids:
    rng = np.random.default_rng(0)
    vectors = Vectors(*(rng.normal(size=(n, 6)).astype(np.float32) for n in (30, 20)))
    histories = Histories(np.arange(31), rng.integers(0, 20, 30).astype(np.int32), 20)
    config = Config(name="test", ids=dataclasses.replace(CONFIG, entities=entities))
    return fit_ids(IdInputs(vectors, histories, config, jax.random.key(0)))


def test_every_kind_has_a_label_of_its_own() -> None:
    assert len({kind.label for kind in KINDS.values()}) == len(KINDS)
    assert id_kind(IdConfig().kind).label == "META ID"


def test_an_unknown_kind_or_entity_is_told() -> None:
    with pytest.raises(ValueError, match=r"ids\.kind='brand' is not one of meta_id, spectral"):
        id_kind("brand")
    assert [kind_name(entity, "mq", "items") for entity in ("user", "item")] == ["rid", "mq"]
    assert [kind_name(entity, "mq", "both") for entity in ("user", "item")] == ["mq", "mq"]


@pytest.mark.parametrize("entities", ["items", "users"])
def test_each_part_names_its_own(entities: str, tmp_path: pathlib.Path) -> None:
    ids = mixed(entities)
    clusters, numbers = (ids.items, ids.users) if entities == "items" else (ids.users, ids.items)
    assert clusters.codes.levels == ("<CT{}>", "<CI{}>")
    assert numbers.codes.levels == ("{}", "{}")
    new = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)
    n = len(clusters.codes.values)
    rows = np.array([n, n + 1])
    unique = dataclasses.replace(clusters, unique=True)
    codes = unique.new_codes(new, rows, beside=numbers)
    np.testing.assert_array_equal(codes, unique.new_codes(new, rows))  # numbers are no members of clusters
    grown = unique.with_rows(rows, codes)
    assert len(np.unique(grown.codes.values, axis=0)) == n + 2
    assert numbers.codewords() == [None, None]
    assert clusters.codewords()[0] is not None
    assert set(ids.report()) == {"user", "item"}
    ids.save(tmp_path / "ids", *NAMES)
    again = load_ids(tmp_path / "ids", dataclasses.replace(CONFIG, entities=entities), *NAMES)
    np.testing.assert_array_equal(again.users.codes.values, ids.users.codes.values)
    np.testing.assert_array_equal(again.items.codes.values, ids.items.codes.values)
    loaded = again.items if entities == "items" else again.users
    np.testing.assert_array_equal(dataclasses.replace(loaded, unique=True).new_codes(new, rows), codes)


def test_ids_of_another_kind_are_told(tmp_path: pathlib.Path) -> None:
    mixed("items").save(tmp_path / "ids", *NAMES)
    with pytest.raises(ValueError, match=r"users\.npz can't be read as ids of users .*; fit the ids anew"):
        load_ids(tmp_path / "ids", CONFIG, *NAMES)
