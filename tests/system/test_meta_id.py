"""META ID from events to recommendations, whole, on a world of 80 users."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from jaxrec import experiment
from jaxrec.config import Config, OovConfig, T5Config
from jaxrec.hub.t5 import to_hf
from jaxrec.inference import service
from jaxrec.models.t5 import T5
from jaxrec.system import loading, training
from jaxrec.system import run as runs
from jaxrec.system.identify import identify
from jaxrec.system.stages import build
from jaxrec.system.system import System
from jaxrec.tokenizers import vocabulary
from jaxrec.types import Histories, Vectors


def at(config: Config, folder: pathlib.Path, **parts) -> Config:
    changed = {name: dataclasses.replace(getattr(config, name), **values) for name, values in parts.items()}
    return dataclasses.replace(config, out=str(folder), **changed)


@pytest.fixture(scope="module")
def trained(finished_run, tmp_path_factory: pytest.TempPathFactory) -> System:
    return finished_run("META ID", tmp_path_factory.mktemp("runs") / "tiny")


def test_the_folder_holds_all_that_is_promised(trained: System) -> None:
    folder = trained.folder
    for name in ("config.json", "metrics.jsonl", "results.json", "ranks.npz", "vectors.npz", "ids/items.txt"):
        assert (folder / name).is_file(), name
    assert list((folder / "checkpoints").iterdir())
    found = json.loads((folder / "results.json").read_text())
    assert [row["system"] for row in found["rows"]] == [
        "META ID",
        "META ID (user id only)",
        "popularity",
        "item-kNN",
        "transitions",
    ]
    assert found["protocol"] == "strict"
    assert all(row["n_users"] == 80 and 0 <= row["hr@10"] <= 1 for row in found["rows"])
    assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()][-1] == 8


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again(trained: System) -> None:
    again, _ = experiment.train(trained.config)
    for one, other in zip(jax.tree.leaves(trained.model), jax.tree.leaves(again.model)):
        np.testing.assert_array_equal(one, other)


def test_loaded_recommends_the_same(trained: System) -> None:
    loaded = loading.load(trained.folder)
    users = np.arange(20)
    one, other = (s.recommend(users, 5) for s in (trained, loaded))
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)


def test_seen_items_are_left_out(trained: System) -> None:
    history, users = trained.split.history("test"), np.arange(80)
    found = trained.recommend(users, 10).items
    for user in users:
        assert not set(found[user]) & set(history.of(user))
        listed = found[user][found[user] >= 0]
        assert len(set(listed)) == len(listed)


def test_a_beam_as_wide_as_the_catalogue_is_exact(trained: System) -> None:
    wide = loading.load(trained.folder, beams=48)
    exact = loading.load(trained.folder, recommender="exact")
    users = np.arange(40)
    one, other = (s.recommend(users, 10) for s in (wide, exact))
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_shown_names_ids_and_truth(trained: System) -> None:
    name = service.examples(trained, 1)[0]
    shown = service.recommend(trained, 5, user=name)
    assert len(shown.items) == 5
    assert all(id_.startswith("<Item><CT") for _, id_, *_ in shown.items)
    assert name in str(shown)
    assert "<User><CT" in str(shown)


def test_somebody_new(trained: System) -> None:
    names = [str(n) for n in trained.data.item_names[:3]]
    shown = service.recommend(trained, 5, history=names)
    assert [id_ for _, id_ in shown.history] == [trained.item_name(i) for i in range(3)]
    assert not {id_ for _, id_, *_ in shown.items} & {id_ for _, id_ in shown.history}
    empty = service.recommend(trained, 5, history=[])
    assert len(empty.items) == 5


def test_unknown_names_are_told(trained: System) -> None:
    with pytest.raises(ValueError, match=r"user 'nobody' is not in this run's data; names look like"):
        service.recommend(trained, 5, user="nobody")
    with pytest.raises(ValueError, match=r"item 'nothing' is not in this run's data"):
        service.recommend(trained, 5, history=["nothing"])
    with pytest.raises(ValueError, match=r"k=49 is not between 1 and the 48 items"):
        service.recommend(trained, 49, history=[])


def test_a_folder_keeps_to_its_config(trained: System) -> None:
    other = at(trained.config, trained.folder, train={"learning_rate": 1.0})
    with pytest.raises(ValueError, match=r"holds a run of another config \(train.learning_rate differ\)"):
        runs.start(other)
    with pytest.raises(ValueError, match=r"\(eval.mask_seen differ\)"):  # it steers validation
        runs.start(at(trained.config, trained.folder, eval={"mask_seen": False}))
    assert not runs.start(trained.config).fresh


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ids": {"users": "none"}}, "task 'direct' needs user ids"),
        ({"eval": {"beams": 4}}, "eval.beams=4 can't list ten items"),
        ({"data": {"path": "no/such/file.txt"}}, "'no/such/file.txt' is at none of"),
    ],
)
def test_a_config_that_can_not_work_leaves_no_folder(
    tiny: Config, tmp_path: pathlib.Path, changed: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        runs.start(at(tiny, tmp_path / "run", **changed))
    assert not (tmp_path / "run").exists()


def test_rows_have_to_divide_over_the_devices(tiny: Config, tmp_path: pathlib.Path) -> None:
    config = at(tiny, tmp_path / "run", train={"rows": 6, "data_parallel": 4})
    with pytest.raises(ValueError, match=r"train.rows=6 doesn't divide over the 4 devices"):
        training.train_model(build(runs.start(config)))


def test_ids_edited_after_training_are_refused_and_before_it_are_used(trained: System, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained.folder, copy)
    lines = (copy / "ids" / "items.txt").read_text().splitlines()
    (one, first), (other, second) = (line.rsplit(maxsplit=1) for line in lines[:2])
    lines[:2] = [f"{one} {second}", f"{other} {first}"]
    (copy / "ids" / "items.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match="were edited after training began"):
        loading.load(copy)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    shutil.copytree(copy / "ids", fresh / "ids")
    system = build(runs.start(at(trained.config, fresh)))
    assert system.item_name(0) == trained.item_name(1)


def test_a_question_that_was_not_trained_is_refused(tiny: Config, tmp_path: pathlib.Path) -> None:
    system = build(runs.start(at(tiny, tmp_path / "run", task={"tasks": ("sequential",)})))
    with pytest.raises(ValueError, match=r"task 'direct' was not trained in this run; it knows sequential"):
        service.recommend(system, 5, history=[], task="direct")


def test_no_run_no_checkpoint(tiny: Config, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        loading.load(tmp_path)
    system = build(runs.start(at(tiny, tmp_path / "new")))
    with pytest.raises(ValueError, match="holds no checkpoints"):
        training.restore(system)


def test_nothing_learned_depends_on_held_out_items(tiny: Config, tmp_path: pathlib.Path) -> None:
    """Strict: other validation and test items give the same vectors, ids and training batches, bit for bit."""
    one = runs.start(at(tiny, tmp_path / "one"))
    draw = np.random.default_rng(0)
    split = dataclasses.replace(
        one.split,
        valid=draw.permutation(one.split.valid),
        test=draw.permutation(one.split.test),
        between=dataclasses.replace(one.split.between, items=draw.permutation(one.split.between.items)),
    )
    other = dataclasses.replace(one, folder=tmp_path / "other", split=split)
    other.folder.mkdir()
    first, second = build(one), build(other)
    np.testing.assert_array_equal(first.embedding.vectors.item, second.embedding.vectors.item)
    np.testing.assert_array_equal(first.embedding.vectors.user, second.embedding.vectors.user)
    np.testing.assert_array_equal(first.item_tokens, second.item_tokens)
    every = np.arange(len(training.training_examples(first)))
    for a, b in zip(*(training.training_examples(s).build(every, 0) for s in (first, second))):
        np.testing.assert_array_equal(a, b)


def test_as_released_sees_every_event(tiny: Config, tmp_path: pathlib.Path) -> None:
    config = dataclasses.replace(at(tiny, tmp_path / "leaky"), protocol="as-released")
    run = runs.start(config)
    assert run.learned_from.n_events == run.data.n_events
    assert run.split.protocol == "as-released"
    for user in range(run.data.n_users):
        np.testing.assert_array_equal(run.learned_from.of(user), run.data.item[run.data.user == user])
    np.testing.assert_array_equal(run.learned_from.ratings, run.data.rating)


@pytest.mark.parametrize("kind", ["sid", "cid"])
def test_ids_counted_from_histories_never_see_what_is_held_out(tiny: Config, tmp_path: pathlib.Path, kind: str) -> None:
    ids = []
    for protocol in ("strict", "as-released"):
        config = at(tiny, tmp_path / protocol).replace(
            protocol=protocol, ids__kind=kind, ids__users="none", task__tasks=("sequential",)
        )
        run = runs.start(config)
        nothing = Vectors(np.zeros((run.data.n_users, 2)), np.zeros((run.data.n_items, 2)))
        ids.append(identify(run, nothing))
    np.testing.assert_array_equal(*(of.items.codes.values for of in ids))


@pytest.mark.parametrize("users", ["static", "causal", "none"])
def test_user_ids(tiny: Config, tmp_path: pathlib.Path, users: str) -> None:
    tasks = ("sequential",) if users == "none" else ("sequential", "direct")
    system = build(runs.start(at(tiny, tmp_path / users, ids={"users": users}, task={"tasks": tasks})))
    examples = training.training_examples(system)
    source = examples.build(np.arange(len(examples)), 0)[0]
    marker = system.vocabulary.encode("<User>")[0]
    assert (source == marker).sum() == (0 if users == "none" else len(examples))
    train = system.split.train
    codes = system.user_codes(train, np.arange(train.n_users))
    if users == "static":
        assert codes is not None
        np.testing.assert_array_equal(codes.values, system.ids.users.codes.values)
    stranger = Histories(np.array([0, 2]), np.array([1, 2], np.int32), system.data.n_items)
    assert (system.user_name(system.user_codes(stranger), 0) == "") == (users == "none")


@pytest.mark.soak
def test_a_mesh_of_four_gives_the_losses_of_one(tiny: Config, tmp_path: pathlib.Path) -> None:
    """2 x 2: batches over `data`, the embedding table over `model`; losses agree to 1e-5."""
    losses = []
    for data, model in ((1, 1), (2, 2)):
        folder = tmp_path / f"{data}x{model}"
        config = at(tiny, folder, train={"data_parallel": data, "model_parallel": model, "steps": 6})
        _, fitted = training.train_model(build(runs.start(config)))
        losses.append([record["loss"] for record in fitted.history if "loss" in record])
    assert len(losses[0]) >= 6
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@pytest.mark.slow
def test_a_pretrained_folder_gives_weights_shape_and_tokenizer(tiny: Config, tmp_path: pathlib.Path) -> None:
    """A T5 of another shape, written as Hugging Face does, is where training starts; its text rows come through."""
    shape = T5Config(
        vocab=384, d_model=24, d_kv=6, heads=2, d_ff=40, encoder_layers=2, decoder_layers=1, activation="gated-gelu"
    )
    pretrained = T5(shape, OovConfig(scope="none"), None, 384, rngs=nnx.Rngs(5))
    folder = tmp_path / "t5"
    vocabulary.train_text_tokenizer(["some words to start from"], size=300).save_pretrained(folder)
    flat = {name: np.ascontiguousarray(value) for name, value in to_hf(pretrained).items()}
    save_file(flat, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(
        json.dumps(
            {
                "model_type": "t5",
                "architectures": ["T5ForConditionalGeneration"],
                "vocab_size": 384,
                "d_model": 24,
                "d_kv": 6,
                "num_heads": 2,
                "d_ff": 40,
                "num_layers": 2,
                "num_decoder_layers": 1,
                "feed_forward_proj": "gated-gelu",
                "tie_word_embeddings": True,
                "scale_decoder_outputs": True,
                "relative_attention_num_buckets": 32,
                "relative_attention_max_distance": 128,
                "pad_token_id": 0,
                "eos_token_id": 1,
                "decoder_start_token_id": 0,
            }
        )
    )
    config = at(tiny, tmp_path / "run", model={"init_from": str(folder)}, train={"steps": 2})
    system = build(runs.start(config))
    assert system.model.config.d_model == 24
    assert system.vocabulary.first_oov == 384
    np.testing.assert_array_equal(system.model.embedding.table[...][:384], pretrained.embedding.table[...])
    np.testing.assert_array_equal(
        system.model.decoder.layers[0].cross.query[...], pretrained.decoder.layers[0].cross.query[...]
    )
    trained, _ = training.train_model(system)
    shutil.rmtree(folder)
    again = loading.load(tmp_path / "run")  # a trained run stands on its own
    np.testing.assert_array_equal(again.model.embedding.table[...], trained.model.embedding.table[...])
    with pytest.raises(ValueError, match="nothing"):
        build(runs.start(at(tiny, tmp_path / "bad", model={"init_from": str(tmp_path / "nothing")})))
