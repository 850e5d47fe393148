"""Every kind of id in whole runs: no held-out event shows in them, and both recommenders work."""

import dataclasses
import pathlib

import numpy as np
import pytest

from jaxrec import experiment
from jaxrec.config import Config, QuantizerConfig
from jaxrec.export.whole_system import export
from jaxrec.inference import newcomers, service
from jaxrec.system import loading
from jaxrec.system import run as runs
from jaxrec.system.embed import embed
from jaxrec.system.run import Run
from jaxrec.system.stages import build
from jaxrec.tokenizers.registry import id_kind
from jaxrec.types import Interactions

SMALL = QuantizerConfig(codebooks=2, codewords=6, width=8, hidden=(16,), epochs=4)


def config_of(tiny: Config, folder: pathlib.Path, kind: str, answer: str = "id", **ids) -> Config:
    users = "static" if not id_kind(kind).from_vectors or ids.get("entities") == "items" else "causal"
    ids = {"branches": 3, "leaf": 8, "neighbours": 5, "users": users, **ids}
    return dataclasses.replace(
        tiny,
        out=str(folder),
        answer=answer,
        ids=dataclasses.replace(tiny.ids, kind=kind, **ids),
        quantizer=SMALL,
        train=dataclasses.replace(tiny.train, steps=2, source_length=128, target_length=16),
    )


@pytest.fixture(scope="module")
def vectors(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """vectors.npz, which all kinds are made of."""
    folder = tmp_path_factory.mktemp("vectors")
    embed(runs.start(config_of(tiny, folder, "meta_id")))
    return (folder / "vectors.npz").read_bytes()


def begun(config: Config, vectors: bytes) -> Run:
    run = runs.start(config)
    (run.folder / "vectors.npz").write_bytes(vectors)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["spectral", "dbscan", "rq_kmeans", "cid", "rid", "sid", "iid"])
def test_no_held_out_event_shows_in_ids(tiny: Config, tmp_path: pathlib.Path, vectors: bytes, kind: str) -> None:
    config = config_of(tiny, tmp_path / "one", kind)
    one = build(begun(config, vectors))
    assert len(np.unique(one.item_tokens, axis=0)) == one.data.n_items
    np.testing.assert_array_equal(build(runs.reopen(tmp_path / "one")).item_tokens, one.item_tokens)
    run = begun(dataclasses.replace(config, out=str(tmp_path / "two")), vectors)
    rng = np.random.default_rng(0)
    split = run.split
    valid, test = (rng.permutation(part) for part in (split.valid, split.test))
    between = dataclasses.replace(split.between, items=valid[valid >= 0])
    data = dataclasses.replace(run.data, item=np.full_like(run.data.item, 3))  # nobody reads events but the split
    other = dataclasses.replace(
        run, data=data, split=dataclasses.replace(split, valid=valid, test=test, between=between)
    )
    two = build(other)
    for who in ("users", "items"):
        np.testing.assert_array_equal(getattr(two.ids, who).codes.values, getattr(one.ids, who).codes.values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "answer", "entities"),
    [
        ("cid", "id", "both"),
        pytest.param("sid", "vector", "both", marks=pytest.mark.soak),
        pytest.param("meta_id", "id", "items", marks=pytest.mark.soak),
    ],
)
def test_trained_stored_and_asked(
    tiny: Config, tmp_path: pathlib.Path, vectors: bytes, kind: str, answer: str, entities: str
) -> None:
    config = config_of(tiny, tmp_path / "run", kind, answer, entities=entities)
    begun(config, vectors)
    system, found = experiment.train(config)
    assert found["rows"][0]["system"] == system.name
    loaded = newcomers.served(loading.load(tmp_path / "run"))
    top = loaded.recommend(np.arange(10), 5)
    assert (top.items >= 0).all()
    np.testing.assert_array_equal(top.items, system.recommend(np.arange(10), 5).items)


@pytest.mark.slow
def test_numbers_are_exported_and_go_on(tiny: Config, tmp_path: pathlib.Path, vectors: bytes) -> None:
    config = config_of(tiny, tmp_path / "run", "rid")
    begun(config, vectors)
    experiment.train(config)
    system = newcomers.served(loading.load(tmp_path / "run"))
    data = system.data
    events = Interactions(
        user=np.array([0, 0, 1], np.int32),
        item=np.array([0, 1, 1], np.int32),
        user_names=np.array(["newcomer", str(data.user_names[5])], object),
        item_names=np.array([str(data.item_names[2]), "fresh item"], object),
    )
    before = system.ids.users.codes.values.copy()
    after, done = newcomers.update(system, events)
    assert (done.new_users, done.new_items) == (1, 1)
    np.testing.assert_array_equal(
        after.ids.users.codes.values[: len(before)], before
    )  # with new events, the same number
    assert len(np.unique(after.item_tokens, axis=0)) == data.n_items + 1
    assert len(service.recommend(after, 5, user="newcomer").items) == 5
    with pytest.raises(ValueError, match="has no id for somebody without a number"):
        service.recommend(after, 5, history=[str(data.item_names[2])])
    folder = export(after, tmp_path / "exported", samples=4)  # its tokenizer gives the tokens that training had
    assert (folder / "recommend.py").is_file()


def test_users_numbers_are_not_made_of_histories(tiny: Config, tmp_path: pathlib.Path) -> None:
    for number, changed in enumerate(({"kind": "rid"}, {"kind": "meta_id", "entities": "items"})):
        config = config_of(tiny, tmp_path / str(number), users="causal", **changed)
        with pytest.raises(ValueError, match=r"rid ids are not made of anything; set ids\.users static or none"):
            runs.check_run(config)
