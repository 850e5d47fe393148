"""A served blend answers as the library does; events go to its first run's store, and count."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from starlette.testclient import TestClient

import jaxrec
from jaxrec.api.blend import Blend
from jaxrec.baselines.clues import count_clues
from jaxrec.evaluate import reranking
from jaxrec.inference.blends import load_blend
from jaxrec.inference.queries import Query
from jaxrec.server.blend import ServedBlend
from jaxrec.server.run import application
from tests.evaluate.test_reranking import any_reranker
from tests.server.conftest import LIMITS, Finished, wait_until_ready

NAME = "META ID + EASE + BPR-MF + counts"


@pytest.fixture(scope="module")
def folder(finished_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A blend of a run that generates ids, two trained baselines and one that counts, all in use."""
    base = tmp_path_factory.mktemp("served blend")
    finished_run("META ID", base / "meta")
    settings = jaxrec.BaselineSettings()
    settings = dataclasses.replace(settings, mf=dataclasses.replace(settings.mf, dim=4, epochs=2))
    parts = [base / "meta", "ease", "mf", "transitions"]
    jaxrec.blend(parts, out=base / "mix", users=30, settings=settings)
    stored = (base / "mix" / "blend.json").read_text().splitlines()
    weights = iter(["0.3", "0.25", "0.25", "0.2"])
    lines = [f'   "weight": {next(weights)},' if line.startswith('   "weight"') else line for line in stored]
    (base / "mix" / "blend.json").write_text("\n".join(lines))
    return base / "mix"


@pytest.fixture(scope="module")
def client(folder: pathlib.Path) -> Iterator[TestClient]:
    app = application([folder, folder.parent / "meta"], limits=LIMITS)
    with TestClient(app, raise_server_exceptions=False) as client:  # pyright: ignore[reportArgumentType]
        wait_until_ready(client)
        yield client


def test_lists_are_the_librarys(client: TestClient, folder: pathlib.Path) -> None:
    blend = jaxrec.load(folder)
    assert isinstance(blend, jaxrec.Blend)
    assert list(blend.weights.values()) == [0.3, 0.25, 0.25, 0.2]
    requests = [
        {"user": "user03", "k": 48},
        {"user": "user41", "k": 5, "exclude": ["item01", "item02"]},
        {"history": ["item07", "item11", "item07"], "k": 12},
        {"history": [], "k": 3},
        {"history": ["item07"], "allow": ["item07", "item09", "item30"], "k": 3},
        {"user": "user10", "allow": ["item09", "item30"], "include_seen": True, "k": 2},
    ]
    many = client.post("/v1/recommend", json={"requests": requests}).json()["answers"]
    for request, together in zip(requests, many, strict=True):
        expected = blend.recommend(**request)
        for answer in (together, client.post("/v1/recommend", json=request).json()):
            assert [item["item"] for item in answer["items"]] == [item.item for item in expected]
            scores = [item["score"] for item in answer["items"]]
            assert scores == pytest.approx([item.score for item in expected], abs=1e-5)
            assert answer["reason"] == expected.note
            assert answer["model"]["name"] == "mix"
            assert answer["score"] == "weighted log-probability"


def test_a_reranked_blend_answers_as_the_library(
    folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranking, "CANDIDATES", 20)
    shutil.copytree(folder.parent / "meta", tmp_path / "meta")  # before another test sends events to its store
    shutil.copytree(folder, tmp_path / "mix")
    blended = load_blend(tmp_path / "mix")
    clues = count_clues(blended.run.split.train)
    stored = json.loads((tmp_path / "mix" / "blend.json").read_text())
    stored["parts"][3]["weight"], stored["parts"][0]["weight"] = 0.0, 0.5  # transitions: for the re-ranker alone
    stored["reranker"] = any_reranker(clues, mask_seen=True, n_components=4).to_dict()
    (tmp_path / "mix" / "blend.json").write_text(json.dumps(stored, indent=1))
    blend = jaxrec.load(tmp_path / "mix")
    assert isinstance(blend, jaxrec.Blend)
    assert ServedBlend.of(blend._blended).version != ServedBlend.of(blended).version
    requests = [
        {"user": "user03", "k": 48},
        {"history": ["item07", "item11", "item07"], "k": 40},
        {"history": [], "k": 3},
        {"user": "user10", "allow": ["item09", "item30"], "include_seen": True, "k": 2},
    ]
    with TestClient(application([tmp_path / "mix"], limits=LIMITS)) as client:  # pyright: ignore[reportArgumentType]
        wait_until_ready(client)
        assert client.get("/v1/models").json()["models"][0]["method"] == NAME + ", re-ranked"
        many = client.post("/v1/recommend", json={"requests": requests}).json()["answers"]
        for request, answer in zip(requests, many, strict=True):
            expected = blend.recommend(**request)
            assert [item["item"] for item in answer["items"]] == [item.item for item in expected]
            scores = [item["score"] for item in answer["items"]]
            assert scores == pytest.approx([item.score for item in expected], abs=1e-3)
    first = [item.item for item in blend.recommend("user03", k=10)]
    assert first != [item.item for item in Blend(blended).recommend("user03", k=10)], "the order is the re-ranker's"


def test_it_says_what_it_is(client: TestClient) -> None:
    mix, run = client.get("/v1/models").json()["models"]
    assert (mix["name"], mix["method"], mix["most"]) == ("mix", NAME, 48)
    assert (mix["ranking_tasks"], mix["text_tasks"], mix["says_ids"]) == (["sequential"], [], False)
    assert mix["version"] != run["version"]
    assert not mix["has_report"]
    answer = client.post("/v1/recommend", json={"user": "user03", "k": 1}).json()
    assert answer["items"][0]["id_tokens"].startswith("<Item><CT"), "ids are those of the first run"


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("/v1/steps", {"user": "user03"}, f"{NAME} is a blend, whose lists come from no beam search; ask a run"),
        ("/v1/ask", {"task": "rating", "user": "user03", "items": ["item01"]}, f"{NAME} is a blend, which ranks"),
        ("/v1/recommend", {"user": "user03", "k": 49}, "k=49 is not between 1 and the 48 items"),
    ],
)
def test_what_a_blend_does_not_do_is_said(client: TestClient, path: str, body: dict, error: str) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(error)


def test_events_count_and_survive_a_reload(
    client: TestClient, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [
        {"user": "newcomer", "item": "item05"},
        {"user": "newcomer", "item": "brand new"},
        {"user": "user03", "item": "item44"},
    ]
    before = client.post("/v1/recommend", json={"user": "user03", "k": 48}).json()
    assert "item44" in [item["item"] for item in before["items"]]
    with monkeypatch.context() as patch:  # a new item changes no shape of a blend
        patch.setattr("jaxrec.server.snapshot.Snapshot.compile", lambda _: pytest.fail("compiled anew"))
        done = client.post("/v1/events", json={"events": events, "model": "mix"}).json()["models"]["mix"]
    assert (done["events"], done["new_users"], done["new_items"]) == (3, 1, 1)
    stranger = jaxrec.load(folder).recommend(history=["item05"], k=47)
    for _ in range(2):
        answer = client.post("/v1/recommend", json={"user": "newcomer", "k": 47}).json()
        # Parts don't know the new item: they score the rest of the history, and it is in no list.
        assert [item["item"] for item in answer["items"]] == [item.item for item in stranger]
        answer = client.post("/v1/recommend", json={"user": "user03", "k": 48}).json()
        assert {item["item"] for item in answer["items"]} == {item["item"] for item in before["items"]} - {"item44"}
        assert answer["reason"].endswith("of 48 items: the other 1 that may be listed came after the blend was made")
        few = {"user": "user03", "k": 5, "allow": ["item01", "item02"]}
        assert client.post("/v1/recommend", json=few).json()["reason"].endswith("no other allowed item is left")
        many = client.post("/v1/recommend", json={"user": "user03", "k": 49}).json()
        assert many["error"].startswith("k=49 exceeds the 48 items of this blend")
        version = client.post("/v1/models/reload", json={"model": "mix"}).json()["version"]
        assert version == before["model"]["version"]
    run = jaxrec.load(folder.parent / "meta")
    assert isinstance(run, jaxrec.TrainedRun)
    assert len(run.recommend("newcomer", k=3)) == 3, "the store is the first run's"


def test_retrieval_is_blended_too(finished_run: Finished, tmp_path: pathlib.Path) -> None:
    finished_run("TokenRec", tmp_path / "token")
    jaxrec.blend([tmp_path / "token", "transitions"], out=tmp_path / "mix", users=30)
    stored = (tmp_path / "mix" / "blend.json").read_text().splitlines()
    lines = ['   "weight": 0.5,' if line.startswith('   "weight"') else line for line in stored]
    (tmp_path / "mix" / "blend.json").write_text("\n".join(lines))
    blend = jaxrec.load(tmp_path / "mix")
    assert isinstance(blend, jaxrec.Blend)
    with TestClient(application([tmp_path / "mix"], limits=LIMITS)) as client:  # pyright: ignore[reportArgumentType]
        wait_until_ready(client)
        for request in ({"user": "user03", "k": 20}, {"history": ["item07", "item11"], "k": 20}):
            answer = client.post("/v1/recommend", json=request).json()
            expected = blend.recommend(**request)
            assert [item["item"] for item in answer["items"]] == [item.item for item in expected]
        stranger = {"history": ["item07", "item11", "item20", "item30"], "k": 20}  # whose history is shuffled
        together = client.post("/v1/recommend", json={"requests": [stranger] * 3}).json()["answers"]
        for answer in together:
            assert [item["item"] for item in answer["items"]] == [item.item for item in blend.recommend(**stranger)]
        answer = client.post("/v1/recommend", json={"user": "user03", "task": "direct"})
        assert answer.json()["error"] == "task 'direct' is not blended; TokenRec + counts knows collaborative"


def test_a_version_tells_trained_baselines_apart(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(folder.parent / "meta", tmp_path / "meta")
    shutil.copytree(folder, tmp_path / "mix")
    before = ServedBlend.of(load_blend(folder)).version
    assert ServedBlend.of(load_blend(tmp_path / "mix")).version == before, "wherever the folders lie"
    (chosen,) = (tmp_path / "mix" / "ease-0").rglob("chosen.json")
    chosen.write_text('{"regularization": 123.0}')
    assert ServedBlend.of(load_blend(tmp_path / "mix")).version != before


def test_a_part_with_parameters_of_users_serves_nobody_else(folder: pathlib.Path) -> None:
    served = ServedBlend.of(load_blend(folder))
    first, *others = served.blend.components
    parts = (dataclasses.replace(first, name="HGN", score_new=None), *others)
    blend, none = dataclasses.replace(served.blend, components=parts), np.zeros(0, np.int32)
    served = dataclasses.replace(served, blend=blend)
    served.check(Query(3, none, none, None, True))
    for user in (None, served.histories.n_users):
        with pytest.raises(ValueError, match="HGN has parameters for each user of the data and none for somebody new"):
            served.check(Query(user, none, none, None, True))


def test_what_can_not_be_served_is_refused(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="mix is a blend, whose runs answer as they were weighted: leave out beams"):
        application([folder], beams=3)
    jaxrec.blend([folder / "mf-0", "transitions"], out=tmp_path / "baselines")
    with pytest.raises(ValueError, match="blends baselines alone; add a run, whose store keeps new events"):
        application([tmp_path / "baselines"])
    (tmp_path / "gone").mkdir()
    shutil.copy(folder / "blend.json", tmp_path / "gone")
    with pytest.raises(ValueError, match="the folder of META ID, is gone"):
        application([tmp_path / "gone"])
