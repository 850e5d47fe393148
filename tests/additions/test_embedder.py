"""A new embedder is one new file and one line: here a toy from outside the package, registered by one record."""

import dataclasses
import pathlib

import numpy as np
import pytest

from jaxrec import experiment
from jaxrec.config import Config
from jaxrec.embedders.embedder import Embedder, Embedding
from jaxrec.embedders.registry import EMBEDDERS, embedder
from jaxrec.keys import generator
from jaxrec.studies.run_folders import register_vectors, share_vectors
from jaxrec.types import Histories, Vectors


def fit_random(histories: Histories, width: int, *, valid, seed: int, folder) -> Embedding:
    """Random item vectors, and each user the sum of theirs."""
    item = generator(seed, "toy embedder").normal(size=(histories.n_items, width)).astype(np.float32)
    item[np.bincount(histories.items, minlength=histories.n_items) == 0] = 0
    user = np.zeros((histories.n_users, width), np.float32)
    np.add.at(user, histories.users, item[histories.items])
    return Embedding(Vectors(user, item))


TOY = Embedder("random vectors", settings=lambda config: config.skipgram.dim, fit=fit_random, ranks=True)


@pytest.mark.slow
def test_a_run_is_trained_with_it_and_its_vectors_are_a_row_of_the_table(
    tiny: Config, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EMBEDDERS, "toy", TOY)
    config = dataclasses.replace(tiny, embedder="toy", out=str(tmp_path))
    _, results = experiment.train(config)
    systems = [row["system"] for row in results["rows"]]
    assert "random vectors" in systems
    with np.load(tmp_path / "vectors.npz") as kept:
        assert kept["item"].shape == (48, tiny.skipgram.dim)


def test_embedders_never_share_vectors_with_each_other(
    tiny: Config, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EMBEDDERS, "toy", TOY)
    monkeypatch.setitem(EMBEDDERS, "twin", TOY)  # of equal settings, and another embedder all the same
    files: dict[tuple, pathlib.Path] = {}
    first = dataclasses.replace(tiny, embedder="toy", out=str(tmp_path / "first"))
    share_vectors(first, files)
    assert not first.folder.exists()
    first.folder.mkdir()
    (first.folder / "vectors.npz").write_bytes(b"of the toy")
    register_vectors(first, files)
    for name in ("walks", "lightgcn", "mf", "twin"):
        other = dataclasses.replace(tiny, embedder=name, out=str(tmp_path / name))
        share_vectors(other, files)
        assert not (other.folder / "vectors.npz").exists(), name
    wider = dataclasses.replace(first, skipgram=dataclasses.replace(tiny.skipgram, dim=16), out=str(tmp_path / "wider"))
    share_vectors(wider, files)
    assert not (wider.folder / "vectors.npz").exists()
    same = dataclasses.replace(first, lightgcn=dataclasses.replace(tiny.lightgcn, dim=4), out=str(tmp_path / "same"))
    share_vectors(same, files)
    assert (same.folder / "vectors.npz").read_bytes() == b"of the toy"


def test_an_unknown_embedder_is_named_before_anything_is_loaded(tiny: Config, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="'wlaks' is not one of walks, lightgcn, mf"):
        embedder("wlaks")
    with pytest.raises(ValueError, match="'wlaks' is not one of walks, lightgcn, mf"):
        experiment.train(dataclasses.replace(tiny, embedder="wlaks", out=str(tmp_path)))
