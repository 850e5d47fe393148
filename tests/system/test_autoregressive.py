"""A decoder-only model that learns from every item of a history: trained, loaded, asked and exported."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import experiment
from jaxrec.config import Config, LlamaConfig, ModelConfig, OovConfig
from jaxrec.export.whole_system import export
from jaxrec.models.cross_entropy import shift_right
from jaxrec.system import loading
from jaxrec.system import run as runs
from jaxrec.system.system import System
from jaxrec.system.training import training_examples

SHAPE = LlamaConfig(d_model=16, d_kv=8, heads=2, kv_heads=1, d_ff=32, layers=2)


@pytest.fixture(scope="module")
def config(tiny: Config) -> Config:
    return tiny.replace(
        name="tiny",
        ids__users="static",
        model=ModelConfig(backbone="llama", llama=SHAPE, oov=OovConfig("none")),
        task__tasks=("autoregressive",),
        train__steps=40,
        train__learning_rate=1e-2,
        train__source_length=32,
        train__target_length=64,
        eval__recommender="exact",
    )


@pytest.fixture(scope="module")
def trained(config: Config, tmp_path_factory: pytest.TempPathFactory) -> System:
    return experiment.train(config.replace(out=str(tmp_path_factory.mktemp("runs") / "run")))[0]


@pytest.mark.slow
def test_it_learns_and_is_loaded(trained: System) -> None:
    losses = [json.loads(line).get("loss") for line in (trained.folder / "metrics.jsonl").read_text().splitlines()]
    losses = [loss for loss in losses if loss is not None]
    assert losses[-1] < 0.8 * losses[0]
    again = loading.load(trained.folder)
    users = np.arange(6)
    one, other = trained.recommend(users, 5), again.recommend(users, 5)
    np.testing.assert_array_equal(one.items, other.items)
    assert trained.name == "META ID (L) autoregressive"


@pytest.mark.slow
def test_an_item_is_as_likely_in_a_list_as_inside_a_history(trained: System) -> None:
    """The last item of a training sequence, as a target in the packed pass and as a recommendation."""
    examples = training_examples(trained)
    row = int(np.argmax(examples.pieces.size))
    user, start, size = (int(column[row]) for column in examples.pieces)
    source, _, target, _ = examples.build(np.array([row]), 0)
    segments = np.ones((1, len(target)), np.int32)
    inputs = shift_right(jnp.asarray(target)[None], segments, trained.model.start)
    hidden = trained.model(source[None], np.ones((1, len(source)), np.int32), inputs, segments)
    log_probs = jax.nn.log_softmax(trained.model.logits(hidden))[0]
    width = trained.answer_tokens.shape[1]
    expected = sum(float(log_probs[place, target[place]]) for place in range(len(target) - width, len(target)))

    histories = trained.split.train
    before = type(histories)(np.array([0, size]), histories.items[start : start + size], histories.n_items)
    codes = trained.user_codes(before, np.array([user]))
    prompt = trained.asker(before, codes, "autoregressive", "seen")(np.arange(1))
    top = trained.recommender(prompt, None, histories.n_items)
    target_item = histories.items[start + size]
    actual = float(top.scores[0][list(top.items[0]).index(target_item)])
    assert actual == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_transformers_gives_the_same_lists(trained: System, tmp_path: pathlib.Path, script, capsys) -> None:
    folder = export(trained, tmp_path / "out", samples=12)
    recommend = script(folder)
    assert recommend.check(recommend.Exported(folder)), capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__backbone": "t5"}, "needs a decoder-only model, and model.backbone t5 is none; set llama"),
        ({"task__tasks": ("autoregressive", "direct")}, "goes with no other task"),
        ({"answer": "vector"}, "predicts the tokens of ids"),
        ({"ids__users": "causal"}, "one prompt for all targets of a user"),
    ],
)
def test_what_does_not_go_with_it_is_refused(config: Config, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runs.check_run(config.replace(**changes))
