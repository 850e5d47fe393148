"""All tasks in one run, and those that write alone, whole, on a world of 80 users."""

import dataclasses
import json
import pathlib
from typing import Any

import jax
import numpy as np
import pytest

from jaxrec import experiment
from jaxrec.config import Config, TaskConfig
from jaxrec.inference import service
from jaxrec.studies.compare import compare_configs
from jaxrec.system import run as runs
from jaxrec.system import text_examples as writing
from jaxrec.system import training
from jaxrec.system.embed import embed
from jaxrec.system.measuring import report_lines
from jaxrec.system.stages import build
from jaxrec.system.system import System
from jaxrec.system.text_tasks import Writer

WRITING = ("rating", "explanation", "review", "preference")


def asked(config: Config, folder: pathlib.Path, *tasks: Any, users: str = "static", **train) -> Config:
    return dataclasses.replace(
        config,
        out=str(folder),
        ids=dataclasses.replace(config.ids, users=users),
        task=TaskConfig(tasks=tasks, max_history=6, words=600, max_text=24, max_answer=12),
        train=dataclasses.replace(config.train, **{"source_length": 128, "target_length": 32, **train}),
    )


@pytest.fixture(scope="module")
def together(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> System:
    folder = tmp_path_factory.mktemp("runs") / "together"
    return experiment.train(asked(tiny, folder, "sequential", "direct", *WRITING))[0]


@pytest.fixture(scope="module")
def alone(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> System:
    return experiment.train(asked(tiny, tmp_path_factory.mktemp("runs") / "alone", *WRITING))[0]


def results(system: System) -> dict:
    return json.loads((system.folder / "results.json").read_text())


@pytest.mark.slow
def test_every_task_is_measured_beside_its_baselines(together: System) -> None:
    found = results(together)
    assert [row["system"] for row in found["rows"]][:2] == ["META ID", "META ID (user id only)"]
    systems = {task: [r["system"] for r in found["texts"]["rows"] if r["task"] == task] for task in WRITING}
    stars = ["META ID", "META ID, most likely", "global mean", "global median", "user + item bias", "MF"]
    assert systems == {
        "rating": stars,
        "explanation": ["META ID", "most frequent sentence", "sentence of the feature"],
        "review": ["META ID", "most frequent summary", "lead sentence", "title of the nearest review"],
        "preference": [*stars, "words (tf-idf ridge)"],
    }
    assert all(row["n"] > 0 for row in found["texts"]["rows"])
    own = [row for row in found["texts"]["rows"] if row["system"] == "META ID"]
    assert all(0.3 < row["rmse"] < 4 for row in own if "rmse" in row)
    assert all(0 <= row["bleu-4"] <= row["bleu-1"] <= 100 for row in own if "bleu-1" in row)
    assert {one["task"] for one in found["texts"]["intervals"]} == set(WRITING)
    told = report_lines(found)
    assert "user + item bias" in told
    assert "all 48 items ranked" in told
    page = (together.folder / "report.html").read_text()
    assert "lead sentence" in page
    assert "Ratings and texts" in page


@pytest.mark.slow
def test_no_event_that_is_held_back_teaches(together: System) -> None:
    run = together
    assert run.events is not None
    held = {(u, i) for part in (run.split.valid, run.split.test) for u, i in enumerate(part)}
    taught = set(zip(run.data.user[run.events.train].tolist(), run.data.item[run.events.train].tolist()))
    assert not held & taught
    assert run.split.train.ratings is not None
    tested = set(zip(run.data.user[run.events.test].tolist(), run.data.item[run.events.test].tolist()))
    seen = zip(run.split.train.users.tolist(), run.split.train.items.tolist(), run.split.train.ratings.tolist())
    assert all(np.isnan(rating) for user, item, rating in seen if (user, item) in tested)
    rows = {row for *_, events, _ in writing.examples(together, run.events.train)._parts for row in events.tolist()}
    assert rows <= set(run.events.train.tolist())


@pytest.mark.slow
def test_the_same_events_test_together_and_alone(together: System, alone: System) -> None:
    assert together.events is not None
    assert alone.events is not None
    np.testing.assert_array_equal(together.events.test, alone.events.test)
    assert len(together.events.kept_out) > 0
    assert not len(alone.events.kept_out)
    one, other = (system.material for system in (together, alone))
    np.testing.assert_array_equal(one.feature, other.feature)
    np.testing.assert_array_equal(one.sentence, other.sentence)
    assert results(alone)["rows"] == []
    assert results(alone)["protocol"] == "80/10/10"
    np.testing.assert_array_equal(
        alone.split.train.n_events, len(alone.events.train)
    )  # the embedder sees no tested event at all
    assert (alone.folder / "report.html").is_file()


def test_reviews_of_tested_events_reach_neither_tokenizer_nor_features(
    tiny: Config, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(text: str) -> tuple:
        run = runs.start(asked(tiny, tmp_path / text, *WRITING))
        assert run.events is not None
        assert run.data.text is not None
        held = np.concatenate([run.events.valid, run.events.test])
        for column in run.data.text.values():
            column[held] = f"The {text} is {text}. " * 8
        known = run.material
        taught = run.events.train
        return set(known.feature[taught]), build(run).vocabulary.tokenizer.get_vocab()

    assert made("zebra") == made("quagga")


@pytest.mark.slow
def test_a_run_that_writes_is_selected_by_likelihood_and_goes_on(alone: System) -> None:
    records = [json.loads(line) for line in (alone.folder / "metrics.jsonl").read_text().splitlines()]
    assert any("valid/nll" in record for record in records)
    again, _ = training.train_model(build(runs.start(alone.config)))  # finished: read, not trained
    for one, other in zip(jax.tree.leaves(alone.model), jax.tree.leaves(again.model), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(("select", "wanted"), [("auto", ("ndcg@10", "max")), ("nll", ("nll", "min"))])
def test_weights_are_selected_by_what_is_asked(
    together: System, monkeypatch: pytest.MonkeyPatch, select: str, wanted: tuple[str, str]
) -> None:
    def fit(loss_fn, params, buffers, optimizer, data, plan, **_) -> None:
        raise RuntimeError(plan.select, plan.mode)

    config = together.config
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, select=select))
    monkeypatch.setattr(training, "fit", fit)
    with pytest.raises(RuntimeError) as caught:
        training.train_model(dataclasses.replace(together, config=config))
    assert caught.value.args == wanted


@pytest.mark.parametrize(("task", "select", "needs"), [("sequential", "nll", "writes"), ("rating", "ndcg@10", "ranks")])
def test_weights_are_selected_by_what_is_measured(
    tiny: Config, tmp_path: pathlib.Path, task: str, select: str, needs: str
) -> None:
    with pytest.raises(ValueError, match=rf"train\.select {select} wants a task that {needs}"):
        runs.check_run(asked(tiny, tmp_path, task, select=select))


@pytest.mark.soak
def test_learned_texts_fit_the_world(tiny: Config, tmp_path: pathlib.Path) -> None:
    """Reviews of the world say how many stars they have: more steps must beat the global mean."""
    config = asked(tiny, tmp_path, "preference", steps=150, learning_rate=2e-2, relative=True, validate_every=1.0)
    found = experiment.train(config)[1]["texts"]
    rmse = {row["system"]: row["rmse"] for row in found["rows"]}
    assert rmse["META ID"] < 0.8 * rmse["global mean"]


@pytest.mark.parametrize("users", ["causal", "none"])
def test_other_user_ids(tiny: Config, tmp_path: pathlib.Path, users: str) -> None:
    system = build(runs.start(asked(tiny, tmp_path, "rating", users=users)))
    assert system.events is not None
    made = writing.examples(system, system.events.train)
    source, at, _, _ = made.build(np.arange(len(made)), 0)
    user = system.vocabulary.first_oov + system.vocabulary.new_tokens.index("<User>")
    assert all((user in source[at[i] : at[i + 1]]) == (users == "causal") for i in range(len(made)))


def test_causal_ids_are_of_the_other_training_events(tiny: Config, tmp_path: pathlib.Path) -> None:
    system = build(runs.start(asked(tiny, tmp_path, "rating", users="causal")))
    data, train = system.data, system.split.train
    vectors = writing._of_other_events(system)
    units = system.embedding.vectors.item / np.linalg.norm(system.embedding.vectors.item, axis=1, keepdims=True)
    for event in range(0, data.n_events, 37):
        others = train.of(data.user[event])
        others = others[others != data.item[event]]
        wanted = units[others].mean(0) if len(others) else np.zeros(units.shape[1])
        np.testing.assert_allclose(vectors[event], wanted, atol=1e-5)


@pytest.mark.slow
def test_odds_are_as_sure_as_they_are_right(together: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log-likelihoods that are three times those of the true shares are divided by three, whatever is tested."""
    run = together
    assert run.events is not None
    assert run.data.rating is not None
    writer = Writer(together)
    rated = run.data.rating[run.events.valid]
    shares = np.array([max((rated == s).mean(), 1e-3) for s in writer.stars])
    monkeypatch.setattr(writer, "_scorer", lambda source: np.tile(3 * np.log(shares), (len(source), 1)))
    assert writer.temperature("rating") == pytest.approx(3, rel=0.1)
    source = np.ones((2, 4), np.int32)
    np.testing.assert_allclose(writer.odds(source, 3.0), [shares / shares.sum()] * 2, rtol=1e-6)
    hidden = dataclasses.replace(run.events, valid=np.zeros(0, np.int64))
    nobody = Writer(dataclasses.replace(together, events=hidden))
    assert nobody.temperature("rating") == 1


@pytest.mark.slow
def test_ask(together: System) -> None:
    data = together.data
    user, items = str(data.user_names[3]), [str(name) for name in data.item_names[:2]]
    told = service.ask(together, "rating", user=user, items=items)
    assert [title for title, _ in told] == [str(t) for t in data.titles()[:2]]
    assert all(1 <= float(answer.split()[0]) <= 5 for _, answer in told)
    assert len(service.ask(together, "explanation", user=user, items=items, feature="kettle")) == 2
    assert service.ask(together, "review", user=user, review="I love it: the kettle came quickly.")[0][0] == ""
    wrong: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("rating", {}, "is about items; give some"),
        ("review", {"items": items, "review": "x"}, "leave items out"),
        ("review", {}, "needs --review"),
        ("explanation", {"items": items}, "needs --feature"),
        ("rating", {"items": items, "review": "x"}, "does not read --review"),
        ("rating", {"items": ["nothing"]}, "item 'nothing' is not in this run's data"),
    )
    for task, given, message in wrong:
        with pytest.raises(ValueError, match=message):
            service.ask(together, task, user=user, **given)


@pytest.mark.slow
def test_a_run_that_only_writes_recommends_nothing(alone: System) -> None:
    with pytest.raises(ValueError, match="ranks no items"):
        service.recommend(alone, 5, user=str(alone.data.user_names[0]))


@pytest.mark.slow
@pytest.mark.parametrize("embedder", ["mf", "lightgcn"])
def test_a_run_that_only_writes_trains_these_embedders_without_validation(
    tiny: Config, tmp_path: pathlib.Path, embedder: str
) -> None:
    """No item is held out for ranking, so none can stop the training early; it goes on to the last epoch."""
    config = asked(tiny, tmp_path, "rating").replace(embedder=embedder, lightgcn__epochs=2, lightgcn__dim=8)
    run = runs.start(config)
    vectors = embed(run).vectors
    assert np.isfinite(vectors.item).all()
    np.testing.assert_array_equal(vectors.item.any(axis=1), np.bincount(run.split.train.items, minlength=48) > 0)
    several = config.replace(lightgcn__losses=("bpr", "full"), out=str(tmp_path / "several"))
    with pytest.raises(ValueError, match="there is no validation item; name one loss"):
        embed(runs.start(several))


@pytest.mark.slow
def test_compare_joins_texts(together: System, alone: System, tmp_path: pathlib.Path) -> None:
    for name, system in (("all-0", together), ("writing_alone-0", alone)):
        (tmp_path / name).symlink_to(system.folder)
    study = {
        "all": dataclasses.replace(together.config, out=None),
        "writing alone": dataclasses.replace(alone.config, out=None),
    }
    joined = compare_configs({"all": study["all"]}, [0], tmp_path)
    assert "MF" in str(joined)
    joined = compare_configs({"writing alone": study["writing alone"]}, [0], tmp_path)
    rows = {(row.task, row.system) for row in joined.texts}
    assert ("rating", "writing alone") in rows
    assert ("rating", "writing alone, most likely") in rows
    assert "BLEU-4" in str(joined)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tasks": ()}, "names no task"),
        ({"tasks": ("rating",), "weights": ("rating",)}, "'rating' is not TASK=WEIGHT"),
        ({"tasks": ("rating",), "weights": ("rate=1",)}, "'rate=1' is not TASK=WEIGHT"),
        ({"tasks": ("rating",), "weights": ("rating=0",)}, "number above 0"),
        ({"tasks": ("rating",), "max_answer": 0}, "task.max_answer is 0; it must be at least 1"),
    ],
)
def test_tasks_that_are_none(tiny: Config, tmp_path: pathlib.Path, changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runs.check_run(dataclasses.replace(tiny, out=str(tmp_path), task=TaskConfig(**changed)))


def test_too_many_different_ratings(tiny: Config, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "events.csv"
    lines = [f"u{u},i{(u * 3 + n) % 20},{u + n / 7}" for u in range(30) for n in range(6)]
    file.write_text("\n".join(["user,item,rating", *lines]) + "\n")
    config = asked(tiny, tmp_path / "run", "rating")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(file)))
    with pytest.raises(ValueError, match="round them to at most 20"):
        runs.start(config)


def test_vectors_say_no_words(tiny: Config, tmp_path: pathlib.Path) -> None:
    config = dataclasses.replace(asked(tiny, tmp_path, "rating"), answer="vector")
    with pytest.raises(ValueError, match="wants words"):
        runs.check_run(config)


def test_data_without_texts(tiny: Config, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "events.csv"
    lines = [f"u{u},i{(u * 3 + n) % 20},{1 + n % 5}" for u in range(30) for n in range(6)]
    file.write_text("\n".join(["user,item,rating", *lines]) + "\n")
    config = asked(tiny, tmp_path / "run", "review")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(file)))
    with pytest.raises(ValueError, match="'review' needs the column review"):
        runs.start(config)


@pytest.mark.slow
def test_training_goes_over_every_task(together: System) -> None:
    made = training._all_examples(together)
    tasks = together.config.task
    assert len(made) == len(training.training_examples(together)) + len(
        writing.examples(together, together.events.train)  # pyright: ignore[reportOptionalMemberAccess]
    )
    assert tasks.weight("direct") == 0.5


@pytest.mark.soak
def test_a_study_of_both_splits_shares_no_vectors_and_stands_in_one_table(tiny: Config, tmp_path: pathlib.Path) -> None:
    short: dict[str, Any] = {"steps": 2, "validate_every": 10.0}
    study = {
        "alone": asked(tiny, tmp_path, "rating", **short),
        "together": asked(tiny, tmp_path, "sequential", "rating", **short),
    }
    joined = compare_configs(study, [0], tmp_path)
    one, other = (np.load(tmp_path / name / "vectors.npz")["item"] for name in ("alone-0", "together-0"))
    assert (one != other).any()
    assert joined.protocol == "strict"
    systems = [row.system for row in joined.texts]
    assert systems[:2] == ["alone", "alone, most likely"]
    assert {"together", "global mean", "global mean [together]"} <= set(systems)
    assert "global mean [together]" in str(joined)
