import dataclasses
import json
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from jaxrec.config import LlamaConfig, LoraConfig, OovConfig, RopeConfig
from jaxrec.hub.files import write_tensors
from jaxrec.hub.llama import (
    HEAD,
    TABLE,
    TABLES,
    exported_config,
    llama_config_json,
    peft_adapter,
    read_llama,
    tensor_names,
    to_hf,
)
from jaxrec.hub.llama_config import config_of
from jaxrec.hub.weights import load_weights
from jaxrec.models.cross_entropy import sequence_loss
from jaxrec.models.llama import Llama
from jaxrec.types import Batch

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SHAPE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 1000.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 1e4}
YARN |= {"beta_slow": 1.0, "beta_fast": 32.0}
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
WINDOW = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}
CASES = {
    "llama": ("Llama", {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 32}}),
    "llama-biased": ("Llama", {"attention_bias": True, "mlp_bias": True, "rope_parameters": LINEAR, "head_dim": 12}),
    "mistral": ("Mistral", {"sliding_window": 5, "head_dim": 12}),
    "qwen2": ("Qwen2", {"rope_parameters": YARN, "max_position_embeddings": 64, "max_window_layers": 2}),
    "qwen3": ("Qwen3", {"head_dim": 12, "tie_word_embeddings": True, **WINDOW}),
}
PROMPTS, ANSWERS, START = (12, 7, 9), 4, 3


def torch_model(name: str):
    family, more = CASES[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SHAPE, **more, attn_implementation="eager")
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    for name, value in model.named_parameters():
        if "norm" in name or name.endswith("bias"):  # ones and zeros at the start, which would hide a wrong place
            value.data += 0.3 * torch.randn_like(value)
        else:
            value.data *= 5  # from 0.02
    return model


def store(model, folder: pathlib.Path) -> pathlib.Path:
    """What `save_pretrained` writes, without its progress bar."""
    folder.mkdir(exist_ok=True)
    flat = {name: np.ascontiguousarray(value.numpy()) for name, value in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        flat.pop(HEAD)
    save_file(flat, folder / "model.safetensors")
    (folder / "config.json").write_text(model.config.to_json_string())
    return folder


def load(folder: pathlib.Path, lora: LoraConfig | None = None, scope: str = "none", more: int = 0) -> Llama:
    config, flat = read_llama(folder)
    known, config = config.vocab, dataclasses.replace(config, vocab=config.vocab + more)
    anchors = np.random.default_rng(0).normal(size=(more, 3)).astype(np.float32) if more else None
    oov = OovConfig(scope)  # type: ignore[arg-type]
    model = Llama(config, oov, lora or LoraConfig(), anchors, known, START, rngs=nnx.Rngs(0))
    load_weights(model, flat, tensor_names(config), tables=TABLES)
    return model


@pytest.fixture(scope="session", params=CASES)
def stored(request, tmp_path_factory) -> types.SimpleNamespace:
    theirs = torch_model(request.param)
    folder = store(theirs, tmp_path_factory.mktemp("hub") / request.param)
    return types.SimpleNamespace(name=request.param, theirs=theirs, folder=folder, ours=load(folder))


def rows(vocab: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Prompts i32[3,12], padded, and answers i32[3,4]."""
    rng = np.random.default_rng(0)
    source = rng.integers(1, vocab, (3, 12)).astype(np.int32) * (np.arange(12)[None] < np.array(PROMPTS)[:, None])
    return source.astype(np.int32), rng.integers(1, vocab, (3, ANSWERS)).astype(np.int32)


def torch_logits(model, source: np.ndarray, inputs: np.ndarray):
    """Theirs of the inputs, f32[3,4,V]: one sequence a row, padded on the right."""
    ids, mask = np.zeros((3, 16), np.int64), np.zeros((3, 16), np.int64)
    for b, length in enumerate(PROMPTS):
        ids[b, : length + ANSWERS] = np.concatenate([source[b, :length], inputs[b]])
        mask[b, : length + ANSWERS] = 1
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    logits = model(torch.tensor(ids), attention_mask=torch.tensor(mask), position_ids=torch.tensor(positions)).logits
    return torch.stack([logits[b, n : n + ANSWERS] for b, n in enumerate(PROMPTS)])


@jax.jit
def logits(model: Llama, source: jax.Array, inputs: jax.Array) -> jax.Array:
    return model.logits(model(source, (source != 0).astype(jnp.int32), inputs, jnp.ones_like(inputs)))


@jax.jit
def decoded(model: Llama, source: jax.Array, inputs: jax.Array) -> jax.Array:
    memory, cache, hidden = model.read(source), model.empty_cache(3, 2, ANSWERS), []
    for start, end in ((0, 2), (2, 3), (3, 4)):
        now, cache = model.step(jnp.stack([inputs, inputs[::-1]], 1)[:, :, start:end], start, cache, memory)
        hidden.append(now)
    return model.logits(jnp.concatenate(hidden, axis=2))


def close(model: Llama, theirs, vocab: int = 60) -> None:
    source, inputs = rows(vocab)
    with torch.no_grad():
        want = torch_logits(theirs, source, inputs).numpy()
    assert want.std() > 0.2
    np.testing.assert_allclose(logits(model, source, inputs), want, atol=1e-4)


@pytest.mark.slow
def test_logits_and_cached_decoding_equal_pytorchs(stored) -> None:
    close(stored.ours, stored.theirs)
    source, inputs = rows()
    with torch.no_grad():
        want = [torch_logits(stored.theirs, source, x).numpy() for x in (inputs, inputs[::-1])]
    np.testing.assert_allclose(decoded(stored.ours, source, inputs), np.stack(want, 1), atol=1e-4)


@pytest.mark.slow
def test_the_loss_and_its_gradients_equal_pytorchs(stored) -> None:
    theirs, (source, target) = stored.theirs, rows()
    inputs = np.concatenate([np.full((3, 1), START), target[:, :-1]], axis=1)
    scores = torch_logits(theirs, source, inputs)
    loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), torch.tensor(target, dtype=torch.long).flatten())
    theirs.zero_grad()
    loss.backward()
    want = {name: value.grad.numpy() for name, value in theirs.named_parameters()}
    segments = [(a != 0).astype(np.int32) for a in (source, target)]
    batch = Batch(source, segments[0], target, segments[1], segments[1].astype(np.float32))
    graph, params, rest = nnx.split(stored.ours, nnx.Param, ...)
    step = jax.jit(jax.value_and_grad(lambda p: sequence_loss(nnx.merge(graph, p, rest), batch), has_aux=True))
    (found, _), gradient = step(params)
    np.testing.assert_allclose(found, loss.item(), rtol=1e-5)
    out = to_hf(nnx.merge(graph, gradient, rest))  # so that the gradients go out by the names of the weights
    assert set(out) == set(want)
    for name, value in out.items():
        np.testing.assert_allclose(value, want[name], atol=2e-5 * max(1, np.abs(want[name]).max()), err_msg=name)


def test_weights_and_config_go_out_as_they_came_in(stored) -> None:
    flat, weights = to_hf(stored.ours), load_file(stored.folder / "model.safetensors")
    assert set(flat) == set(weights)
    for name, value in flat.items():
        assert value.flags.c_contiguous
        np.testing.assert_array_equal(value, weights[name], err_msg=name)
    config = stored.ours.config
    assert exported_config(stored.ours) == config
    written = llama_config_json(config)
    assert config_of(json.loads(json.dumps(written)), "here") == config
    again = type(stored.theirs.config)(**written).to_dict()
    for name, value in stored.theirs.config.to_dict().items():
        if name not in ("architectures", "dtype", "bos_token_id", "eos_token_id"):
            assert again.get(name) == value, name


def trained(folder: pathlib.Path, targets: tuple, scope: str) -> Llama:
    """An adapted model with 8 more tokens, whose LoRA is not what it starts as."""
    lora = LoraConfig(rank=2, alpha=3.0, targets=targets, base_dtype="float32")
    model = load(folder, lora, scope, more=8)
    rng = np.random.default_rng(5)
    for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        if path[-1] in ("a", "b"):
            leaf[...] = jnp.asarray(0.2 * rng.normal(size=leaf[...].shape), jnp.float32)
    return model


LAYERS, TABLE_AND_HEAD = ("attention", "mlp"), ("embedding", "head")
ADAPTED = [
    ("llama-biased", LAYERS, "shared"),
    ("llama-biased", TABLE_AND_HEAD, "encoder"),
    ("qwen3", LAYERS, "encoder"),
    ("qwen3", TABLE_AND_HEAD, "shared"),
    ("qwen3", ("mlp", *TABLE_AND_HEAD), "encoder"),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:`is_gradient_checkpointing` is")
@pytest.mark.parametrize(("name", "targets", "scope"), ADAPTED, ids=lambda x: x if isinstance(x, str) else "-".join(x))
def test_merged_and_as_an_adapter_it_is_the_same_model(name, targets, scope, tmp_path: pathlib.Path) -> None:
    peft = pytest.importorskip("peft")
    theirs = torch_model(name)
    ours = trained(store(theirs, tmp_path / "base"), targets, scope)
    whole = tmp_path / "whole"
    whole.mkdir()
    config = exported_config(ours)
    (whole / "config.json").write_text(json.dumps(llama_config_json(config)))
    flat = to_hf(ours)
    write_tensors(whole, flat)
    assert (HEAD in flat) == (not config.tied)
    merged = getattr(transformers, f"{CASES[name][0]}ForCausalLM")
    merged, info = merged.from_pretrained(whole, output_loading_info=True, dtype=torch.float32)
    assert not any(info[part] for part in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    close(ours, merged, vocab=68)

    folder = tmp_path / "adapter"
    folder.mkdir()
    settings, flat = peft_adapter(ours)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save_file(flat, folder / "adapter_model.safetensors")
    theirs.resize_token_embeddings(68, mean_resizing=False)
    adapted = peft.PeftModel.from_pretrained(theirs, folder).eval()
    close(ours, adapted, vocab=68)


def test_what_has_no_adapter(tmp_path: pathlib.Path) -> None:
    folder = store(torch_model("qwen3"), tmp_path / "base")
    for model in (load(folder), trained(folder, ("embedding",), "encoder")):
        with pytest.raises(ValueError, match="leaves nothing for an adapter"):
            peft_adapter(model)


def test_older_configs_and_those_that_leave_out_what_their_family_means() -> None:
    sizes = {k: v for k, v in SHAPE.items() if k != "num_key_value_heads"}
    llama = config_of({"model_type": "llama", **sizes, "rope_theta": 5e5, "max_position_embeddings": 99}, "here")
    want = LlamaConfig("llama", 60, 32, 8, 4, 4, 48, 2, RopeConfig(5e5, original_length=99), positions=99, epsilon=1e-6)
    assert llama == want
    scaling = {"type": "linear", "factor": 4.0}
    older = config_of({"model_type": "llama", **sizes, "rope_scaling": scaling, "rope_theta": 7.0}, "here")
    assert (older.rope.kind, older.rope.factor, older.rope.theta) == ("linear", 4, 7)
    mistral = config_of({"model_type": "mistral", **sizes, "sliding_window": None}, "here")
    assert (mistral.kv_heads, mistral.window) == (8, 0)
    assert config_of({"model_type": "mistral", **sizes}, "here").window == 4096
    qwen = {"model_type": "qwen2", **sizes, "num_hidden_layers": 4, "sliding_window": 6, "max_window_layers": 2}
    assert config_of(qwen, "here").window == 0
    assert config_of(qwen | {"use_sliding_window": True}, "here").windowed == (2, 3)
    assert config_of(qwen | {"use_sliding_window": True, "max_window_layers": 4}, "here").window == 0
    every = config_of(qwen | {"use_sliding_window": True, "layer_types": ["sliding_attention"] * 4}, "here")
    assert (every.window, every.windowed, every.qkv_bias, every.output_bias) == (6, (), True, False)
    yarn = {"rope_type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 0.5}
    deep = config_of({"model_type": "qwen3", **sizes, "rope_parameters": yarn, "max_position_embeddings": 64}, "here")
    assert (deep.d_kv, deep.qk_norm, deep.rope.original_length) == (128, True, 64)
    assert deep.rope.attention_factor == pytest.approx((0.1 * np.log(40) + 1) / (0.05 * np.log(40) + 1))


REFUSED = [
    ({"model_type": "gpt2"}, "has model_type='gpt2'; a decoder-only model is one of llama, mistral"),
    ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ({"hidden_size": None}, "does not say hidden_size"),
    ({"rope_scaling": {"rope_type": "dynamic"}}, "rotary positions of type 'dynamic'"),
    ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "for each type of layer"),
    ({"partial_rotary_factor": 0.5}, "a part of each head"),
    ({"rope_parameters": {"rope_type": "yarn", "truncate": False}}, "truncate=false"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_configs_that_are_not_read(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_of({"model_type": "llama", **SHAPE} | change, "here")


def test_shapes_that_a_family_has_no_place_for() -> None:
    config = LlamaConfig(vocab=60, qk_norm=True, window=4, epsilon=1e-6)
    with pytest.raises(ValueError, match="llama has no place for qk_norm=True, window=4"):
        llama_config_json(config)
    assert llama_config_json(LlamaConfig("mistral", window=4, windowed=tuple(range(32))))["sliding_window"] == 4


def test_folders_that_contradict_themselves(tmp_path: pathlib.Path) -> None:
    folder = store(torch_model("qwen3"), tmp_path / "qwen3")
    flat = load_file(folder / "model.safetensors")
    same = flat | {HEAD: flat[TABLE], "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(6, np.float32)}
    save_file(same, folder / "model.safetensors")
    assert set(read_llama(folder)[1]) == set(flat)
    save_file(flat | {HEAD: flat[TABLE] + 1}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"ties the head to the table, but lm_head\.weight differs"):
        read_llama(folder)
    save_file(flat | {TABLE: flat[TABLE][:50]}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"has 50 rows, config\.json's vocab_size is 60"):
        read_llama(folder)
