"""LoRA runs exported as an adapter beside the base model: with `peft` they are the trained model again."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import pytest

from jaxrec.config import Config, LlamaConfig, LoraConfig, OovConfig
from jaxrec.export.adapter import base_of
from jaxrec.export.whole_system import export
from jaxrec.system import run as runs
from jaxrec.system.stages import build
from jaxrec.tokenizers.vocabulary import train_text_tokenizer

LLAMA = LlamaConfig(d_model=16, d_kv=8, heads=2, kv_heads=1, d_ff=32, layers=2, tied=True)
QWEN = dataclasses.replace(LLAMA, family="qwen3", qk_norm=True, tied=False)
LORA = LoraConfig(rank=4, targets=("attention", "mlp", "embedding", "head"))


def at(config: Config, folder: pathlib.Path, **parts) -> Config:
    changed = {
        name: dataclasses.replace(getattr(config, name), **value) if isinstance(value, dict) else value
        for name, value in parts.items()
    }
    return dataclasses.replace(config, out=str(folder), **changed)


ADAPTERS = {
    "own base": {"llama": QWEN, "lora": LORA, "oov": OovConfig("shared", alpha=0.5)},
    "tied, own input": {"llama": LLAMA, "lora": dataclasses.replace(LORA, targets=("attention", "head"))},
}


# What peft says of tied tables, which are stored whole; and, in the card's code, what it asks by an old name.
tied_quiet = pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
snippet_quiet = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.mark.slow
@tied_quiet
@pytest.mark.parametrize("kind", ["own base", pytest.param("tied, own input", marks=pytest.mark.long)])
def test_an_adapter_stands_beside_its_base(tiny: Config, adapted, script, tmp_path: pathlib.Path, kind: str) -> None:
    pytest.importorskip("peft")
    model = {"backbone": "llama", **ADAPTERS[kind]}
    system = adapted(build(runs.start(at(tiny, tmp_path / "run", model=model))))
    folder = export(system, tmp_path / "out", samples=12, adapter=True)
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "base"
    assert not (folder / "model.safetensors").exists()
    recommend = script(folder)
    assert recommend.check(recommend.Exported(folder))
    if kind == "own base":
        return
    code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[-1]
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(ValueError, match="stored in float32"):
        export(system, tmp_path / "half", adapter=True, dtype="bfloat16")


@tied_quiet
@snippet_quiet
def test_an_adapter_names_the_base_that_training_started_from(
    tiny: Config, adapted, script, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stored model without the new tokens, in float32: rounded as in training and adapted it is the trained one."""
    pytest.importorskip("peft")
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = train_text_tokenizer(["some words to start from"], size=300, ends=False)
    base = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=len(words), **shape))
    base.save_pretrained(tmp_path / "base")
    words.save_pretrained(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    model = {"backbone": "llama", "lora": LORA, "init_from": "base"}  # as write_adapter calls a folder of its own
    system = adapted(build(runs.start(at(tiny, tmp_path / "run", model=model))))
    folder = export(system, tmp_path / "out", samples=12, adapter=True)
    assert not (folder / "base").exists()
    recommend = script(folder)
    assert recommend.check(recommend.Exported(folder))
    scope = {}
    (tmp_path / "base").rename(folder / "base")  # where the card's code looks in its own folder
    monkeypatch.chdir(folder)
    card = (folder / "README.md").read_text()
    assert "--base FOLDER" in card
    assert "\nbase_model:" not in card
    exec(re.findall(r"```python\n(.*?)```", card, re.DOTALL)[-1], scope)
    (folder / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(recommend.Problem, match="the base model base is no folder here; give --base FOLDER"):
        recommend.Exported(folder)
    with pytest.raises(recommend.Problem, match=r"can't be loaded .* give --base FOLDER"):
        recommend.Exported(folder, base=str(tmp_path))
    again = recommend.Exported(folder, base=str(tmp_path / "elsewhere"))
    assert recommend.check(again)
    wanted = scope["model"].get_base_model().state_dict()
    assert wanted.keys() == again.model.state_dict().keys()
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, wanted[name]), name
    shape |= {"num_hidden_layers": 1}
    transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=len(words), **shape)).save_pretrained("short")
    with pytest.raises(recommend.Problem, match="short is not the model that was adapted"):
        recommend.Exported(folder, base="short")


def test_where_a_base_is(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some" / "model").mkdir(parents=True)
    names = {"some/model": "folder", "some/other": "hub", "gpt2": "hub", "/models/a": "folder", "a/b/c": "folder"}
    assert {name: base_of(name)["kind"] for name in names} == names
    assert base_of(None) == {"kind": "random", "name": None}
    assert base_of("./some")["kind"] == base_of("../some")["kind"] == "folder"


def test_what_has_no_factors_gives_no_adapter(tiny: Config, tmp_path: pathlib.Path) -> None:
    system = build(runs.start(at(tiny, tmp_path / "run")))
    with pytest.raises(ValueError, match="no LoRA factors to store"):
        export(system, tmp_path / "out", adapter=True)
    assert not list(tmp_path.glob("out*"))
