"""Blends of trained runs: made, stored, loaded, and asked for recommendations."""

import dataclasses
import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

import jaxrec
from jaxrec.config import Config
from jaxrec.evaluate import reranker_fitting, reranking
from jaxrec.evaluate.reranking import Clues, Reranker
from jaxrec.studies.baselines import train_baseline
from jaxrec.system.system import System
from jaxrec.types import DataError, Histories
from tests.evaluate.test_reranking import any_reranker

Finished = Callable[[str, pathlib.Path], System]
NAME = "META ID + EASE + BPR-MF + counts"


@pytest.fixture(scope="module")
def folder(finished_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A blend of a run by its object, a baseline's folder, a baseline to train, and two that count."""
    folder = tmp_path_factory.mktemp("blends")
    system = finished_run("META ID", folder / "run")
    settings = jaxrec.BaselineSettings()
    train_baseline("ease", system.config.replace(out=str(folder / "ease-0")), settings)
    parts = [jaxrec.load(folder / "run"), folder / "ease-0", "mf", "transitions", "item-knn"]
    settings = jaxrec.BaselineSettings(mf=type(settings.mf)(layers=0, dim=4, epochs=1))
    blend = jaxrec.blend(parts, out=folder / "blend", users=30, settings=settings)
    assert list(blend.weights) == ["META ID", "EASE", "BPR-MF", "transitions", "item-kNN"]
    return folder


@pytest.mark.slow
def test_its_table_has_the_blend_its_parts_and_the_counted_baselines(folder: pathlib.Path) -> None:
    results = jaxrec.load(folder / "blend").results
    counted = ["popularity", "item-kNN", "transitions"]
    baselines = ["EASE + BPR-MF + counts", "EASE", "BPR-MF", *counted]
    assert [row.system for row in results.rows] == [NAME, "META ID", *baselines]
    assert [row.system for row in results.rows if row.baseline] == baselines
    stored = {row["system"]: row for row in json.loads((folder / "run" / "results.json").read_text())["rows"]}
    for system, metric in (("META ID", "ndcg@10"), ("transitions", "ndcg@20"), ("popularity", "hr@5")):
        assert results.row(system).metrics[metric] == pytest.approx(stored[system][metric], abs=1e-6)
    assert "weights by NDCG@10 on the validation items of 30 users" in repr(results)
    rivals = [(i["system"], i["baseline"], i["metric"]) for i in results.to_dict()["intervals"]]
    assert {(NAME, "META ID", "hr@10"), (NAME, "META ID", "ndcg@10")} < set(rivals)
    assert {(NAME, baselines[0], "hr@10"), (NAME, baselines[0], "ndcg@10")} < set(rivals)
    assert len(rivals) == 6, "and the best baseline alone"


def test_it_is_stored_and_loaded(folder: pathlib.Path) -> None:
    stored = json.loads((folder / "blend" / "blend.json").read_text())
    assert [part["folder"] for part in stored["parts"]] == ["../run", "../ease-0", "mf-0", None, None]
    assert [part["kind"] for part in stored["parts"]] == ["run", "baseline", "baseline", "counted", "counted"]
    assert stored["validation"]["users"] == 30
    assert stored["validation"]["value"] == max(value for _, value in stored["validation"]["tries"])
    assert stored["protocol"] == "strict"
    loaded = jaxrec.load(folder / "blend")
    assert isinstance(loaded, jaxrec.Blend)
    assert list(loaded.weights.values()) == [part["weight"] for part in stored["parts"]]
    assert repr(loaded).startswith(f"<{NAME}: ")
    with pytest.raises(ValueError, match="holds a blend; leave out beams"):
        jaxrec.load(folder / "blend", beams=20)


def test_lists_are_those_of_the_stored_ranks(folder: pathlib.Path) -> None:
    blend, run = jaxrec.load(folder / "blend"), jaxrec.load(folder / "run")
    with np.load(folder / "blend" / "ranks.npz") as arrays:
        ranks = arrays[NAME]
    names = run._trained.data.user_names
    for user in np.flatnonzero(ranks == np.floor(ranks))[:8]:
        listed = blend.recommend(str(names[user]), k=30)
        places = [n + 1 for n, item in enumerate(listed) if item.held_out]
        assert places == ([int(ranks[user])] if ranks[user] <= 30 else [])
        for item in listed:
            assert item.shares is not None
            assert sum(abs(share) for share in item.shares.values()) == pytest.approx(1)
            assert set(item.shares) == {name for name, weight in blend.weights.items() if weight}


def test_somebody_new_is_served_by_parts_without_users(folder: pathlib.Path) -> None:
    blend = jaxrec.blend([folder / "ease-0", "transitions"], out=folder / "for anybody")
    items = jaxrec.load(folder / "run")._trained.data.item_names.tolist()
    listed = blend.recommend(history=items[3:5], k=6, exclude=items[:1])
    assert len(listed) == 6
    assert not {items[0], *items[3:5]} & {item.item for item in listed}
    assert [item.score for item in listed] == sorted((item.score for item in listed), reverse=True)
    frame = listed.to_frame()
    assert frame.columns[:5] == ["item", "title", "score", "id_tokens", "held_out"]
    assert frame.columns[5:] == [f"share: {name}" for name, weight in blend.weights.items() if weight]
    assert repr(listed).startswith("somebody new\n  history, oldest first:\n")
    assert len(blend.recommend(history=[], k=3)) == 3
    short = blend.recommend(history=items[:1], k=48)
    assert short.note == "47 of 48 items: all others of the catalogue are excluded"


def test_what_may_be_listed_can_be_said(folder: pathlib.Path) -> None:
    blend = jaxrec.blend([folder / "ease-0", "transitions"], out=folder / "filters")
    items = jaxrec.load(folder / "run")._trained.data.item_names.tolist()
    everything = [item.item for item in blend.recommend(history=items[3:5], k=48, include_seen=True)]
    assert sorted(everything) == sorted(items)
    allowed = {*items[:6], items[20]}
    listed = blend.recommend(history=items[3:5], k=7, allow=sorted(allowed), exclude=items[:1])
    assert [item.item for item in listed] == [name for name in everything if name in allowed - {*items[3:5], items[0]}]
    assert repr(listed).endswith("4 of 7 items: no other allowed item is left")
    with pytest.raises(ValueError, match="user 'nobody' is not in"):
        blend.recommend("nobody", allow=items[:2])
    popular = blend.recommend("nobody", 3, popular_if_unknown=True, exclude=everything[:2])
    assert "user 'nobody' is unknown, so these are the most popular items" in repr(popular)
    histories = blend._blended.run.split.history("test")
    counts = dict(zip(items, np.bincount(histories.items, minlength=48), strict=True))
    best = sorted((n for name, n in counts.items() if name not in everything[:2]), reverse=True)[:3]
    assert [item.score for item in popular] == best
    assert all(item.shares is None for item in popular)
    assert popular.to_frame().columns == ["item", "title", "score", "id_tokens", "held_out"]


def test_parts_with_a_parameter_for_each_user_do_not_serve_somebody_new(folder: pathlib.Path) -> None:
    (folder / "users").mkdir(exist_ok=True)
    blend = jaxrec.blend([folder / "blend" / "mf-0", folder / "ease-0"], out=folder / "users")
    blended = blend._blended
    mf, ease = blended.blend.components
    mostly = type(blended.blend)((dataclasses.replace(mf, score_new=None), ease), (0.5, 0.5), 0.0, 1, 0)
    blend._blended = type(blended)(blended.folder, blended.parts, mostly)
    with pytest.raises(ValueError, match="BPR-MF has parameters for each user of the data and none for somebody new"):
        blend.recommend(history=[])


def test_vectors_are_folded_in_for_somebody_new(folder: pathlib.Path) -> None:
    blended = jaxrec.load(folder / "blend")._blended
    (mf,) = (part.component for part in blended.parts if part.name == "BPR-MF")
    histories = blended.run.split.history("test")
    new = np.asarray(mf.score_new(histories, np.arange(20)))
    vectors = mf.score._vectors
    for user in range(20):
        items = vectors.item[histories.of(user)]
        mean = (items / np.linalg.norm(items, axis=1, keepdims=True)).mean(axis=0)
        wanted = vectors.item @ (mean / np.linalg.norm(mean)) * np.linalg.norm(vectors.user, axis=1).mean()
        np.testing.assert_allclose(new[user], wanted, rtol=1e-4, atol=1e-6)
    nothing = Histories(np.zeros(2, np.int64), np.zeros(0, np.int32), 48)
    assert not np.asarray(mf.score_new(nothing, np.array([0]))).any()


def test_two_of_one_method_are_numbered(folder: pathlib.Path) -> None:
    blend = jaxrec.blend([folder / "ease-0", "ease"], out=folder / "twice")
    assert blend.weights == {"EASE (1)": 0.5, "EASE (2)": 0.5}, "they differ in nothing, so no sample tells them apart"
    assert list(jaxrec.load(folder / "twice").weights) == ["EASE (1)", "EASE (2)"]


def test_a_reranked_blend_is_stored_and_its_lists_are_those_of_its_ranks(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranking, "CANDIDATES", 20)
    parts = [folder / "run", folder / "ease-0", "transitions", "popularity"]
    fitted: list[Reranker] = []

    def fit(self: reranker_fitting.Fitting, seed: int, on_fit: object) -> Reranker:
        fitted.append(any_reranker(self.clues, mask_seen=self.mask_seen, n_components=len(self.weights)))
        return fitted[-1]

    monkeypatch.setattr(reranker_fitting.Fitting, "fit", fit)
    blend = jaxrec.blend(parts, out=folder / "reranked", users=30, rerank=True)
    name = "META ID + EASE + counts, re-ranked"
    of_baselines = ["EASE + counts, re-ranked", "EASE + counts"]
    assert [r.system for r in blend.results.rows][:5] == [name, "META ID + EASE + counts", "META ID", *of_baselines]
    assert {i["baseline"] for i in blend.results.to_dict()["intervals"]} & set(of_baselines)
    assert "re-ranked, NDCG@10 0.5000 for 0.4000 on 9 validation users" in str(blend.results)
    loaded = jaxrec.load(folder / "reranked")
    assert isinstance(loaded, jaxrec.Blend)
    reranker = loaded._blended.blend.reranker
    assert reranker is not None
    assert reranker.to_dict() == fitted[0].to_dict()
    with np.load(folder / "reranked" / "ranks.npz") as arrays:
        ranks = arrays[name]
        assert (ranks != arrays["META ID + EASE + counts"]).any()
    names = loaded._blended.run.data.user_names
    for user in np.flatnonzero(ranks == np.floor(ranks))[:8]:
        listed = loaded.recommend(str(names[user]), k=30)
        places = [n + 1 for n, item in enumerate(listed) if item.held_out]
        assert places == ([int(ranks[user])] if ranks[user] <= 30 else [])
    assert len(loaded.recommend(history=[], k=3)) == 3


def test_where_nothing_better_is_found_the_blend_stays(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reranker_fitting.Fitting, "fit", lambda self, seed, on_fit: None)
    said: list[str] = []
    parts = [folder / "ease-0", "transitions"]
    blend = jaxrec.blend(parts, out=folder / "stays", rerank=True, progress=lambda message: said.append(str(message)))
    assert blend._blended.name == "EASE + counts"
    assert any("a re-ranker is not better on validation items" in message for message in said)
    assert "reranker" not in json.loads((folder / "stays" / "blend.json").read_text())
    assert "not re-ranked, as cross-validation on validation items found nothing better" in str(blend.results)


def test_what_can_not_be_blended_is_refused(folder: pathlib.Path, tiny: Config, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "x"
    with pytest.raises(ValueError, match="parts holds 1; give two or more"):
        jaxrec.blend([folder / "run"], out=out)
    with pytest.raises(ValueError, match="names no data; give the folder of a run"):
        jaxrec.blend(["transitions", "popularity"], out=out)
    with pytest.raises(ValueError, match="part 'nothing' is neither the folder of a run nor a baseline; baselines are"):
        jaxrec.blend([folder / "ease-0", "nothing"], out=out)
    with pytest.raises(ValueError, match="parts holds transitions twice"):
        jaxrec.blend([folder / "ease-0", "transitions", "Transitions"], out=out)
    with pytest.raises(ValueError, match="holds a run; give the blend a folder of its own"):
        jaxrec.blend([folder / "ease-0", "transitions"], out=folder / "run")
    with pytest.raises(ValueError, match="give either a user's name or a history"):
        jaxrec.load(folder / "blend").recommend()
    with pytest.raises(ValueError, match="k=49 is not between 1 and the 48 items"):
        jaxrec.load(folder / "blend").recommend(history=[], k=49)
    train_baseline("ease", tiny.replace(seed=1, out=str(tmp_path / "ease-1")), jaxrec.BaselineSettings())
    with pytest.raises(ValueError, match=r"have different .*test items.* \(seed differ"):
        jaxrec.blend([folder / "ease-0", tmp_path / "ease-1"], out=out)
    unmasked = tiny.replace(eval__mask_seen=False, out=str(tmp_path / "unmasked"))
    train_baseline("ease", unmasked, jaxrec.BaselineSettings())
    with pytest.raises(ValueError, match=r"have different eval.mask_seen; blend runs of the same data"):
        jaxrec.blend([folder / "ease-0", tmp_path / "unmasked"], out=out)
    assert not out.exists()


def of_other_parts() -> dict:
    """A re-ranker of one component and no counts."""
    return any_reranker(Clues((), np.zeros(1)), mask_seen=True, n_components=1).to_dict()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda stored: stored.pop("validation"), "'validation'"),
        (lambda stored: stored["parts"][0].pop("weight"), "'weight'"),
        (lambda stored: stored.update(parts=3), "not iterable"),
        (lambda stored: stored.update(reranker={"params": {}}), "'validation'"),
        (lambda stored: stored.update(reranker=of_other_parts()), "the re-ranker reads 4 features, and"),
    ],
)
def test_a_damaged_file_is_named(
    folder: pathlib.Path, tmp_path: pathlib.Path, damage: Callable[[dict], object], said: str
) -> None:
    stored = json.loads((folder / "blend" / "blend.json").read_text())
    for part in stored["parts"]:
        if part["folder"] is not None:
            part["folder"] = str((folder / "blend" / part["folder"]).resolve())
    damage(stored)
    (tmp_path / "blend.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match=rf"blend\.json lacks or garbles .*{said}.*; put it back, or blend anew"):
        jaxrec.load(tmp_path)


def test_a_part_that_is_gone_is_named(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "blend.json").write_text((folder / "blend" / "blend.json").read_text())
    with pytest.raises(ValueError, match="the folder of META ID, is gone"):
        jaxrec.load(tmp_path)
