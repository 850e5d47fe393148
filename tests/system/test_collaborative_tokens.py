"""Collaborative tokens (CoLLM): a run of two stages, its prompts, its interruption, newcomers and its refusals."""

import dataclasses
import pathlib
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec
from safetensors.numpy import load_file, save_file

from jaxrec import experiment
from jaxrec.config import Config, LlamaConfig, LoraConfig, ModelConfig
from jaxrec.config.checks import check_config
from jaxrec.export.whole_system import export
from jaxrec.inference import newcomers, queries
from jaxrec.models.collaborative_tokens import ITEM, STRANGER, USER, CollaborativeTokens, numbers
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.oov import Frozen
from jaxrec.report.answer_attention import answer_attention
from jaxrec.system import loading, training
from jaxrec.system import run as runs
from jaxrec.system.stages import build
from jaxrec.system.system import System
from jaxrec.system.training_stages import ALL_BUT_TOKENS, LANGUAGE_MODEL, OF_TOKENS, stages_of
from jaxrec.training.checkpoint import restore_best
from jaxrec.training.sharding import make_mesh, shardings
from jaxrec.training.state import rebuilder
from jaxrec.types import Interactions, Vectors


@pytest.fixture(scope="module")
def with_tokens(token_rec: Config) -> Config:
    return token_rec.replace(
        name="tiny CoLLM",
        answer="id",
        ids__kind="rid",
        ids__users="none",
        data__unseen_users=0.1,
        task__collaborative_tokens__hidden=16,
        model__oov__scope="none",
        train__source_length=128,
        train__validate_every=0.1,  # twice a stage
        eval__prompt="seen",
    )


@pytest.fixture(scope="module")
def trained(with_tokens: Config, tmp_path_factory: pytest.TempPathFactory) -> System:
    out = str(tmp_path_factory.mktemp("runs") / "run")
    return experiment.train(dataclasses.replace(with_tokens, out=out))[0]


def weights(model: Any, kind: Any) -> dict[str, np.ndarray]:
    return {"/".join(map(str, path)): np.asarray(x[...]) for path, x in nnx.to_flat_state(nnx.state(model, kind))}


def assert_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    assert one
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def assert_all_moved(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert [name for name, value in one.items() if np.array_equal(value, other[name])] == []


def after_first_stage(system: System) -> LanguageModel:
    """The best weights of the first stage, which the second began with."""
    first = stages_of(system.config.task.collaborative_tokens, 2)[0]
    model = first.begin(system.model, system.embedding.vectors)
    _, params, buffers = nnx.split(model, first.trained, ...)
    return rebuilder(model)(*restore_best(system.folder / LANGUAGE_MODEL, params, buffers))


@pytest.mark.slow
def test_each_stage_leaves_the_weights_of_the_other_as_they_are(trained: System) -> None:
    fresh = build(runs.reopen(trained.folder), untrained=True).model
    between, model = after_first_stage(trained), trained.model
    assert_equal(weights(between, OF_TOKENS), weights(fresh, OF_TOKENS))
    assert_all_moved(weights(between, ALL_BUT_TOKENS), weights(fresh, ALL_BUT_TOKENS))
    assert_equal(weights(model, ALL_BUT_TOKENS), weights(between, ALL_BUT_TOKENS))
    assert_all_moved(weights(model, OF_TOKENS), weights(fresh, OF_TOKENS))


@pytest.mark.slow
def test_prompts_hold_vectors_behind_ids_of_items_and_for_users_and_answers_ids_alone(trained: System) -> None:
    system, vocabulary = trained, trained.vocabulary
    known, task = system.split.known, system.config.task.ranking[0]
    row = system.asker(known, system.user_codes(known, np.arange(3)), "direct", "seen")(np.arange(3))[2]
    prefix = vocabulary.first_oov + vocabulary.new_tokens.index("<User>")
    at = int(np.flatnonzero(row >= vocabulary.size)[0])
    assert row[at] == vocabulary.size + numbers(USER, np.int64(2))
    assert row[at - 1] == prefix
    assert (row >= vocabulary.size).sum() == 1

    examples = training.training_examples(system)
    source, _, target, _ = examples.build(np.arange(len(examples)), 0)
    assert target.max() < vocabulary.size
    assert target[: system.item_tokens.shape[1]].tolist() in system.item_tokens.tolist()
    said = source[source >= vocabulary.size] - vocabulary.size
    item_numbers = numbers(ITEM, np.arange(system.data.n_items))
    assert set(said) <= {*item_numbers, *numbers(USER, np.arange(system.data.n_users))}
    places = np.flatnonzero(np.isin(source - vocabulary.size, item_numbers))
    assert len(places)
    for place in places[:50]:
        item = int(source[place] - vocabulary.size) // 3
        assert source[place - system.item_tokens.shape[1] : place].tolist() == system.item_tokens[item].tolist()
    assert task == "collaborative"


@pytest.mark.slow
def test_vectors_count_in_the_second_stage_alone(trained: System) -> None:
    vectors = trained.embedding.vectors
    changed = dataclasses.replace(trained.embedding, vectors=Vectors(vectors.user, vectors.item[::-1].copy()))
    users = np.arange(20)

    def scores(system: System) -> np.ndarray:
        return system.recommend(users, 10).scores

    other = dataclasses.replace(trained, embedding=changed)
    assert np.abs(scores(trained) - scores(other)).max() > 1e-4
    first = stages_of(trained.config.task.collaborative_tokens, 2)[0]
    before, after = (first.begin(trained.model, v) for v in (vectors, changed.vectors))
    source = trained.asker(trained.histories, trained.user_codes(trained.histories, np.arange(80)), "direct", "seen")
    tops = []
    for model in (before, after):
        recommender = trained.recommender
        tops.append(recommender.with_model(model)(source(users), None, 10))  # pyright: ignore
    np.testing.assert_array_equal(tops[0].scores, tops[1].scores)


@pytest.mark.slow
def test_strangers_get_the_list_of_their_folded_in_vector_alone_or_in_a_batch(trained: System) -> None:
    names = queries.Names.of(trained)
    items = trained.data.item_names
    asked = [
        queries.query(trained, names, history=[str(name) for name in items[:4]]),
        queries.query(trained, names, user=str(trained.data.user_names[1])),
        queries.query(trained, names, history=[str(name) for name in items[7:10]]),
    ]
    together = queries.top_k(trained, asked, 5, "direct")
    for n, query in enumerate(asked):
        alone = queries.top_k(trained, [query], 5, "direct")
        np.testing.assert_allclose(alone.scores[0], together.scores[n], atol=1e-4)
        np.testing.assert_array_equal(alone.items[0], together.items[n])
    source = queries.prompts(trained, asked, "direct")
    tokens = source[source >= trained.vocabulary.size] - trained.vocabulary.size
    assert tokens.tolist() == [numbers(STRANGER, 0), numbers(USER, 1), numbers(STRANGER, 1)]

    swapped = trained.recommender_to(queries.history_of(trained, asked[2]))  # another stranger's vector
    prompt = queries.prompts(trained, asked[:1], "direct")
    allowed = queries.allowed_items(trained, asked[:1])
    assert np.abs(swapped(prompt, None, 5, allowed).scores - together.scores[:1]).max() > 1e-5


@pytest.mark.slow
def test_what_came_after_training_has_a_vector_and_so_a_token(trained: System) -> None:
    served = newcomers.served(trained)
    some, new = trained.data.item_names, np.array(["new item"], object)
    events = Interactions(
        np.array([0, 0, 1], np.int32),
        np.array([0, 1, 1], np.int32),
        np.array(["new user", str(trained.data.user_names[0])], object),
        np.array([str(some[3]), str(new[0])], object),
    )
    system, done = newcomers._changed(newcomers._served(served, newcomers._open(served)), events)[:2]
    assert (done.new_users, done.new_items) == (1, 1)
    user, item = system.data.n_users - 1, system.data.n_items - 1
    tokens = system.current_model.collaborative
    assert tokens is not None
    wanted = numbers(USER, np.int64(user)), numbers(ITEM, np.int64(item))
    row = jax.numpy.asarray([[system.vocabulary.size + int(n) for n in wanted]])
    vectors = system.embedding.vectors
    np.testing.assert_array_equal(tokens.vectors_of(row)[0], [vectors.user[user], vectors.item[item]])
    assert vectors.user[user].any()
    assert (system.recommend(np.array([user]), 5).items >= 0).all()
    assert (trained.embedding.vectors.user[trained.split.unseen_users] != 0).any(axis=1).all()


@pytest.mark.slow
def test_a_loaded_run_answers_as_before_and_shows_what_it_attends_to(trained: System) -> None:
    again = loading.load(trained.folder)
    lists = [system.recommend(np.arange(8), 5) for system in (trained, again)]
    np.testing.assert_array_equal(lists[0].items, lists[1].items)
    np.testing.assert_array_equal(lists[0].scores, lists[1].scores)
    user = int(np.flatnonzero(trained.split.test >= 0)[0])
    attention = answer_attention(again, user)
    assert attention is not None
    assert "<User>" in attention.pieces
    assert (attention.items >= 0).any()
    report = (trained.folder / "report.html").read_text()
    assert "first stage" in report


@pytest.mark.slow
def test_its_export_gives_the_same_lists_with_transformers_alone(trained: System, tmp_path: pathlib.Path) -> None:
    out = export(newcomers.served(trained), tmp_path / "out", samples=6)
    checked = subprocess.run([sys.executable, out / "recommend.py", "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    rows = load_file(out / "item_vectors.safetensors")["vectors"]
    assert rows.shape == (trained.data.n_items, trained.config.model.t5.d_model)
    assert not rows[~trained.embedding.vectors.item.any(axis=1)].any()
    save_file({"vectors": rows[::-1].copy()}, out / "item_vectors.safetensors")
    checked = subprocess.run([sys.executable, out / "recommend.py", "--check"], capture_output=True, text=True)
    assert "prompts are the same: NOT AGREED" in checked.stdout, checked.stdout + checked.stderr


@pytest.mark.slow
def test_a_run_that_is_stopped_at_the_border_and_behind_it_ends_as_the_other(
    trained: System, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(trained.config, out=str(tmp_path / "run"))
    validate, calls = training.validate_ranking, []

    def stop_at(count: int) -> None:
        def stopped(system: System) -> dict[str, float]:
            calls.append(system.model.collaborative)
            if len(calls) == count:
                raise InterruptedError
            return validate(system)

        monkeypatch.setattr(training, "validate_ranking", stopped)

    lines = (trained.folder / LANGUAGE_MODEL / "metrics.jsonl").read_text().splitlines()
    first = sum("valid/" in line for line in lines)
    assert first == 2
    for count in (first + 1, first + 3):  # without a checkpoint of the second stage, and with one
        stop_at(count)
        with pytest.raises(InterruptedError):
            training.train_model(build(runs.start(config)))
        assert len(calls) == count
    monkeypatch.setattr(training, "validate_ranking", validate)
    system, _ = training.train_model(build(runs.start(config)))
    assert_equal(weights(system.model, nnx.Param), weights(trained.model, nnx.Param))


@pytest.mark.soak
def test_a_decoder_with_lora_learns_them_and_a_single_stage_learns_all(
    with_tokens: Config, tmp_path: pathlib.Path, script, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = LlamaConfig(d_model=16, d_kv=8, heads=2, kv_heads=1, d_ff=32, layers=1)
    config = with_tokens.replace(out=str(tmp_path / "run"), train__steps=4, train__validate_every=100.0)
    config = dataclasses.replace(config, model=ModelConfig(backbone="llama", llama=shape, lora=LoraConfig(rank=2)))
    config = config.replace(ids__kind="mq", ids__users="static")
    start = build(runs.start(config))
    system, _ = training.train_model(start)
    assert weights(system.model, Frozen)
    assert_equal(weights(system.model, Frozen), weights(start.model, Frozen))
    assert_all_moved(weights(system.model, OF_TOKENS), weights(start.model, OF_TOKENS))
    assert (system.recommend(np.arange(4), 5).items >= 0).all()
    row = system.asker(system.histories, system.user_codes(system.histories, np.arange(80)), "direct", "seen")
    ids = system.vocabulary.ids("<User>", system.ids.users.codes).tokens[2].tolist()
    said = [*ids, system.vocabulary.size + int(numbers(USER, np.int64(2)))]
    assert str(said)[1:-1] in str(row(np.arange(3))[2].tolist()), "behind a user's id, where there is one"
    for adapter in (False, True):
        out = export(loading.with_unseen(system), tmp_path / f"out {adapter}", samples=3, adapter=adapter)
        with monkeypatch.context() as context:
            context.syspath_prepend(out)
            context.delitem(sys.modules, "vector_tokens", raising=False)
            recommend = script(out)
            assert recommend.check(recommend.Exported(out))
    joint = config.replace(out=str(tmp_path / "joint"), task__collaborative_tokens__first_stage=0.0)
    system, _ = training.train_model(build(runs.start(joint)))
    assert not (tmp_path / "joint" / LANGUAGE_MODEL).exists()
    assert_all_moved(weights(system.model, nnx.Param), weights(start.model, nnx.Param))


def test_tables_of_vectors_are_cut_over_the_mesh() -> None:
    vectors = Vectors(*np.ones((2, 5, 3), np.float32))
    tokens = CollaborativeTokens(vectors, 4, 7, jax.numpy.ones((7, 6)), "float32", rngs=nnx.Rngs(0))
    model = nnx.Dict(collaborative=tokens)
    placed = shardings(nnx.state(model), make_mesh(1, 2), training.TABLES)
    specs = {"/".join(map(str, path)): x.get_value().spec for path, x in nnx.to_flat_state(placed)}
    cut = {name for name, spec in specs.items() if spec == PartitionSpec("model", None)}
    assert cut == {"collaborative/items", "collaborative/users"}
    assert all(spec == PartitionSpec() for name, spec in specs.items() if name not in cut)


@pytest.mark.parametrize(
    "changed",
    [
        {"answer": "vector"},
        {"ids__users": "causal"},
        {"train__members": 2},
        {"task__tasks": ("autoregressive",)},
    ],
)
def test_what_has_no_place_for_them_is_refused(with_tokens: Config, changed: dict) -> None:
    with pytest.raises(ValueError, match=r"task\.collaborative_tokens stand in prompts .* don't go with"):
        check_config(with_tokens.replace(**changed))


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_of_the_first_stage_leaves_steps_for_the_second(with_tokens: Config, share: float) -> None:
    with pytest.raises(ValueError, match=r"task\.collaborative_tokens\.first_stage"):
        check_config(with_tokens.replace(task__collaborative_tokens__first_stage=share))
    with pytest.raises(ValueError, match=r"training has 1 step .* wants two stages"):
        stages_of(with_tokens.task.collaborative_tokens, 1)
    assert [stage.steps for stage in stages_of(with_tokens.task.collaborative_tokens, 5)] == [2, 3]
