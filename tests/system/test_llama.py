"""META ID and TokenRec on a decoder-only backbone, whole, with LoRA and without."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file
from tokenizers.processors import TemplateProcessing

from jaxrec import experiment
from jaxrec.config import Config, LlamaConfig, LoraConfig, ModelConfig, OovConfig
from jaxrec.hub.llama import llama_config_json, to_hf
from jaxrec.models.llama import Llama
from jaxrec.models.oov import Frozen
from jaxrec.system import loading, training
from jaxrec.system import run as runs
from jaxrec.system.stages import build
from jaxrec.system.system import System
from jaxrec.tokenizers import vocabulary

SHAPE = LlamaConfig(d_model=16, d_kv=8, heads=2, kv_heads=1, d_ff=32, layers=2)
LORA = LoraConfig(rank=4, targets=("attention", "mlp", "embedding", "head"))


@pytest.fixture(scope="module")
def llama(tiny: Config) -> Config:
    return dataclasses.replace(
        tiny,
        name="tiny (L)",
        model=ModelConfig(backbone="llama", llama=SHAPE, lora=LORA),
        train=dataclasses.replace(tiny.train, learning_rate=1e-2),
    )


@pytest.fixture(scope="module")
def trained(llama: Config, tmp_path_factory: pytest.TempPathFactory) -> System:
    return experiment.train(dataclasses.replace(llama, out=str(tmp_path_factory.mktemp("runs") / "run")))[0]


def frozen(model: nnx.Module) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model, Frozen))]


@pytest.mark.slow
def test_lora_trains_its_factors_and_new_rows_alone(trained: System) -> None:
    fresh = build(trained)
    before, after = fresh.model, trained.model
    assert frozen(before)
    for one, other in zip(frozen(before), frozen(after), strict=True):
        assert one.dtype == jax.numpy.bfloat16
        np.testing.assert_array_equal(one, other)
    moved = {
        "/".join(map(str, path)): np.abs(np.asarray(value[...]) - np.asarray(start[...])).max()
        for (path, value), (_, start) in zip(
            nnx.to_flat_state(nnx.state(after, nnx.Param)), nnx.to_flat_state(nnx.state(before, nnx.Param)), strict=True
        )
    }
    assert {"embedding/rows", "head/rows", "embedding/kernel", "head_adapter/b"} <= set(moved)
    assert all(moved.values()), moved


@pytest.mark.slow
def test_checkpoints_hold_what_is_trained_and_the_base_once(trained: System) -> None:
    folder = trained.folder
    assert (folder / "buffers").is_dir()
    steps = [step for step in (folder / "checkpoints").iterdir() if step.name.isdigit()]
    assert steps
    for step in steps:
        names = (step / "model" / "_METADATA").read_text()
        assert "adapter" in names
        assert "attention_norm" not in names


@pytest.mark.slow
def test_loaded_recommends_the_same(trained: System) -> None:
    again = loading.load(trained.folder)
    users = np.arange(6)
    one, other = trained.recommend(users, 5), again.recommend(users, 5)
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
    assert trained.name == "META ID (L)"
    found = json.loads((trained.folder / "results.json").read_text())
    assert [row["system"] for row in found["rows"]][:2] == ["META ID (L)", "META ID (L) (user id only)"]


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_the_same_losses(llama: Config, trained: System, tmp_path: pathlib.Path) -> None:
    def losses(folder: pathlib.Path) -> dict[int, float]:
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return {line["step"]: line["loss"] for line in lines if "loss" in line}

    config = dataclasses.replace(llama, out=str(tmp_path / "run"))
    system = build(runs.start(config))
    stopped = dataclasses.replace(config.train, validate_every=3 / 18)  # a checkpoint at each validation

    def interrupted(config: Config) -> System:
        return dataclasses.replace(system, config=config)

    calls = 0
    measure = training.validate_ranking

    def validate(system: System) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return measure(system)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "validate_ranking", validate)
        with pytest.raises(KeyboardInterrupt):
            training.train_model(interrupted(dataclasses.replace(config, train=stopped)))
    training.train_model(interrupted(dataclasses.replace(config, train=stopped)))
    assert losses(tmp_path / "run") == losses(trained.folder)


@pytest.mark.soak
def test_token_rec_runs_on_it_by_config(llama: Config, tmp_path: pathlib.Path) -> None:
    config = dataclasses.replace(llama, answer="vector", out=str(tmp_path / "run"))
    system, found = experiment.train(config)
    assert isinstance(system.model.backbone, Llama)
    assert found["rows"][0]["system"] == "walks + META ID ids + retrieval (L)"
    top = system.recommend(np.arange(4), 5)
    assert (top.items >= 0).all()
    assert (np.abs(top.scores) <= 1 + 1e-5).all()


@pytest.mark.soak
@pytest.mark.parametrize("rank", [0, 4])
def test_four_devices_give_the_losses_of_one(llama: Config, tmp_path: pathlib.Path, rank: int) -> None:
    """2 x 2: matrices over `model` and, by FSDP, over `data`."""
    losses, shapes = [], []
    for data, model in ((1, 1), (2, 2)):
        config = dataclasses.replace(
            llama,
            out=str(tmp_path / f"{data}x{model}"),
            model=dataclasses.replace(llama.model, lora=dataclasses.replace(LORA, rank=rank)),
            train=dataclasses.replace(llama.train, data_parallel=data, model_parallel=model, fsdp=True, steps=4),
        )
        system, fitted = training.train_model(build(runs.start(config)))
        losses.append([record["loss"] for record in fitted.history if "loss" in record])
        place = fitted.buffers if rank else fitted.state.params
        kernel = place["layers"][0]["attention"]["query"]["kernel"].get_value()
        shapes.append(kernel.addressable_shards[0].data.shape)
        assert (system.recommend(np.arange(3), 5).items >= 0).all()
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert shapes == [(16, 16), (8, 8)]


@pytest.mark.parametrize("rule", [pytest.param(rule, marks=pytest.mark.long) for rule in ("random", "mean", "anchors")])
def test_a_pretrained_folder_gives_weights_shape_and_tokenizer(llama: Config, tmp_path: pathlib.Path, rule) -> None:
    """A model of another shape, tied, with a tokenizer that begins prompts; its text rows come through."""
    text = vocabulary.train_text_tokenizer(["some words to start from"], size=300, ends=False)
    text.add_special_tokens({"bos_token": "<s>"})
    begin = text.convert_tokens_to_ids("<s>")
    text.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    folder = tmp_path / "llama"
    text.save_pretrained(folder)
    shape = dataclasses.replace(SHAPE, family="qwen2", qkv_bias=True, vocab=384, d_model=24, tied=True, layers=1)
    stored = Llama(shape, OovConfig("none"), LoraConfig(), None, 384, 0, rngs=nnx.Rngs(5))
    flat = to_hf(stored)
    save_file(flat, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(llama_config_json(shape)))
    config = dataclasses.replace(
        llama,
        out=str(tmp_path / "run"),
        model=dataclasses.replace(llama.model, init_from=str(folder), new_rows=rule),
        train=dataclasses.replace(llama.train, steps=2),
    )
    system = build(runs.start(config))
    assert system.vocabulary.first_oov == 384
    assert system.vocabulary.prompt("some words")[0] == begin
    table = np.asarray(system.model.embedding.whole())
    np.testing.assert_array_equal(
        table[:384], flat["model.embed_tokens.weight"].astype(jax.numpy.bfloat16).astype(np.float32)
    )
    if rule == "mean":
        np.testing.assert_allclose(table[390], table[:384].mean(0), atol=1e-3)
    # What a kill in the midst of the first save leaves is no training: the weights are still those of the folder.
    (tmp_path / "run" / "checkpoints" / "1.orbax-checkpoint-tmp").mkdir(parents=True)
    again = build(runs.start(config))
    np.testing.assert_array_equal(again.model.embedding.whole(), system.model.embedding.whole())
    trained, _ = training.train_model(again)
    assert (trained.recommend(np.arange(3), 5).items >= 0).all()
    tokens = trained.vocabulary.tokenizer("some<Item><CT0><CI0> words?<Answer>")["input_ids"]
    assert tokens[0] == begin
    assert tokens[-1] == trained.model.start


@pytest.mark.parametrize(("template", "message"), [("$A <s>", "puts tokens behind a text"), ("<pad> $A", "token 0")])
def test_tokenizers_that_would_part_prompt_and_answer(tmp_path: pathlib.Path, template: str, message: str) -> None:
    text = vocabulary.train_text_tokenizer(["some words"], size=300, ends=False)
    text.add_special_tokens({"bos_token": "<s>"})
    special = [("<s>", text.convert_tokens_to_ids("<s>")), ("<pad>", 0)]
    text.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=special)
    text.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        vocabulary.load_text_tokenizer(tmp_path, decoder_only=True)


def test_lora_wants_a_decoder_only_model(tiny: Config, tmp_path: pathlib.Path) -> None:
    wrong = dataclasses.replace(tiny, model=dataclasses.replace(tiny.model, lora=LORA), out=str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"set model\.backbone llama, or rank 0"):
        runs.start(wrong)
    (tmp_path / "jaxrec.json").write_text("{}")
    exported = dataclasses.replace(tiny, model=ModelConfig(init_from=str(tmp_path)), out=str(tmp_path / "run"))
    with pytest.raises(ValueError, match="is the export of a run"):
        runs.start(exported)
