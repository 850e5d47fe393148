"""A new backbone is one file and one line: here the file is this one, and the line is put into the registry."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec import experiment
from jaxrec.config import Config, ModelConfig
from jaxrec.export.whole_system import export
from jaxrec.hub.backbone import Backbone
from jaxrec.hub.registry import BACKBONES
from jaxrec.inference import newcomers
from jaxrec.models.decoding import Cache, Memory, causal, same_segment
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.oov import ExtendedEmbedding
from jaxrec.system import loading
from jaxrec.system import run as runs
from jaxrec.system.stages import build

LENGTH = 8
"""Positions of an answer that the toy tells apart."""


@dataclasses.dataclass(frozen=True)
class BagShape:
    vocab: int = 0
    d_model: int = 16
    dropout: float = 0.0
    compute_dtype: str = "float32"
    remat: bool = False


class BagOfWords(LanguageModel):
    """The next token by the mean embedding of the prompt, the token before and its position: no layer at all."""

    def __init__(self, shape: BagShape, settings: ModelConfig, anchors, first_oov: int, *, rngs: nnx.Rngs) -> None:
        self.config, self.start = shape, 0
        self.embedding = ExtendedEmbedding(
            shape.vocab, shape.d_model, settings.oov, anchors, first_oov, shape.compute_dtype, rngs=rngs
        )
        self.places = nnx.Param(jax.random.normal(rngs.params(), (LENGTH, shape.d_model)))

    def __call__(self, source, source_segments, inputs, target_segments, *, key=None):
        of_prompt_BTS = same_segment(target_segments, source_segments).astype(jnp.float32)
        mean_BTD = of_prompt_BTS @ self.embed(source) / jnp.maximum(of_prompt_BTS.sum(-1, keepdims=True), 1)
        before_BTT = same_segment(target_segments, target_segments) & causal(0, inputs.shape[1], inputs.shape[1])[None]
        return mean_BTD + self._tokens(inputs, before_BTT.sum(-1) - 1)

    def logits(self, hidden):
        return self.embedding.scores(hidden)

    def read(self, source):
        words_BS1 = (source != 0).astype(jnp.float32)[:, :, None]
        mean_BD = (words_BS1 * self.embed(source)).sum(1) / words_BS1.sum(1)
        return Memory((mean_BD[:, None, None],), (), source != 0)

    def empty_cache(self, batch, beams, length):
        return Cache((jnp.zeros((batch, beams, 1, length, 1)),), ())

    def step(self, tokens, position, cache, memory):
        places = position + np.arange(tokens.shape[-1])
        return memory.keys[0] + self._tokens(tokens, jnp.broadcast_to(places, tokens.shape)), cache

    def _tokens(self, tokens, places):
        return self.embedding(tokens, encoder=False) + self.places[...][jnp.clip(places, 0, LENGTH - 1)]


def build_bag(shape, settings, anchors, first_oov, start, *, rngs):
    return BagOfWords(shape, settings, anchors, first_oov, rngs=rngs)


BAG = Backbone(
    label="Bag of words",
    model=BagOfWords,
    shape=lambda settings: BagShape(),
    build=build_bag,
    depth=lambda shape: "0",
    decoder_only=False,
    suffix=" (bag)",
)


@pytest.fixture
def config(tiny: Config, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setitem(BACKBONES, "bag", BAG)
    return tiny.replace(out=str(tmp_path / "run"), model__backbone="bag", train__steps=4)


@pytest.mark.slow
def test_it_is_trained_loaded_and_recommends(config: Config) -> None:
    system, results = experiment.train(config)
    assert results["rows"][0]["system"] == system.name == "META ID (bag)"
    assert 0 < results["rows"][0]["hr@10"] <= 1
    loaded = newcomers.served(loading.load(config.folder))
    assert isinstance(loaded.model, BagOfWords)
    users = np.arange(10)
    np.testing.assert_array_equal(loaded.recommend(users, 5).items, system.recommend(users, 5).items)
    assert json.loads((config.folder / "config.json").read_text())["model"]["backbone"] == "bag"
    with pytest.raises(ValueError, match=r"model.backbone bag can't be exported"):
        export(loaded, config.folder / "exported")
    assert not (config.folder / "exported").exists()


@pytest.mark.long
def test_it_answers_with_vectors_too(config: Config) -> None:
    system, results = experiment.train(config.replace(answer="vector", retrieval__hidden=16))
    assert system.name == "walks + META ID ids + retrieval (bag)"
    assert results["rows"][0]["n_users"] == len(system.split.test)


def test_its_steps_say_what_the_whole_pass_says(config: Config) -> None:
    model = build(runs.start(config)).model
    assert isinstance(model, BagOfWords)
    source, answer = jnp.array([[5, 6, 7], [8, 9, 0]]), jnp.array([[0, 11, 12], [0, 13, 14]])
    whole = model(source, (source != 0).astype(jnp.int32), answer, jnp.ones_like(answer))
    cache, memory = model.empty_cache(2, 1, 3), model.read(source)
    for n in range(3):
        hidden, cache = model.step(answer[:, None, n : n + 1], n, cache, memory)
        np.testing.assert_allclose(hidden[:, 0, 0], whole[:, n], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"backbone": "gpt9"}, "model.backbone='gpt9' is not one of t5, llama, item_decoder, bag"),
        ({"init_from": "google-t5/t5-small"}, "model.backbone bag reads no weights of Hugging Face"),
        ({"lora__rank": 4}, "model.lora.rank=4 does not go with model.backbone bag"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_is_made(config: Config, changed, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runs.start(config.replace(**{f"model__{name}": value for name, value in changed.items()}))
    assert not config.folder.exists()
