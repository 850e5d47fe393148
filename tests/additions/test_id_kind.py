"""A new kind of id is one file and one line: here the file is this one, and the line is put into the registry."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest

from jaxrec import experiment
from jaxrec.config import Config
from jaxrec.inference import newcomers
from jaxrec.system import loading
from jaxrec.tokenizers.entity_ids import EntityIds
from jaxrec.tokenizers.kind import IdInputs, Kind
from jaxrec.tokenizers.registry import KINDS
from jaxrec.types import Codes, Interactions

BITS = 3
LETTERS = {"user": "u", "item": "i"}


@dataclasses.dataclass(frozen=True)
class SignIds(EntityIds):
    """On which side of some random planes a vector lies, and a number among those on the same sides.

    Attributes:
      planes: f32[BITS,F], their normals.
    """

    planes: np.ndarray

    def codes_of(self, vectors: np.ndarray, *, beside: EntityIds | None = None) -> np.ndarray:
        return (vectors @ self.planes.T > 0).astype(np.int32)

    def _unique_codes(self, vectors: np.ndarray, rows: np.ndarray, *, beside: EntityIds | None) -> np.ndarray:
        taken = np.delete(self.codes.values, rows[rows < len(self.codes.values)], axis=0)
        return numbered(self.codes_of(vectors), taken)

    def codewords(self) -> list[np.ndarray | None]:
        words: list[np.ndarray | None] = [np.stack([-plane, plane]) for plane in self.planes]
        return [*words, None] if self.unique else words


def numbered(signs: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Signs i32[m,BITS] and the least number behind each that no row of `taken` i32[n,BITS+1] and none before has."""
    used, rows = {tuple(row) for row in taken.tolist()}, []
    for sign in signs.tolist():
        number = next(n for n in range(len(signs) + len(taken)) if (*sign, n) not in used)
        used.add((*sign, number))
        rows.append([*sign, number])
    return np.array(rows, np.int32).reshape(-1, BITS + 1)


def fit(inputs: IdInputs) -> dict[str, EntityIds]:
    ids: dict[str, EntityIds] = {}
    for entity in inputs.entities:
        rows, unique = inputs.rows(entity), inputs.unique(entity)
        planes = np.random.default_rng(7).normal(size=(BITS, rows.shape[1])).astype(np.float32)
        levels, sizes = tuple(f"<{LETTERS[entity]}{bit}:{{}}>" for bit in range(BITS)), (2,) * BITS
        values = (rows @ planes.T > 0).astype(np.int32)
        if unique:
            values = numbered(values, np.zeros((0, BITS + 1), np.int32))
            levels, sizes = (*levels, "<n{}>"), (*sizes, int(values[:, -1].max()) + 1 + inputs.config.ids.spare)
        ids[entity] = SignIds(entity, Codes(values, sizes, levels), unique, planes)
    return ids


SIGNS = Kind(label="signs", fit=fit, load=SignIds.load)


@pytest.mark.long
def test_a_kind_from_outside_is_trained_stored_and_meets_newcomers(
    tiny: Config, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "signs", SIGNS)
    config = dataclasses.replace(
        tiny,
        out=str(tmp_path / "run"),
        ids=dataclasses.replace(tiny.ids, kind="signs"),
        train=dataclasses.replace(tiny.train, steps=2, source_length=128),
    )
    system, results = experiment.train(config)
    name = "walks + signs ids + beam"
    assert results["rows"][0]["system"] == system.name == name
    assert results["ids"]["item"] == {"ids": system.data.n_items}
    assert {line.split("<")[1] for line in (tmp_path / "run/ids/items.txt").read_text().splitlines()} == {"Item>"}
    loaded = newcomers.served(loading.load(tmp_path / "run"))
    users = np.arange(10)
    np.testing.assert_array_equal(loaded.recommend(users, 5).items, system.recommend(users, 5).items)
    events: dict[str, Any] = {
        "user": np.array([0, 0], np.int32),
        "item": np.array([0, 1], np.int32),
        "user_names": np.array(["newcomer"], object),
        "item_names": np.array([str(system.data.item_names[2]), "fresh item"], object),
    }
    grown, done = newcomers.update(loaded, Interactions(**events))
    assert (done.new_users, done.new_items) == (1, 1)
    assert len(np.unique(grown.item_tokens, axis=0)) == system.data.n_items + 1
