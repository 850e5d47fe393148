"""Whole systems exported: asked by people who have transformers and not jaxrec, they answer the same."""

import argparse
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from flax import nnx
from transformers import AutoTokenizer

from jaxrec.config import Config, LightGcnConfig, LlamaConfig, LoraConfig, QuantizerConfig
from jaxrec.export.model_folder import read
from jaxrec.export.whole_system import export
from jaxrec.hub import llama
from jaxrec.hub.registry import language_model
from jaxrec.inference import newcomers, service
from jaxrec.models.llama import Llama
from jaxrec.system import run as runs
from jaxrec.system.stages import build
from jaxrec.system.system import System
from jaxrec.types import Histories

# Runs a script as a process does that has no jaxrec.
ALONE = (
    "import runpy, sys; sys.modules['jaxrec'] = None; del sys.argv[0]; runpy.run_path(sys.argv[0], None, '__main__')"
)


def at(config: Config, folder: pathlib.Path, **parts) -> Config:
    changed = {
        name: dataclasses.replace(getattr(config, name), **value) if isinstance(value, dict) else value
        for name, value in parts.items()
    }
    return dataclasses.replace(config, out=str(folder), **changed)


VECTORS = {
    "embedder": "lightgcn",
    "answer": "vector",
    "lightgcn": LightGcnConfig(dim=8, layers=2, epochs=5, batch=128, learning_rate=1e-2),
    "quantizer": QuantizerConfig(codebooks=2, codewords=8, width=8, hidden=(16, 16), epochs=5),
    "ids": {"kind": "mq", "users": "static"},
    "task": {"tasks": ("collaborative", "direct")},
}
LLAMA = LlamaConfig(d_model=16, d_kv=8, heads=2, kv_heads=1, d_ff=32, layers=2, tied=True)
QWEN = dataclasses.replace(LLAMA, family="qwen3", qk_norm=True, tied=False)
LORA = LoraConfig(rank=4, targets=("attention", "mlp", "embedding", "head"))
NO_USERS = {"ids": {"users": "none"}, "task": {"tasks": ("sequential",)}}
SYSTEMS = {
    "shared": {"model": {"oov": {"scope": "shared"}}, "ids": {"users": "static"}},
    "encoder": {"eval": {"recommender": "exact", "mask_seen": False}},
    "none": {"model": {"oov": {"scope": "none"}}, **NO_USERS},
    "vector": {**VECTORS, "retrieval": {"hidden": 16}, "eval": {"prompt": "unseen"}},
    "llama": {"model": {"backbone": "llama", "llama": LLAMA, "oov": {"scope": "encoder"}}, **NO_USERS},
    "lora": {"model": {"backbone": "llama", "llama": QWEN, "lora": LORA, "oov": {"scope": "shared"}}},
    "llama vector": {**VECTORS, "retrieval": {"hidden": 16}, "model": {"backbone": "llama", "llama": LLAMA}},
    "flat": {**VECTORS, "retrieval": {"hidden": 16, "pooling": "flatten", "similarity": "inner"}},
}


@pytest.fixture(scope="module", params=SYSTEMS)
def exported(
    request: pytest.FixtureRequest, tiny: Config, adapted, tmp_path_factory: pytest.TempPathFactory
) -> tuple[System, pathlib.Path]:
    """A system with the weights that training would start from, and its export."""
    folder = tmp_path_factory.mktemp(request.param)
    parts = {name: dict(value) if isinstance(value, dict) else value for name, value in SYSTEMS[request.param].items()}
    if "oov" in parts.get("model", {}):
        parts["model"]["oov"] = dataclasses.replace(tiny.model.oov, alpha=0.5, **parts["model"]["oov"])
    system = adapted(build(runs.start(at(tiny, folder / "run", **parts))))
    return system, export(system, folder / "out", samples=24, shard_gb=2e-5)


def alone(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ALONE, str(folder / "recommend.py"), *arguments]
    return subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.slow
def test_transformers_gives_jaxrecs_lists(
    exported: tuple[System, pathlib.Path], script, capsys: pytest.CaptureFixture
) -> None:
    recommend = script(exported[1])
    assert recommend.check(recommend.Exported(exported[1])), capsys.readouterr().out
    told = capsys.readouterr().out
    assert "24 users, lists of 10" in told
    assert "prompts are the same: agreed" in told


@pytest.mark.slow
def test_the_check_sees_a_changed_weight_and_a_changed_sample(
    exported: tuple[System, pathlib.Path], script, capsys: pytest.CaptureFixture
) -> None:
    import torch

    recommend = script(exported[1])
    model = recommend.Exported(exported[1])
    norms = [value for name, value in model.model.named_parameters() if "norm" in name]
    with torch.no_grad():
        norms[0][0] *= 1.5
    assert not recommend.check(model)
    assert "NOT AGREED" in capsys.readouterr().out
    with torch.no_grad():
        norms[0][0] /= 1.5
    model.users[json.loads((exported[1] / "samples.json").read_text())["samples"][0]["line"]]["history"] += " 7 9 11"
    assert not recommend.check(model)
    assert "prompts are OTHERS" in capsys.readouterr().out


@pytest.mark.slow
def test_strangers_are_asked_about_or_told_why_not(exported: tuple[System, pathlib.Path], script) -> None:
    system, folder = exported
    recommend = script(folder)
    model = recommend.Exported(folder)
    with pytest.raises(recommend.Problem, match="task 'nothing' is not one of this model's"):
        model.prompt([0, 1], None, "nothing")
    if system.config.ids.users != "none":
        with pytest.raises(recommend.Problem, match="an id or a vector of the user, which jaxrec makes"):
            model.prompt([0, 1], None)
        return
    with pytest.raises(recommend.Problem, match="no history is known"):
        model.prompt([], None)
    text = model.prompt([3, 1, 2], None)
    assert "the user" in text
    found = model.recommend([text], [[3, 1, 2]], 5)[0]
    stranger = Histories(np.array([0, 3]), np.array([3, 1, 2], np.int32), system.data.n_items)
    wanted = system.recommend_to_strangers(stranger, 5)
    assert [item for item, _ in found] == wanted.items[0].tolist()
    np.testing.assert_allclose([score for _, score in found], wanted.scores[0], atol=1e-4)


@pytest.mark.slow
def test_samples_are_what_the_system_recommends(exported: tuple[System, pathlib.Path]) -> None:
    system, folder = exported
    stored = json.loads((folder / "samples.json").read_text())
    samples = stored["samples"]
    assert (stored["k"], stored["tolerance"], len(samples)) == (10, 1e-4, 24)
    users = np.array([sample["line"] for sample in samples])
    settings = dataclasses.replace(system.config.eval, recommender="beam")
    config = dataclasses.replace(system.config, eval=settings)
    top = dataclasses.replace(system, config=config).recommend(users, 10)
    np.testing.assert_array_equal([sample["items"] for sample in samples], top.items)
    np.testing.assert_allclose([sample["scores"] for sample in samples], top.scores, atol=2e-5)
    for user, sample in zip(users, samples):
        wanted = set(system.histories.of(user)) if system.config.eval.mask_seen else set()
        assert set(sample["seen"]) == wanted


@pytest.mark.slow
def test_the_model_comes_back_bit_by_bit(exported: tuple[System, pathlib.Path]) -> None:
    system, folder = exported
    assert (folder / "model.safetensors.index.json").is_file()
    model = language_model(system.model)
    if isinstance(model, Llama) and model.lora.rank:  # comes back merged
        one, other = (llama.to_hf(m) for m in (model, read(folder)))
    else:
        one, other = ({p: v[...] for p, v in nnx.to_flat_state(nnx.state(m))} for m in (model, read(folder)))
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=str(name))


@pytest.mark.slow
def test_config_says_which_tokens_are_special(exported: tuple[System, pathlib.Path]) -> None:
    """Transformers takes LLaMA's own numbers, 1 and 2, where config.json says none."""
    system, folder = exported
    tokenizer, values = AutoTokenizer.from_pretrained(folder), json.loads((folder / "config.json").read_text())
    if isinstance(language_model(system.model), Llama):
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            assert values[name] == getattr(tokenizer, name)
    else:
        assert (values["eos_token_id"], values["pad_token_id"]) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


@pytest.mark.slow
def test_without_what_tells_of_users(exported: tuple[System, pathlib.Path], script, tmp_path: pathlib.Path) -> None:
    """As an upload leaves it: strangers are served where there are no user ids, and it is said what is missing."""
    system, folder = exported
    assert not set(system.data.user_names) & set(re.findall(r"\w+", (folder / "README.md").read_text()))
    public = tmp_path / "public"
    shutil.copytree(folder, public, ignore=shutil.ignore_patterns("users.tsv", "samples.json"))
    recommend = script(public)
    model = recommend.Exported(public)
    settings = {"history": None, "task": None, "k": 3}
    for asked in (
        lambda: recommend.check(model),
        lambda: recommend.show(model, argparse.Namespace(user="user01", **settings)),
        lambda: model.history(0),
    ):
        with pytest.raises(recommend.Problem, match=r"(users\.tsv|samples\.json) is not here: .* which uploads leave"):
            asked()
    if system.config.ids.users == "none":
        assert len(model.recommend([model.prompt([3, 1, 2], None)], [[3, 1, 2]], 5)[0]) == 5


@pytest.mark.slow
def test_every_new_token_is_one_token(exported: tuple[System, pathlib.Path]) -> None:
    system, folder = exported
    tokenizer, vocabulary = AutoTokenizer.from_pretrained(folder), system.vocabulary
    numbers = [vocabulary.first_oov + n for n in range(len(vocabulary.new_tokens))]
    assert tokenizer("".join(vocabulary.new_tokens), add_special_tokens=False)["input_ids"] == numbers
    said = tokenizer(f"Given {system.item_name(3)}, name one", add_special_tokens=False)["input_ids"]
    tokens = system.item_tokens[3].tolist()
    assert any(said[n : n + len(tokens)] == tokens for n in range(len(said)))


@pytest.mark.slow
def test_tables_hold_everybody_in_order(exported: tuple[System, pathlib.Path]) -> None:
    system, folder = exported
    data = system.data
    items = [line.split("\t") for line in (folder / "items.tsv").read_text().splitlines()]
    assert items[0] == ["name", "title", "id"]
    assert [row[0] for row in items[1:]] == data.item_names.tolist()
    assert items[6] == [data.item_names[5], data.titles()[5], system.item_name(5)]
    users = [line.split("\t") for line in (folder / "users.tsv").read_text().splitlines()]
    assert [row[0] for row in users[1:]] == data.user_names.tolist()
    assert [int(n) for n in users[8][2].split()] == system.histories.of(7).tolist()
    assert (users[8][1] == "") == (system.config.ids.users == "none")


@pytest.mark.slow
def test_an_export_is_never_written_over(exported: tuple[System, pathlib.Path]) -> None:
    system, folder = exported
    before = (folder / "samples.json").read_text()
    with pytest.raises(ValueError, match="is there already and not empty"):
        export(system, folder)
    assert (folder / "samples.json").read_text() == before
    for wrong in ({"samples": 0}, {"shard_gb": 0.0}):
        with pytest.raises(ValueError, match="must both be above 0"):
            export(system, folder.with_name("other"), **wrong)
    nobody = Histories(np.zeros(81, np.int64), np.zeros(0, np.int32), system.data.n_items)
    with pytest.raises(ValueError, match="has a history, so there is nobody to store lists of"):
        export(dataclasses.replace(system, histories=nobody), folder.with_name("other"))
    assert not list(folder.parent.glob("other*"))


@pytest.mark.slow
def test_a_trained_run_for_people_without_jaxrec(
    finished_run, script, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The card has the run's table and code that runs; the script answers users, and tells what it can't."""
    pytest.importorskip("torch")
    trained = finished_run("META ID", tmp_path / "run")
    system, results = newcomers.served(trained), json.loads((tmp_path / "run/results.json").read_text())
    folder = export(system, tmp_path / "out", samples=16)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    row = results["rows"][0]
    assert f"{row['system']:<22}   {row['hr@5']:.4f}" in card
    codes = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(codes) == 2
    name = str(system.data.user_names[3])
    program = "\n".join(codes)  # in one process: both load torch
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == 10 + 1
    done = alone(folder, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "allowed 1e-04" in done.stdout
    recommend, shown = script(folder), service.recommend(trained, 3, user=name)
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["recommend.py", "--user", name, "-k", "3"])
    recommend.main()
    printed = capsys.readouterr().out
    assert len(re.findall("<Item>.*[(].*[)]", printed)) == 3
    assert all(id_ in printed for _, id_ in shown.history)
    monkeypatch.setattr(sys, "argv", ["recommend.py", "--history", "item01"])
    with pytest.raises(SystemExit, match="prompts of this model hold an id or a vector of the user"):
        recommend.main()


def test_bfloat16_is_checked_within_what_rounding_allows(tiny: Config, script, tmp_path: pathlib.Path) -> None:
    system = build(runs.start(at(tiny, tmp_path / "run")))
    folder = export(system, tmp_path / "out", samples=12, dtype="bfloat16")
    recommend = script(folder)
    assert recommend.check(recommend.Exported(folder))
    assert "rounded to bfloat16" in (folder / "README.md").read_text()
