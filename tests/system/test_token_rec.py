"""TokenRec and what is crossed with META ID, whole, on a world of 80 users."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from jaxrec import experiment
from jaxrec.config import Config, load_study
from jaxrec.evaluate.ranking import rank_of
from jaxrec.inference import newcomers, service
from jaxrec.inference.store import LanceStore
from jaxrec.models.retriever import Retriever
from jaxrec.studies.compare import compare_configs
from jaxrec.system import loading, training
from jaxrec.system import run as runs
from jaxrec.system.measuring import report_lines
from jaxrec.system.stages import build
from jaxrec.system.system import System
from jaxrec.types import Histories, Interactions


def at(config: Config, folder: pathlib.Path, **parts) -> Config:
    changed = {
        name: dataclasses.replace(getattr(config, name), **value) if isinstance(value, dict) else value
        for name, value in parts.items()
    }
    return dataclasses.replace(config, out=str(folder), **changed)


@pytest.fixture(scope="module")
def trained(finished_run, tmp_path_factory: pytest.TempPathFactory) -> System:
    return finished_run("TokenRec", tmp_path_factory.mktemp("runs") / "run")


def test_the_table_has_every_row(trained: System) -> None:
    found = json.loads((trained.folder / "results.json").read_text())
    systems = [row["system"] for row in found["rows"]]
    main = [
        "TokenRec",
        "TokenRec (unseen prompt)",
        "TokenRec (user id only)",
        "LightGCN",
        "popularity",
        "item-kNN",
        "transitions",
    ]
    assert systems[: len(main)] == main
    assert {f"{s}, {g}" for s in main for g in ("seen users", "unseen users")} <= set(systems)
    n = {row["system"]: row["n_users"] for row in found["rows"]}
    assert n["TokenRec, seen users"] + n["TokenRec, unseen users"] == n["TokenRec"]
    assert n["TokenRec, unseen users"] == 8
    assert n["TokenRec, seen items"] + n["TokenRec, unseen items"] == n["TokenRec"]
    assert found["ms_per_user"] > 0
    assert found["ids"]["item"]["codebooks"]


def test_nothing_learned_saw_the_unseen(trained: System) -> None:
    split = trained.split
    examples = training.training_examples(trained)
    assert not split.unseen_users[examples.labels[:, 1]].any()
    assert not split.unseen_items[examples.labels[:, 0]].any()
    before = build(trained)
    for part, unseen in (("user", split.unseen_users), ("item", split.unseen_items)):
        assert not getattr(before.embedding.vectors, part)[unseen].any()
        known = np.bincount(split.known.users if part == "user" else split.known.items, minlength=len(unseen)) > 0
        assert getattr(trained.embedding.vectors, part)[unseen & known].any(axis=1).all()
        np.testing.assert_array_equal(
            getattr(trained.embedding.vectors, part)[~unseen], getattr(before.embedding.vectors, part)[~unseen]
        )


@pytest.mark.slow
def test_retrieval_ranks_by_cosine_with_the_answer(trained: System) -> None:
    """The list equals brute force over all items, asked one user at a time without padding."""
    assert isinstance(trained.model, Retriever)
    users, histories = np.arange(12), trained.histories
    top = trained.recommend(users, 10)
    items = np.asarray(trained.model.place(trained.embedding.vectors.item), np.float64)
    ask = trained.asker(histories, trained.user_codes(histories, np.arange(80)), "collaborative", "seen")
    for row, user in enumerate(users):
        z = np.asarray(trained.model(jax.numpy.asarray(ask(np.array([user]))))[0, 0], np.float64)
        scores = items @ z / np.linalg.norm(z)
        scores[~items.any(axis=1)] = -np.inf
        scores[histories.of(user)] = -np.inf
        np.testing.assert_allclose(top.scores[row], np.sort(scores)[::-1][:10], atol=1e-5)
        np.testing.assert_allclose(scores[top.items[row]], top.scores[row], atol=1e-5)


def test_measured_ranks_are_those_of_full_scores(trained: System) -> None:
    assert isinstance(trained.model, Retriever)
    split, n_items = trained.split, trained.data.n_items
    ranks = trained.measure("test").ranks
    history = split.history("test")
    top = trained.recommend(np.arange(history.n_users), n_items)
    scores = np.full((history.n_users, n_items), -np.inf, np.float32)
    for row in range(history.n_users):
        listed = top.items[row] >= 0
        scores[row, top.items[row][listed]] = top.scores[row][listed]
    # A target that the user had before is left out of `recommend`'s list, but not of the ranking.
    fresh = np.array([split.test[u] not in history.of(u) for u in range(history.n_users)])
    full = np.asarray(rank_of(scores, split.test, None))
    within = fresh & np.isfinite(ranks)
    np.testing.assert_array_equal(ranks[within], full[within])
    assert (full[fresh & np.isinf(ranks)] > 20).all()


@pytest.mark.slow
def test_loaded_from_its_store_recommends_the_same(trained: System) -> None:
    loaded = newcomers.served(loading.load(trained.folder))
    one, other = (s.recommend(np.arange(30), 5) for s in (trained, loaded))
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)


@pytest.mark.slow
def test_newcomers_are_taken_in_without_training(finished_run, tmp_path: pathlib.Path) -> None:
    system = newcomers.served(finished_run("TokenRec", tmp_path / "run"))
    data = system.data
    liked = [str(data.item_names[i]) for i in system.histories.of(3)[-4:]]
    events = Interactions(
        user=np.array([0, 0, 0, 0, 1, 1], np.int32),
        item=np.array([0, 1, 2, 4, 3, 4], np.int32),
        user_names=np.array(["newcomer", str(data.user_names[5])], object),
        item_names=np.array([*liked, "fresh item"], object),
    )
    after, done = newcomers.update(system, events)
    assert (done.new_users, done.new_items) == (1, 1)
    assert done.events + done.known_events == 6
    for one, other in zip(jax.tree.leaves(system.model), jax.tree.leaves(after.model)):
        np.testing.assert_array_equal(one, other)
    again = newcomers.served(loading.load(tmp_path / "run"))
    assert again.data.user_names[-1] == "newcomer"
    fresh = again.data.n_items - 1
    assert again.data.item_names[fresh] == "fresh item"
    assert again.histories.of(again.histories.n_users - 1).tolist()[-1] == fresh
    np.testing.assert_array_equal(after.embedding.vectors.item, again.embedding.vectors.item)
    np.testing.assert_array_equal(  # everybody else keeps vector and id
        again.embedding.vectors.item[:fresh], system.embedding.vectors.item
    )
    # LightGCN's refresh by hand: the new item's vector is a mean over layers in which its own row is zeros.
    assert again.embedding.vectors.item[fresh].any()
    shown = service.recommend(again, 5, user="newcomer")
    assert len(shown.items) == 5
    labels = " ".join(label for label, _ in shown.history)
    assert all(name in labels for name in liked[:3])
    everything = again.recommend(np.array([0]), again.data.n_items)
    assert fresh in everything.items  # the new item can be recommended
    _, repeated = newcomers.update(again, events)
    assert (repeated.events, repeated.new_users, repeated.known_events) == (0, 0, 6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("embedder", "kind", "answer"),
    [
        pytest.param("mf", "meta_id", "vector", marks=pytest.mark.soak),
        pytest.param("walks", "mq", "id", marks=pytest.mark.soak),
        pytest.param("walks", "meta_id", "vector", marks=pytest.mark.soak),
        pytest.param("mf", "mq", "id", marks=pytest.mark.soak),
        pytest.param("walks", "rq_vae", "id", marks=pytest.mark.long),
        pytest.param("walks", "kmeans", "id", marks=pytest.mark.soak),
    ],
)
def test_crossed_by_config_alone(
    token_rec: Config, tmp_path: pathlib.Path, embedder: str, kind: str, answer: str
) -> None:
    config = at(
        token_rec,
        tmp_path / "run",
        embedder=embedder,
        answer=answer,
        lightgcn={"losses": ("bpr", "in_batch")},
        ids={"kind": kind, "users": "none" if kind == "kmeans" else "causal"},
        task={"tasks": ("sequential",)},
        train={"steps": 4},
        eval={"prompt": "seen"},
    )
    system, found = experiment.train(config)
    assert found["rows"][0]["system"] == system.name
    if embedder == "mf":
        chosen = found["embedder"]
        assert chosen["loss"] == max(chosen["validation_ndcg@10"], key=chosen["validation_ndcg@10"].get)
        assert list(chosen["validation_ndcg@10"]) == ["bpr", "in_batch"]
        assert f"the embedder's loss is {chosen['loss']}, chosen" in report_lines(found)
        assert "embedder's loss</th>" in (tmp_path / "run" / "report.html").read_text()
        assert loading.load(tmp_path / "run").embedding.report == chosen
        assert system.embedding.cosine == (chosen["loss"] == "in_batch")
    top = newcomers.served(loading.load(tmp_path / "run")).recommend(np.arange(10), 5)
    assert (top.items >= 0).all()
    if answer == "id":
        assert len(np.unique(system.item_tokens, axis=0)) == system.data.n_items


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"pooling": "flatten", "similarity": "inner"},
        pytest.param({"loss": "margin"}, marks=pytest.mark.soak),
        pytest.param({"loss": "sampled"}, marks=pytest.mark.soak),
    ],
)
def test_losses_and_poolings_learn(trained: System, tmp_path: pathlib.Path, changed: dict) -> None:
    train = {"steps": 30, "validate_every": 1e-6, "log_every": 1}
    run = runs.start(at(trained.config, tmp_path / "run", retrieval=changed, train=train))
    shutil.copy(trained.folder / "vectors.npz", run.folder)
    shutil.copytree(trained.folder / "ids", run.folder / "ids")
    _, fitted = training.train_model(build(run))
    losses = [record["loss"] for record in fitted.history if "loss" in record]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_a_store_that_is_not_this_runs_is_told(trained: System, tmp_path: pathlib.Path) -> None:
    folder = trained.folder / "store"
    moved = folder.rename(tmp_path / "store")
    try:
        with pytest.raises(ValueError, match=r"store is missing; the run's launch.train command"):
            newcomers.served(trained)
        LanceStore.create(folder, 5)
        with pytest.raises(ValueError, match="width 5, expected 8"):
            newcomers.served(trained)
    finally:
        if folder.exists():
            folder.rename(tmp_path / "other")
        moved.rename(folder)


@pytest.mark.soak
def test_a_study_joins_runs_and_seeds(token_rec: Config, tmp_path: pathlib.Path) -> None:
    base = at(token_rec, tmp_path, train={"steps": 4}, eval={"prompt": "seen"})
    study = {"TokenRec": base, "w/o masking": at(base, tmp_path, quantizer={"mask": 0.0})}
    joined = compare_configs(study, [0, 1], tmp_path)
    systems = [row.system for row in joined.rows]
    assert systems == [
        "TokenRec",
        "TokenRec (user id only)",
        "LightGCN",
        "popularity",
        "item-kNN",
        "transitions",
        "w/o masking",
    ]
    assert all(len(row.metrics["hr@10"]) == 2 for row in joined.rows)
    one, other = (np.load(tmp_path / f"{name}-0" / "vectors.npz")["item"] for name in ("tokenrec", "w_o_masking"))
    np.testing.assert_array_equal(one, other)
    text = str(joined)
    assert "seeds 0, 1" in text
    assert "±" in text
    intervals = {(i.system, i.metric): i for i in joined.intervals}
    assert list(intervals) == [(s, m) for s in ("TokenRec", "w/o masking") for m in ("hr@10", "ndcg@10")]
    by_name = {row.system: row for row in joined.rows}
    for (system, metric), found in intervals.items():
        means = {n: by_name[n].mean(metric) for n in ("LightGCN", "popularity", "item-kNN", "transitions")}
        assert means[found.baseline] == max(means.values())
        assert found.difference == pytest.approx(by_name[system].mean(metric) - max(means.values()))
        assert found.low < found.difference < found.high
        assert found.n_users == 160, "each seed has a generated world with 80 users of its own"
    assert "95% paired bootstrap over 160 users" in text
    again = compare_configs(study, [0, 1], tmp_path)
    assert again.rows == joined.rows


def test_studies_are_checked(tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty.py").write_text("study = {}\n")
    with pytest.raises(ValueError, match="builds no `study` of configs by name"):
        load_study(tmp_path / "empty.py")
    assert list(load_study("configs/demo.py")) == ["demo"]


@pytest.mark.long
def test_a_mesh_of_four_gives_the_losses_of_one(token_rec: Config, tmp_path: pathlib.Path) -> None:
    losses, systems = [], []
    for name, devices in (("one", (1, 1)), ("four", (2, 2))):
        parts = {
            "data_parallel": devices[0],
            "model_parallel": devices[1],
            "steps": 4,
            "validate_every": 1e-6,
            "log_every": 1,
        }
        system, fitted = training.train_model(build(runs.start(at(token_rec, tmp_path / name, train=parts))))
        losses.append([record["loss"] for record in fitted.history if "loss" in record])
        systems.append(system)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    # With the same weights, a catalogue that four devices share is ranked as one device does.
    one, four = systems[0], dataclasses.replace(systems[1], model=systems[0].model)
    assert four.recommender.items.sharding.num_devices == 4
    alone, shared = (system.recommend(np.arange(30), 5) for system in (one, four))
    np.testing.assert_array_equal(alone.items, shared.items)
    np.testing.assert_allclose(alone.scores, shared.scores, atol=1e-5)
    np.testing.assert_allclose(one.measure("test").ranks, four.measure("test").ranks)


def test_known_users_coming_as_strangers_keep_about_their_ids(trained: System) -> None:
    """A fold-in has the length of the vectors that ids were made from: most codes agree, far above chance."""
    split = trained.split
    seen = np.flatnonzero(~split.unseen_users)
    own = trained.ids.users.codes.values[seen]
    codes = trained.user_codes(split.train)
    assert codes is not None
    assert (codes.values[seen] == own).mean() > 2 / 8  # 8 codewords: twice what chance gives
    newcomers = trained.embedding.vectors.user[split.unseen_users]
    lengths = np.linalg.norm(trained.embedding.vectors.user[seen], axis=1)
    np.testing.assert_allclose(np.linalg.norm(newcomers, axis=1), lengths.mean(), rtol=1e-4)


@pytest.mark.slow
def test_a_run_trained_again_keeps_what_updates_brought(finished_run, tmp_path: pathlib.Path) -> None:
    config = finished_run("TokenRec", tmp_path / "run").config
    (tmp_path / "run" / "store").rename(tmp_path / "run" / "store.part")  # as if it was killed while filling it
    experiment.train(config)
    system = newcomers.served(loading.load(tmp_path / "run"))
    data = system.data
    missing = next(i for i in range(data.n_items) if i not in system.histories.of(0))
    events = Interactions(
        user=np.array([0, 0], np.int32),
        item=np.array([0, 0], np.int32),
        user_names=data.user_names[:1],
        item_names=data.item_names[[missing]],
    )
    _, done = newcomers.update(system, events)
    assert (done.events, done.known_events) == (1, 1)
    experiment.train(config)
    assert missing in newcomers.served(loading.load(tmp_path / "run")).histories.of(0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": {"target_length": 7}}, "an example takes two; give an even number"),
        ({"retrieval": {"temperature": 0.0}}, "retrieval.temperature is 0.0; it must be at least"),
        ({"quantizer": {"codebooks": 0}}, "codebooks is 0; it must be at least 1"),
        ({"lightgcn": {"losses": ("bpr", "ssm")}}, "'ssm', which is not one of bpr, sampled, in_batch, full"),
        ({"lightgcn": {"temperature": 0.0}}, r"lightgcn\.temperature is 0.0; it must be at least"),
        ({"lightgcn": {"validate_every": -1}}, r"lightgcn\.validate_every is -1; it must be at least 0"),
        ({"ids": {"clusters": -1}}, r"ids\.clusters is -1; it must be at least 0"),
    ],
)
def test_configs_that_can_not_work(token_rec: Config, tmp_path: pathlib.Path, changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runs.start(at(token_rec, tmp_path / "run", **changed))


@pytest.mark.soak
def test_unseen_items_find_free_numbers_to_be_decoded_by(token_rec: Config, tmp_path: pathlib.Path) -> None:
    config = at(
        token_rec,
        tmp_path / "run",
        answer="id",
        task={"tasks": ("sequential",)},
        data={"unseen_items": 0.2},
        train={"steps": 2},
        eval={"prompt": "seen"},
    )
    system, _ = experiment.train(config)
    assert len(np.unique(system.item_tokens, axis=0)) == system.data.n_items


def test_histories_of_another_catalogue_size_fold_in(trained: System) -> None:
    histories = Histories(np.array([0, 2]), np.array([1, 2], np.int32), trained.data.n_items)
    assert trained.recommend_to_strangers(histories, 3).items.shape == (1, 3)
