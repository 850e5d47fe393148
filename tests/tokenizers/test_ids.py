"""Kinds by name, and users of one kind beside items of another."""

import dataclasses
import pathlib
import typing

import jax
import numpy as np
import pytest

from jaxrec.config import IdConfig
from jaxrec.tokenizers import ids as ids_of
from jaxrec.tokenizers.ids import MixedIds
from jaxrec.tokenizers.meta_id import MetaIds
from jaxrec.tokenizers.numbered_ids import NumberedIds
from jaxrec.types import Histories, Vectors

CONFIG = IdConfig(clusters=4, restarts=1, spare=3)
NAMES = np.arange(30).astype(str), np.arange(20).astype(str)


def mixed(entities: str) -> MixedIds:
    rng = np.random.default_rng(0)
    vectors = Vectors(*(rng.normal(size=(n, 6)).astype(np.float32) for n in (30, 20)))
    histories = Histories(np.arange(31), rng.integers(0, 20, 30).astype(np.int32), 20)
    numbers = NumberedIds.fit(vectors, histories, "rid", seed=0, spare=3)
    alone = Vectors(vectors.user[:0], vectors.item) if entities == "items" else Vectors(vectors.user, vectors.item[:0])
    clusters = MetaIds.fit(alone, CONFIG, key=jax.random.key(0))
    return MixedIds(numbers, clusters) if entities == "items" else MixedIds(clusters, numbers)


def test_every_kind_of_the_config_has_a_label() -> None:
    assert set(ids_of.LABELS) == set(typing.get_args(typing.get_type_hints(IdConfig)["kind"]))


@pytest.mark.parametrize("entities", ["items", "users"])
def test_each_part_names_its_own(entities: str, tmp_path: pathlib.Path) -> None:
    ids = mixed(entities)
    clusters, numbers = (ids.items, ids.users) if entities == "items" else (ids.users, ids.items)
    assert clusters.levels == ("<CT{}>", "<CI{}>")
    assert numbers.levels == ("{}", "{}")
    new = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)
    kind, other = ("item", "user") if entities == "items" else ("user", "item")
    codes = ids.encode(new, kind, unique=True)
    n = len(clusters.values)
    grown = ids.with_rows(kind, np.array([n, n + 1]), codes)
    assert len(np.unique((grown.items if kind == "item" else grown.users).values, axis=0)) == n + 2
    assert ids.codewords(other) == [None, None]
    assert ids.codewords(kind)[0] is not None
    assert set(ids.report()) == {"by_user", "by_item"}
    ids.save(tmp_path / "ids", *NAMES)
    again = ids_of.load(tmp_path / "ids", dataclasses.replace(CONFIG, entities=entities), *NAMES)
    np.testing.assert_array_equal(again.users.values, ids.users.values)
    np.testing.assert_array_equal(again.items.values, ids.items.values)
    np.testing.assert_array_equal(again.encode(new, kind, unique=True), codes)
    with pytest.raises(ValueError, match="kind='brand'"):
        ids.encode(new, "brand", unique=True)
